package vfstest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func testRename(t *testing.T, d Driver) {
	const noreplace = unix.RENAME_NOREPLACE
	for _, c := range []struct {
		name     string
		old, new string
		flags    uint32
		want     unix.Errno
	}{
		{"file", "f", "new", 0, 0},
		{"file over file", "f", "g", 0, 0},
		{"file into directory", "f", "e/new", 0, 0},
		{"file over file elsewhere", "f", "d/f", 0, 0},
		{"file over directory", "f", "e", 0, unix.EISDIR},
		{"file to slash", "f", "new/", 0, unix.ENOTDIR},
		{"file with slash", "f/", "new", 0, unix.ENOTDIR},
		{"file to itself", "f", "f", 0, 0},
		{"directory", "d", "new", 0, 0},
		{"directory to slash", "d", "new/", 0, 0},
		{"directory with slash", "d/", "new", 0, 0},
		{"directory into directory", "d", "e/new", 0, 0},
		{"directory over empty directory", "d", "e", 0, 0},
		{"directory over empty directory below", "e", "d/e", 0, 0},
		{"directory over directory", "e", "d", 0, unix.ENOTEMPTY},
		{"directory over file", "d", "f", 0, unix.ENOTDIR},
		{"directory into itself", "d", "d/new", 0, unix.EINVAL},
		{"directory below itself", "d", "d/e/new", 0, unix.EINVAL},
		{"over the parent", "d/f", "d", 0, unix.ENOTEMPTY},
		{"directory over its parent", "d/e", "d", 0, unix.ENOTEMPTY},
		{"dot", ".", "new", 0, unix.EBUSY},
		{"directory and dot", "d/.", "new", 0, unix.EBUSY},
		{"dot-dot", "d/..", "new", 0, unix.EBUSY},
		{"to dot", "f", "d/.", 0, unix.EBUSY},
		{"to dot-dot", "f", "d/..", 0, unix.EBUSY},
		{"to dot without replacing", "f", "d/.", noreplace, unix.EEXIST},
		{"missing", "x", "new", 0, unix.ENOENT},
		{"empty", "", "new", 0, unix.ENOENT},
		{"to empty", "f", "", 0, unix.ENOENT},
		{"to a missing directory", "f", "x/new", 0, unix.ENOENT},
		{"below a file", "f", "g/new", 0, unix.ENOTDIR},
		{"without replacing", "f", "new", noreplace, 0},
		{"existing without replacing", "f", "g", noreplace, unix.EEXIST},
		{"exchange without replacing", "f", "g", noreplace | unix.RENAME_EXCHANGE, unix.EINVAL},
		{"exchange and whiteout", "f", "g", unix.RENAME_WHITEOUT | unix.RENAME_EXCHANGE, unix.EINVAL},
		{"unknown flag", "f", "g", 1 << 10, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d, "d/", "d/e/", "d/f", "e/", "f", "g")
			before, _ := s.lstat(c.old)
			// That a directory is below the new name is found earlier.
			late := c.want == 0 || c.want == unix.ENOTEMPTY && !strings.HasPrefix(c.old, c.new+"/")
			if isDir(before) && late && !d.has(LowerDirs) {
				c.want = unix.EXDEV
			}
			s.fails(c.want, s.rename2(c.old, c.new, c.flags), "rename %s %s", c.old, c.new)
			if c.want != 0 {
				require.Equal(t, []string{"d", "e", "f", "g"}, s.list("/"), "nothing happened")
				require.Equal(t, []string{"e", "f"}, s.list("d"), "nothing happened")
				require.Equal(t, "f", s.get("f"))
				return
			}
			require.Equal(t, before.Ino, s.attr(c.new).Ino)
			if c.old != c.new {
				require.False(t, s.exists(c.old))
			}
			if before.Mode&unix.S_IFMT == unix.S_IFREG {
				require.Equal(t, "f", s.get(c.new))
			} else if c.old[0] == 'd' {
				require.Equal(t, []string{"e", "f"}, s.list(c.new))
			}
		})
	}
	t.Run("dot-dot follows", func(t *testing.T) {
		s := newSys(t, d)
		s.layout("a/", "a/mark-a", "a/d/", "b/", "b/mark-b")
		s.enter("a/d")
		s.ok(s.rename("/a/d", "/b/d"), "rename")
		require.True(t, s.exists("../mark-b"))
		path, err := s.getcwd()
		s.ok(err, "getcwd")
		require.Equal(t, "/b/d", path)
		f := s.file("..", unix.O_RDONLY)
		defer f.close()
		require.Equal(t, s.attr("/b").Ino, f.attr().Ino)
		sub := s.file(".", unix.O_RDONLY)
		defer sub.close()
		require.Equal(t, s.attr("/b").Ino, sub.entries(2)[1].Ino)
	})
	if d.has(Links) {
		t.Run("two names of one file", func(t *testing.T) {
			s := newSys(t, d, "f")
			s.ok(s.link("f", "g"), "link")
			s.ok(s.rename("f", "g"), "rename")
			require.Equal(t, []string{"f", "g"}, s.list("/"), "both remain")
			require.EqualValues(t, 2, s.attr("f").Nlink)
		})
		t.Run("replaced file keeps its other name", func(t *testing.T) {
			s := newSys(t, d, "f", "g")
			s.ok(s.link("g", "h"), "link")
			s.ok(s.rename("f", "g"), "rename")
			require.Equal(t, "g", s.get("h"))
			require.EqualValues(t, 1, s.attr("h").Nlink)
			require.Equal(t, "f", s.get("g"))
		})
	}
	if d.has(Symlinks) {
		t.Run("symlink", func(t *testing.T) {
			s := newSys(t, d, "f", "l => f", "k => f")
			s.ok(s.rename("l", "m"), "rename")
			target, err := s.readlink("m")
			s.ok(err, "readlink")
			require.Equal(t, "f", target)
			s.ok(s.rename("f", "k"), "rename over a symlink")
			require.EqualValues(t, unix.S_IFREG, s.attr("k").Mode&unix.S_IFMT)
		})
	}
	t.Run("times", func(t *testing.T) {
		s := newSys(t, d, "a/", "b/", "a/f")
		before := s.attr("b")
		tick()
		s.ok(s.rename("a/f", "b/f"), "rename")
		require.True(t, after(s.attr("b").Mtime, before.Mtime), "mtime of the new directory")
		require.True(t, after(s.attr("a").Mtime, before.Mtime), "mtime of the old directory")
	})
}

func testExchange(t *testing.T, d Driver) {
	const exchange = unix.RENAME_EXCHANGE
	if !d.has(Exchange) {
		s := newSys(t, d, "f", "g")
		s.fails(unix.EINVAL, s.rename2("f", "g", exchange), "exchange")
		require.Equal(t, "f", s.get("f"))
		return
	}
	for _, c := range []struct {
		name string
		a, b string
		want unix.Errno
	}{
		{"files", "f", "g", 0},
		{"file and directory", "f", "d", 0},
		{"directory and file elsewhere", "d", "e/f", 0},
		{"directories", "d", "e", 0},
		{"directory and subdirectory of another", "d", "e/s", 0},
		{"missing", "f", "x", unix.ENOENT},
		{"missing source", "x", "f", unix.ENOENT},
		{"directory and its descendant", "e", "e/s", unix.EINVAL},
		{"descendant and its directory", "e/s", "e", unix.EINVAL},
		{"itself", "f", "f", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d, "d/", "d/f", "e/", "e/f", "e/s/", "f", "g")
			a, _ := s.lstat(c.a)
			b, _ := s.lstat(c.b)
			if (isDir(a) || isDir(b)) && c.want == 0 && !d.has(LowerDirs) {
				c.want = unix.EXDEV
			}
			s.fails(c.want, s.rename2(c.a, c.b, exchange), "exchange %s %s", c.a, c.b)
			if c.want != 0 {
				return
			}
			require.Equal(t, a.Ino, s.attr(c.b).Ino)
			require.Equal(t, b.Ino, s.attr(c.a).Ino)
			require.Equal(t, []string{"d", "e", "f", "g"}, s.list("/"))
			if d.has(DirLinks) {
				subdirs := uint32(0)
				for _, n := range []string{"d", "e", "f", "g"} {
					if s.attr(n).Mode&unix.S_IFMT == unix.S_IFDIR {
						subdirs++
					}
				}
				require.Equal(t, 2+subdirs, s.attr("/").Nlink)
			}
		})
	}
}

func isDir(a vfs.Attr) bool { return a.Mode&unix.S_IFMT == unix.S_IFDIR }
