package vfstest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pathCase is one call on one path.
type pathCase struct {
	name string
	path string
	want unix.Errno
}

func (d Driver) links(s *sys) {
	if d.has(Symlinks) {
		s.layout("lf => f", "ld => d", "dangling => target")
	}
}

// usable leaves out cases that need symlinks.
func (d Driver) usable(path string) bool {
	return d.has(Symlinks) || !strings.HasPrefix(path, "l") && !strings.HasPrefix(path, "dangling")
}

func testMkdir(t *testing.T, d Driver) {
	for _, c := range []pathCase{
		{"new", "new", 0},
		{"trailing slash", "new/", 0},
		{"in a directory", "d/new", 0},
		{"existing", "d", unix.EEXIST},
		{"existing file", "f", unix.EEXIST},
		{"dot", ".", unix.EEXIST},
		{"root", "/", unix.EEXIST},
		{"dot-dot", "d/..", unix.EEXIST},
		{"dangling symlink", "dangling", unix.EEXIST},
		{"dangling symlink with slash", "dangling/", unix.EEXIST},
		{"empty", "", unix.ENOENT},
		{"missing parent", "x/new", unix.ENOENT},
		{"file as parent", "f/new", unix.ENOTDIR},
		{"below a symlink", "ld/new", 0},
	} {
		if !d.usable(c.path) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d, "d/", "f")
			d.links(s)
			s.fails(c.want, s.mkdir(c.path, 0o750), "mkdir %s", c.path)
			if c.want == 0 {
				a := s.attr(strings.TrimSuffix(c.path, "/"))
				require.EqualValues(t, unix.S_IFDIR|0o750, a.Mode)
			}
		})
	}
	t.Run("bits", func(t *testing.T) {
		s := newSys(t, d)
		s.umask(0o022)
		s.ok(s.mkdir("d", 0o7777), "mkdir")
		require.EqualValues(t, unix.S_IFDIR|0o1755, s.attr("d").Mode)
	})
	t.Run("link counts", func(t *testing.T) {
		s := newSys(t, d, "d/")
		want := func(path string, n uint32) {
			t.Helper()
			if d.has(DirLinks) {
				require.Equal(t, n, s.attr(path).Nlink, "links of %s", path)
			} else {
				require.NotZero(t, s.attr(path).Nlink, "links of %s", path)
			}
		}
		want("d", 2)
		s.layout("d/a/", "d/b/", "d/f")
		want("d", 4)
		s.ok(s.rename("d/a", "a"), "rename out")
		want("d", 3)
		s.ok(s.rmdir("d/b"), "rmdir")
		want("d", 2)
		s.layout("e/")
		s.ok(s.rename("a", "e/a"), "rename in")
		want("e", 3)
		s.layout("e/b/")
		s.ok(s.rename("e/a", "e/b"), "rename over")
		want("e", 3)
	})
}
