package vfstest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
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
		s.v.SetUmask(0o022)
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
		s.chdir("/d")
		s.ok(s.unlink("f"), "unlink")
		s.ok(s.rmdir("/d"), "rmdir")
		_, err := s.v.Getcwd()
		s.fails(unix.ENOENT, err, "getcwd")
		s.fails(unix.ENOENT, s.mkdir("x", 0o755), "mkdir")
		s.fails(unix.ENOENT, s.opens("x", unix.O_CREAT|unix.O_WRONLY, 0o644), "open")
		s.fails(unix.ENOENT, s.opens("x", unix.O_RDONLY, 0), "open")
		a, err := s.stat(".")
		s.ok(err, "stat .")
		if d.has(DirLinks) {
			require.EqualValues(t, 0, a.Nlink)
		}
		s.chdir("/")
		s.layout("d/")
		require.Empty(t, s.list("d"))
	})
	t.Run("open directory", func(t *testing.T) {
		s := newSys(t, d, "d/")
		f := s.file("d", unix.O_RDONLY)
		defer f.close()
		s.ok(s.rmdir("d"), "rmdir")
		s.fails(unix.ENOENT, f.ReadDir(s.ctx, func(vfs.Dirent) bool { return true }), "getdents of a removed directory")
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
		p := s.walk("f", 0)
		defer p.Put()
		s.ok(s.unlink("f"), "unlink")
		s.fails(unix.ENOENT, s.v.LinkAt(s.ctx, p, "", cwd, "g", vfs.WalkEmpty), "linkat")
	})
	t.Run("open file", func(t *testing.T) {
		s := newSys(t, d, "f")
		p := s.walk("f", 0)
		defer p.Put()
		s.ok(s.v.LinkAt(s.ctx, p, "", cwd, "g", vfs.WalkEmpty), "linkat")
		require.Equal(t, "f", s.get("g"))
	})
	if d.has(Symlinks) {
		t.Run("symlink", func(t *testing.T) {
			s := newSys(t, d, "f", "l => f")
			s.ok(s.link("l", "m"), "link")
			require.Equal(t, s.attr("l").Ino, s.attr("m").Ino)
			s.ok(s.v.LinkAt(s.ctx, cwd, "l", cwd, "g", vfs.WalkFollow), "linkat AT_SYMLINK_FOLLOW")
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

func testMknod(t *testing.T, d Driver) {
	for _, c := range []struct {
		name    string
		mode    uint32
		rdev    uint64
		feature Feature
		want    unix.Errno
	}{
		{"regular", unix.S_IFREG | 0o640, 0, 0, 0},
		{"no type", 0o640, 0, 0, 0},
		{"fifo", unix.S_IFIFO | 0o640, 0, FIFOs, 0},
		{"socket", unix.S_IFSOCK | 0o640, 0, FIFOs, 0},
		{"character device", unix.S_IFCHR | 0o640, unix.Mkdev(1, 3), Devices, 0},
		{"block device", unix.S_IFBLK | 0o640, unix.Mkdev(300, 70000), Devices, 0},
		{"directory", unix.S_IFDIR | 0o640, 0, 0, unix.EPERM},
		{"symlink", unix.S_IFLNK | 0o640, 0, 0, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d)
			err := s.mknod("n", c.mode, c.rdev)
			if !d.has(c.feature) {
				c.want = unix.EPERM
			}
			s.fails(c.want, err, "mknod")
			if c.want != 0 {
				require.False(t, s.exists("n"))
				return
			}
			kind := c.mode & unix.S_IFMT
			if kind == 0 {
				kind = unix.S_IFREG
			}
			a := s.attr("n")
			require.EqualValues(t, kind|0o640, a.Mode)
			require.Equal(t, c.rdev, a.Rdev)
			if kind != unix.S_IFREG {
				s.fails(unix.ENXIO, s.opens("n", unix.O_RDONLY, 0), "open")
				s.ok(s.opens("n", unix.O_PATH, 0), "open O_PATH")
			}
			s.ok(s.unlink("n"), "unlink")
		})
	}
	if d.has(Devices) {
		s := newSys(t, d)
		s.ok(s.chmod("/", 0o777), "chmod")
		u := s.as(1001, 1001)
		s.fails(unix.EPERM, u.mknod("n", unix.S_IFCHR|0o666, unix.Mkdev(1, 3)), "mknod without privilege")
	}
}
