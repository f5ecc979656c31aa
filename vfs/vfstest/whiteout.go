package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func (p *view) whiteout(dir, name string) error {
	return p.walk(dir, 0, func(at vfs.Path) error { return vfs.Whiteout(p.ctx, p.v.Cred(), at, name) })
}

func testWhiteout(t *testing.T, d Driver) {
	if !d.has(Whiteouts) {
		s, v := newView(t, d, vfs.Config{}, "f", "g")
		s.fails(unix.EINVAL, v.whiteout("/", "f"), "whiteout")
		s.fails(unix.EINVAL, s.rename2("f", "new", unix.RENAME_WHITEOUT), "rename with whiteout")
		require.Equal(t, "f", s.get("f"))
		return
	}
	white := func(s *sys, path string) {
		s.t.Helper()
		a := s.attr(path)
		require.True(s.t, a.IsWhiteout(), "%s is a whiteout", path)
	}
	t.Run("replaces", func(t *testing.T) {
		s, v := newView(t, d, vfs.Config{}, "f", "d/", "full/", "full/x")
		for _, name := range []string{"f", "d", "absent", "f"} {
			s.ok(v.whiteout("/", name), "whiteout %s", name)
			white(s, name)
		}
		s.fails(unix.ENOTEMPTY, v.whiteout("/", "full"), "whiteout of a full directory")
		require.Equal(t, []string{"absent", "d", "f", "full"}, s.list("/"))
	})
	t.Run("is replaced", func(t *testing.T) {
		s, v := newView(t, d, vfs.Config{}, "g", "dir/")
		for _, c := range []struct {
			name string
			do   func(name string) error
		}{
			{"create", func(n string) error { return s.opens(n, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644) }},
			{"mkdir", func(n string) error { return s.mkdir(n, 0o755) }},
			{"rename", func(n string) error { return s.rename2("g", n, unix.RENAME_NOREPLACE) }},
			{"rename directory", func(n string) error { return s.rename("dir", n) }},
		} {
			s.ok(v.whiteout("/", c.name), "whiteout")
			s.ok(c.do(c.name), "%s", c.name)
			a := s.attr(c.name)
			require.False(t, a.IsWhiteout(), "%s", c.name)
		}
		if d.has(Links) {
			s.layout("h")
			s.ok(v.whiteout("/", "link"), "whiteout")
			s.ok(s.link("h", "link"), "link")
			require.Equal(t, "h", s.get("link"))
		}
	})
	t.Run("does not count", func(t *testing.T) {
		s, v := newView(t, d, vfs.Config{}, "d/", "e/", "src/", "src/f")
		for _, dir := range []string{"d", "e"} {
			s.ok(v.whiteout(dir, "a"), "whiteout")
			s.ok(v.whiteout(dir, "b"), "whiteout")
		}
		s.ok(s.rmdir("d"), "rmdir")
		s.ok(s.rename("src", "e"), "rename over")
		require.Equal(t, []string{"f"}, s.list("e"))
	})
	t.Run("rename leaves one", func(t *testing.T) {
		s, _ := newView(t, d, vfs.Config{}, "f", "d/", "sub/")
		s.ok(s.rename2("f", "g", unix.RENAME_WHITEOUT), "rename")
		white(s, "f")
		require.Equal(t, "f", s.get("g"))
		s.ok(s.rename2("d", "sub/d", unix.RENAME_WHITEOUT), "rename")
		white(s, "d")
		s.ok(s.rename2("g", "sub/d/g", unix.RENAME_WHITEOUT), "rename")
		white(s, "g")
	})
	t.Run("is removed", func(t *testing.T) {
		s, v := newView(t, d, vfs.Config{})
		s.ok(v.whiteout("/", "w"), "whiteout")
		s.ok(s.unlink("w"), "unlink")
		require.Empty(t, s.list("/"))
	})
}
