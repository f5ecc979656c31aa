package vfstest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testLink(t *testing.T, d Driver) {
	if !d.has(Links) {
		s := newSys(t, d, "f")
		s.fails(unix.EPERM, s.link("f", "g"), "link")
		require.False(t, s.exists("g"))
		return
	}
	for _, c := range []struct {
		name     string
		old, new string
		want     unix.Errno
	}{
		{"file", "f", "g", 0},
		{"existing", "f", "f", unix.EEXIST},
		{"directory", "d", "g", unix.EPERM},
		{"missing", "x", "g", unix.ENOENT},
		{"trailing slash", "f", "g/", unix.ENOENT},
		{"source with slash", "f/", "g", unix.ENOTDIR},
		{"empty source", "", "g", unix.ENOENT},
		{"empty target", "f", "", unix.ENOENT},
		{"into a directory", "f", "d/g", 0},
		{"below a file", "f", "f/g", unix.ENOTDIR},
		{"dot", "f", ".", unix.EEXIST},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d, "d/", "f")
			s.fails(c.want, s.link(c.old, c.new), "link %s %s", c.old, c.new)
			if c.want == 0 {
				require.EqualValues(t, 2, s.attr(c.old).Nlink)
				require.Equal(t, s.attr(c.old).Ino, s.attr(c.new).Ino)
				s.put(c.new, "changed")
				require.Equal(t, "changed", s.get(c.old))
				s.ok(s.unlink(c.old), "unlink")
				require.EqualValues(t, 1, s.attr(c.new).Nlink)
				require.Equal(t, "changed", s.get(c.new))
			}
		})
	}
	t.Run("unlinked file", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDONLY)
		defer f.close()
		s.ok(s.unlink("f"), "unlink")
		s.fails(unix.ENOENT, s.linkat(f.openFile, "", "g", unix.AT_EMPTY_PATH), "linkat")
	})
	t.Run("open file", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDONLY)
		defer f.close()
		s.ok(s.linkat(f.openFile, "", "g", unix.AT_EMPTY_PATH), "linkat")
		require.Equal(t, "f", s.get("g"))
	})
	if d.has(Symlinks) {
		t.Run("symlink", func(t *testing.T) {
			s := newSys(t, d, "f", "l => f")
			s.ok(s.link("l", "m"), "link")
			require.Equal(t, s.attr("l").Ino, s.attr("m").Ino)
			s.ok(s.linkat(nil, "l", "g", unix.AT_SYMLINK_FOLLOW), "linkat AT_SYMLINK_FOLLOW")
			require.Equal(t, s.attr("f").Ino, s.attr("g").Ino)
		})
	}
}

func testSymlink(t *testing.T, d Driver) {
	if !d.has(Symlinks) {
		s := newSys(t, d)
		s.fails(unix.EPERM, s.symlink("f", "l"), "symlink")
		require.False(t, s.exists("l"))
		return
	}
	for _, target := range []string{"x", "/", "a/../b//c", strings.Repeat("t", 4095), "name with spaces", "\xff\xfe"} {
		s := newSys(t, d)
		s.ok(s.symlink(target, "l"), "symlink")
		got, err := s.readlink("l")
		s.ok(err, "readlink")
		require.Equal(t, target, got)
		a := s.attr("l")
		require.EqualValues(t, unix.S_IFLNK, a.Mode&unix.S_IFMT)
		require.EqualValues(t, len(target), a.Size)
	}
	s := newSys(t, d, "d/", "d/f", "f", "l => f", "abs => /d", "up => d/../f", "l1 => l", "slash => f/", "ld => d/")
	s.fails(unix.ENOENT, s.symlink("", "m"), "empty target")
	s.fails(unix.ENAMETOOLONG, s.symlink(strings.Repeat("t", 4096), "m"), "target of 4096 bytes")
	s.fails(unix.EEXIST, s.symlink("x", "l"), "existing")
	s.fails(unix.ENOENT, s.symlink("x", "m/"), "trailing slash")
	s.fails(unix.ENOENT, s.symlink("x", ""), "empty path")
	_, err := s.readlink("f")
	s.fails(unix.EINVAL, err, "readlink of a file")
	require.Equal(t, "d/f", s.get("abs/f"))
	require.Equal(t, "f", s.get("up"))
	require.Equal(t, "f", s.get("l1"))
	_, err = s.stat("slash")
	s.fails(unix.ENOTDIR, err, "stat through a slash")
	_, err = s.lstat("slash")
	s.ok(err, "lstat")
	a, err := s.lstat("ld/")
	s.ok(err, "lstat of a symlink to a directory, with slash")
	require.EqualValues(t, unix.S_IFDIR, a.Mode&unix.S_IFMT)
	_, err = s.lstat("l/")
	s.fails(unix.ENOTDIR, err, "lstat of a symlink to a file, with slash")

	// 40 symlinks are followed, 41 are not.
	s.layout("s0 => f")
	last := "s0"
	for i := 1; i <= 40; i++ {
		next := "s" + strings.Repeat("x", i)
		s.ok(s.symlink(last, next), "symlink")
		if i == 39 {
			require.Equal(t, "f", s.get(next))
		}
		last = next
	}
	_, err = s.stat(last)
	s.fails(unix.ELOOP, err, "41 symlinks")
}
