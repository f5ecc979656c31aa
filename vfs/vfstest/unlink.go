package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testRmdir(t *testing.T, d Driver) {
	for _, c := range []pathCase{
		{"empty directory", "d/e", 0},
		{"trailing slash", "d/e/", 0},
		{"not empty", "d", unix.ENOTEMPTY},
		{"file", "f", unix.ENOTDIR},
		{"file with slash", "f/", unix.ENOTDIR},
		{"symlink", "ld", unix.ENOTDIR},
		{"symlink with slash", "ld/", unix.ENOTDIR},
		{"dot", ".", unix.EINVAL},
		{"directory and dot", "d/e/.", unix.EINVAL},
		{"directory and dot-dot", "d/e/..", unix.ENOTEMPTY},
		{"root", "/", unix.EBUSY},
		{"missing", "x", unix.ENOENT},
		{"empty path", "", unix.ENOENT},
		{"below a file", "f/x", unix.ENOTDIR},
	} {
		if !d.usable(c.path) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d, "d/", "d/e/", "f")
			d.links(s)
			s.fails(c.want, s.rmdir(c.path), "rmdir %s", c.path)
			require.Equal(t, c.want != 0, s.exists("d/e"))
		})
	}
	t.Run("working directory", func(t *testing.T) {
		s := newSys(t, d, "d/", "d/f")
		s.enter("/d")
		s.ok(s.unlink("f"), "unlink")
		s.ok(s.rmdir("/d"), "rmdir")
		_, err := s.getcwd()
		s.fails(unix.ENOENT, err, "getcwd")
		s.fails(unix.ENOENT, s.mkdir("x", 0o755), "mkdir")
		s.fails(unix.ENOENT, s.opens("x", unix.O_CREAT|unix.O_WRONLY, 0o644), "open")
		s.fails(unix.ENOENT, s.opens("x", unix.O_RDONLY, 0), "open")
		a, err := s.stat(".")
		s.ok(err, "stat .")
		if d.has(DirLinks) {
			require.EqualValues(t, 0, a.Nlink)
		}
		s.enter("/")
		s.layout("d/")
		require.Empty(t, s.list("d"))
	})
	t.Run("open directory", func(t *testing.T) {
		s := newSys(t, d, "d/")
		f := s.file("d", unix.O_RDONLY)
		defer f.close()
		s.ok(s.rmdir("d"), "rmdir")
		_, err := f.ReadDir(1)
		s.fails(unix.ENOENT, err, "getdents of a removed directory")
	})
}

func testUnlink(t *testing.T, d Driver) {
	for _, c := range []pathCase{
		{"file", "f", 0},
		{"file with slash", "f/", unix.ENOTDIR},
		{"directory", "d", unix.EISDIR},
		{"directory with slash", "d/", unix.EISDIR},
		{"dot", ".", unix.EISDIR},
		{"root", "/", unix.EISDIR},
		{"symlink", "lf", 0},
		{"symlink to a file with slash", "lf/", unix.ENOTDIR},
		{"symlink to a directory with slash", "ld/", unix.ENOTDIR},
		{"missing", "x", unix.ENOENT},
		{"missing with slash", "x/", unix.ENOENT},
		{"empty path", "", unix.ENOENT},
		{"below a file", "f/x", unix.ENOTDIR},
		{"in a missing directory", "x/y", unix.ENOENT},
	} {
		if !d.usable(c.path) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d, "d/", "f")
			d.links(s)
			s.fails(c.want, s.unlink(c.path), "unlink %s", c.path)
			if c.want == 0 {
				require.False(t, s.exists(c.path))
			}
			require.Equal(t, c.path != "f", s.exists("f"))
		})
	}
}
