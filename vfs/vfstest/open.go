package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testOpen(t *testing.T, d Driver) {
	const creat = unix.O_CREAT | unix.O_WRONLY
	for _, c := range []struct {
		name  string
		path  string
		flags int
		want  unix.Errno
		link  bool // the case needs symlinks
	}{
		{"missing", "new", unix.O_RDONLY, unix.ENOENT, false},
		{"create", "new", creat, 0, false},
		{"create with trailing slash", "new/", creat, unix.EISDIR, false},
		{"create existing", "f", creat, 0, false},
		{"create existing exclusively", "f", creat | unix.O_EXCL, unix.EEXIST, false},
		{"create directory", "d", creat, unix.EISDIR, false},
		{"create directory read-only", "d", unix.O_CREAT, unix.EISDIR, false},
		{"create directory exclusively", "d", creat | unix.O_EXCL, unix.EEXIST, false},
		{"create dot", "d/.", creat, unix.EISDIR, false},
		{"create root", "/", creat, unix.EISDIR, false},
		{"create in a missing directory", "x/new", creat, unix.ENOENT, false},
		{"create in a file", "f/new", creat, unix.ENOTDIR, false},
		{"create and directory", "new", unix.O_CREAT | unix.O_DIRECTORY, unix.EINVAL, false},
		{"file with trailing slash", "f/", unix.O_RDONLY, unix.ENOTDIR, false},
		{"file as directory", "f", unix.O_DIRECTORY, unix.ENOTDIR, false},
		{"directory for writing", "d", unix.O_WRONLY, unix.EISDIR, false},
		{"directory for reading and writing", "d", unix.O_RDWR, unix.EISDIR, false},
		{"truncate directory", "d", unix.O_TRUNC, unix.EISDIR, false},
		{"directory", "d", unix.O_RDONLY, 0, false},
		{"directory with slash", "d/", unix.O_RDONLY, 0, false},
		{"access mode 3", "f", unix.O_ACCMODE, 0, false},
		{"empty path", "", unix.O_RDONLY, unix.ENOENT, false},
		{"symlink", "l", unix.O_RDONLY, 0, true},
		{"symlink not followed", "l", unix.O_NOFOLLOW, unix.ELOOP, true},
		{"symlink as directory not followed", "ld", unix.O_NOFOLLOW | unix.O_DIRECTORY, unix.ENOTDIR, true},
		{"symlink by O_PATH", "l", unix.O_NOFOLLOW | unix.O_PATH, 0, true},
		{"dangling symlink", "dangling", unix.O_RDONLY, unix.ENOENT, true},
		{"create through dangling symlink", "dangling", creat, 0, true},
		{"create dangling symlink exclusively", "dangling", creat | unix.O_EXCL, unix.EEXIST, true},
		{"symlink loop", "loop", unix.O_RDONLY, unix.ELOOP, true},
		{"create symlink loop", "loop", creat, unix.ELOOP, true},
		{"create symlink loop exclusively", "loop", creat | unix.O_EXCL, unix.EEXIST, true},
		{"below a symlink", "ld/g", unix.O_RDONLY, 0, true},
		{"symlink with trailing slash to a file", "l/", unix.O_RDONLY, unix.ENOTDIR, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.link && !d.has(Symlinks) {
				return // checked in Symlink
			}
			s := newSys(t, d, "d/", "f", "d/g")
			if d.has(Symlinks) {
				s.layout("l => f", "ld => d", "dangling => target", "loop => loop")
			}
			s.fails(c.want, s.opens(c.path, c.flags, 0o644), "open %s", c.path)
			if c.want == 0 && c.path == "dangling" {
				require.True(t, s.exists("target"), "target made")
			}
			if c.want != 0 {
				require.Equal(t, "f", s.get("f"), "file left alone")
			}
		})
	}
	t.Run("mode and umask", func(t *testing.T) {
		s := newSys(t, d)
		s.umask(0o027)
		s.ok(s.opens("f", creat, 0o666), "create")
		require.EqualValues(t, unix.S_IFREG|0o640, s.attr("f").Mode)
		require.EqualValues(t, 1, s.attr("f").Nlink)
		require.EqualValues(t, 0, s.attr("f").Size)
	})
	t.Run("created without permissions is open all the same", func(t *testing.T) {
		s := newSys(t, d)
		s.ok(s.mkdir("tmp", 0o777), "mkdir")
		u := s.as(1001, 1001)
		f, err := u.open("tmp/f", unix.O_CREAT|unix.O_RDWR, 0)
		s.ok(err, "create")
		defer (&file{f, s}).close()
		(&file{f, s}).write("x")
	})
	t.Run("O_TRUNC", func(t *testing.T) {
		s := newSys(t, d, "f")
		s.ok(s.opens("f", unix.O_WRONLY|unix.O_TRUNC, 0), "open")
		require.EqualValues(t, 0, s.attr("f").Size)
	})
	t.Run("O_PATH", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_PATH|unix.O_RDWR)
		defer f.close()
		_, err := f.Read(make([]byte, 1))
		s.fails(unix.EBADF, err, "read")
		_, err = f.Write(make([]byte, 1))
		s.fails(unix.EBADF, err, "write")
		_, err = f.Seek(0, unix.SEEK_SET)
		s.fails(unix.EBADF, err, "lseek")
		s.fails(unix.EBADF, f.Fsync(), "fsync")
		s.fails(unix.EBADF, f.Truncate(0), "ftruncate")
		require.EqualValues(t, 1, f.attr().Size)
	})
	t.Run("relative to a directory", func(t *testing.T) {
		s := newSys(t, d, "d/", "d/f")
		at := s.file("d", unix.O_PATH)
		defer at.close()
		f, err := s.openat(at.openFile, "f", unix.O_RDONLY, 0)
		s.ok(err, "openat")
		s.ok(f.Close(), "close")
		at2 := s.file("d/f", unix.O_PATH)
		defer at2.close()
		_, err = s.openat(at2.openFile, "f", unix.O_RDONLY, 0)
		s.fails(unix.ENOTDIR, err, "openat with a file")
		f, err = s.openat(at2.openFile, "/d", unix.O_DIRECTORY, 0)
		s.ok(err, "an absolute path ignores the start")
		s.ok(f.Close(), "close")
	})
}
