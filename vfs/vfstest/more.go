package vfstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func testXattr(t *testing.T, d Driver) {
	s := newSys(t, d, "d/", "f")
	root := s.v.Cred()
	f, dir := s.walk("f", 0), s.walk("d", 0)
	defer f.Put()
	defer dir.Put()
	if !d.has(Xattrs) {
		s.fails(unix.EOPNOTSUPP, vfs.Setxattr(s.ctx, root, f, "user.a", nil, 0), "setxattr")
		_, err := vfs.Getxattr(s.ctx, root, f, "user.a")
		s.fails(unix.EOPNOTSUPP, err, "getxattr")
		return
	}
	for _, c := range []struct {
		name  string
		value string
		flags int
		want  unix.Errno
	}{
		{"user.a", "1", 0, 0},
		{"user.a", "2", unix.XATTR_CREATE, unix.EEXIST},
		{"user.a", "3", unix.XATTR_REPLACE, 0},
		{"user.b", "4", unix.XATTR_REPLACE, unix.ENODATA},
		{"user.b", "", unix.XATTR_CREATE, 0},
		{"trusted.c", "5", 0, 0},
		{"user.", "6", 0, unix.EINVAL},
		{"user", "6", 0, unix.EOPNOTSUPP},
		{"other.x", "6", 0, unix.EOPNOTSUPP},
		{"overlay.x", "6", 0, unix.EOPNOTSUPP},
		{"", "6", 0, unix.ERANGE},
		{"user." + strings.Repeat("n", 251), "6", 0, unix.ERANGE},
		{"user.d", strings.Repeat("v", 65537), 0, unix.E2BIG},
		{"user.a", "7", 8, unix.EINVAL},
	} {
		s.fails(c.want, vfs.Setxattr(s.ctx, root, f, c.name, []byte(c.value), c.flags), "setxattr %.40q", c.name)
	}
	get := func(p vfs.Path, name string) (string, error) {
		v, err := vfs.Getxattr(s.ctx, root, p, name)
		return string(v), err
	}
	for name, want := range map[string]string{"user.a": "3", "user.b": "", "trusted.c": "5"} {
		got, err := get(f, name)
		s.ok(err, "getxattr %s", name)
		require.Equal(t, want, got)
	}
	_, err := get(f, "user.missing")
	s.fails(unix.ENODATA, err, "getxattr")
	names, err := vfs.Listxattr(s.ctx, root, f)
	s.ok(err, "listxattr")
	slices.Sort(names)
	require.Equal(t, []string{"trusted.c", "user.a", "user.b"}, names)
	names, err = vfs.Listxattr(s.ctx, s.as(alice, alice).v.Cred(), f)
	s.ok(err, "listxattr")
	require.NotContains(t, names, "trusted.c")

	s.ok(vfs.Removexattr(s.ctx, root, f, "user.a"), "removexattr")
	s.fails(unix.ENODATA, vfs.Removexattr(s.ctx, root, f, "user.a"), "removexattr")
	s.ok(vfs.Setxattr(s.ctx, root, dir, "user.dir", []byte("x"), 0), "setxattr of a directory")
	s.ok(s.rename("f", "g"), "rename")
	got, err := get(f, "user.b")
	s.ok(err, "getxattr after a rename")
	require.Empty(t, got)

	u := s.as(alice, alice).v.Cred()
	s.fails(unix.EACCES, vfs.Setxattr(s.ctx, u, f, "user.z", nil, 0), "setxattr without write permission")
	s.fails(unix.EPERM, vfs.Setxattr(s.ctx, u, f, "trusted.z", nil, 0), "setxattr trusted")
	_, err = vfs.Getxattr(s.ctx, u, f, "trusted.c")
	s.fails(unix.ENODATA, err, "getxattr trusted")
	if d.has(Symlinks) {
		s.layout("l => g")
		l := s.walk("l", 0)
		defer l.Put()
		s.fails(unix.EPERM, vfs.Setxattr(s.ctx, root, l, "user.a", nil, 0), "setxattr of a symlink")
	}
}

func testTmpfile(t *testing.T, d Driver) {
	const flags = unix.O_TMPFILE | unix.O_RDWR
	s := newSys(t, d, "d/", "f")
	s.fails(unix.EINVAL, s.opens("d", unix.O_TMPFILE|unix.O_RDONLY, 0o644), "O_TMPFILE read-only")
	s.fails(unix.ENOTDIR, s.opens("f", flags, 0o644), "O_TMPFILE in a file")
	if !d.has(Tmpfile) {
		s.fails(unix.EOPNOTSUPP, s.opens("d", flags, 0o644), "O_TMPFILE")
		return
	}
	f := s.file("d", flags)
	f.write("unnamed")
	require.EqualValues(t, 0, f.attr().Nlink)
	require.Empty(t, s.list("d"))
	if d.has(Links) {
		s.ok(s.v.LinkAt(s.ctx, f.Path(), "", cwd, "d/named", vfs.WalkEmpty), "linkat")
		require.EqualValues(t, 1, f.attr().Nlink)
		require.Equal(t, "unnamed", s.get("d/named"))
		require.Equal(t, f.attr().Ino, s.attr("d/named").Ino)
		s.ok(s.unlink("d/named"), "unlink")
		s.fails(unix.ENOENT, s.v.LinkAt(s.ctx, f.Path(), "", cwd, "d/again", vfs.WalkEmpty), "linkat after unlink")
	}
	f.close()
	e := s.file("d", flags|unix.O_EXCL)
	defer e.close()
	if d.has(Links) {
		s.fails(unix.ENOENT, s.v.LinkAt(s.ctx, e.Path(), "", cwd, "d/x", vfs.WalkEmpty), "linkat with O_EXCL")
	}
	u := s.as(alice, alice)
	s.fails(unix.EACCES, u.opens("d", flags, 0o644), "O_TMPFILE without write permission")
}

func testWhiteout(t *testing.T, d Driver) {
	root := vfs.RootCred()
	if !d.has(Whiteouts) {
		s := newSys(t, d, "f", "g")
		s.fails(unix.EINVAL, vfs.Whiteout(s.ctx, root, s.v.Root(), "f"), "whiteout")
		s.fails(unix.EINVAL, s.rename2("f", "new", unix.RENAME_WHITEOUT), "rename with whiteout")
		require.Equal(t, "f", s.get("f"))
		return
	}
	white := func(s *sys, path string) {
		s.t.Helper()
		a := s.attr(path)
		require.True(s.t, a.IsWhiteout(), "%s is a whiteout", path)
	}
	whiteout := func(s *sys, dir, name string) error {
		p := s.walk(dir, 0)
		defer p.Put()
		return vfs.Whiteout(s.ctx, root, p, name)
	}
	t.Run("replaces", func(t *testing.T) {
		s := newSys(t, d, "f", "d/", "full/", "full/x")
		for _, name := range []string{"f", "d", "absent", "f"} {
			s.ok(whiteout(s, "/", name), "whiteout %s", name)
			white(s, name)
		}
		s.fails(unix.ENOTEMPTY, whiteout(s, "/", "full"), "whiteout of a full directory")
		require.Equal(t, []string{"absent", "d", "f", "full"}, s.list("/"))
	})
	t.Run("is replaced", func(t *testing.T) {
		s := newSys(t, d, "g", "dir/")
		for _, c := range []struct {
			name string
			do   func(name string) error
		}{
			{"create", func(n string) error { return s.opens(n, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644) }},
			{"mkdir", func(n string) error { return s.mkdir(n, 0o755) }},
			{"rename", func(n string) error { return s.rename2("g", n, unix.RENAME_NOREPLACE) }},
			{"rename directory", func(n string) error { return s.rename("dir", n) }},
		} {
			s.ok(whiteout(s, "/", c.name), "whiteout")
			s.ok(c.do(c.name), "%s", c.name)
			a := s.attr(c.name)
			require.False(t, a.IsWhiteout(), "%s", c.name)
		}
		if d.has(Links) {
			s.layout("h")
			s.ok(whiteout(s, "/", "link"), "whiteout")
			s.ok(s.link("h", "link"), "link")
			require.Equal(t, "h", s.get("link"))
		}
	})
	t.Run("does not count", func(t *testing.T) {
		s := newSys(t, d, "d/", "e/", "src/", "src/f")
		for _, dir := range []string{"d", "e"} {
			s.ok(whiteout(s, dir, "a"), "whiteout")
			s.ok(whiteout(s, dir, "b"), "whiteout")
		}
		s.ok(s.rmdir("d"), "rmdir")
		s.ok(s.rename("src", "e"), "rename over")
		require.Equal(t, []string{"f"}, s.list("e"))
	})
	t.Run("rename leaves one", func(t *testing.T) {
		s := newSys(t, d, "f", "d/", "sub/")
		s.ok(s.rename2("f", "g", unix.RENAME_WHITEOUT), "rename")
		white(s, "f")
		require.Equal(t, "f", s.get("g"))
		s.ok(s.rename2("d", "sub/d", unix.RENAME_WHITEOUT), "rename")
		white(s, "d")
		s.ok(s.rename2("g", "sub/d/g", unix.RENAME_WHITEOUT), "rename")
		white(s, "g")
	})
	t.Run("is removed", func(t *testing.T) {
		s := newSys(t, d)
		s.ok(whiteout(s, "/", "w"), "whiteout")
		s.ok(s.unlink("w"), "unlink")
		require.Empty(t, s.list("/"))
	})
}

func testLimits(t *testing.T, d Driver) {
	s := newSys(t, d)
	long, tooLong := strings.Repeat("n", 255), strings.Repeat("n", 256)
	s.put(long, "x")
	require.Equal(t, []string{long}, s.list("/"))
	s.ok(s.rename(long, "short"), "rename")
	s.ok(s.rename("short", long), "rename")
	s.ok(s.unlink(long), "unlink")
	for name, err := range map[string]error{
		"open":   s.opens(tooLong, unix.O_CREAT|unix.O_WRONLY, 0o644),
		"mkdir":  s.mkdir(tooLong, 0o755),
		"unlink": s.unlink(tooLong),
		"rmdir":  s.rmdir(tooLong),
		"rename": s.rename("/x", tooLong),
		"lookup": s.opens(tooLong+"/x", unix.O_RDONLY, 0),
	} {
		s.fails(unix.ENAMETOOLONG, err, "%s of 256 bytes", name)
	}
	path := strings.Repeat("./", 2047)
	s.ok(s.opens(path+".", unix.O_RDONLY, 0), "path of 4095 bytes")
	s.fails(unix.ENAMETOOLONG, s.opens(path+"./", unix.O_RDONLY, 0), "path of 4096 bytes")

	// Names are bytes.
	names := []string{"...", " ", "\n", "\xff\xfe", "ä", "a b", "-", "\\", "\"", "*"}
	for _, name := range names {
		s.put(name, name)
	}
	slices.Sort(names)
	require.Equal(t, names, s.list("/"))
	for _, name := range names {
		require.Equal(t, name, s.get("/"+name))
	}

	// Deep directories.
	deep := ""
	for i := range 60 {
		deep += fmt.Sprintf("/d%d", i)
		s.ok(s.mkdir(deep, 0o755), "mkdir %s", deep)
	}
	s.put(deep+"/f", "deep")
	require.Equal(t, "deep", s.get(deep+"/f"))
	s.ok(s.rename("/d0", "/e0"), "rename")
	require.Equal(t, "deep", s.get("/e0"+deep[3:]+"/f"))
}

func testMount(t *testing.T, d Driver) {
	s := newSys(t, d, "m/", "m/under", "f", "n/")
	mount := func(target string, flags uintptr) error {
		return s.v.Mount(s.ctx, "src", target, "driver", flags, "")
	}
	s.ok(mount("m", 0), "mount")
	require.Empty(t, s.list("m"))
	s.put("m/x", "inside")
	s.fails(unix.EXDEV, s.rename("m/x", "x"), "rename out")
	s.fails(unix.EXDEV, s.rename("f", "m/f"), "rename in")
	s.fails(unix.EXDEV, s.link("f", "m/f"), "link in")
	s.fails(unix.EBUSY, s.rmdir("m"), "rmdir of the mount point")
	s.fails(unix.EBUSY, s.rename("m", "k"), "rename of the mount point")
	s.fails(unix.EBUSY, s.rename("n", "m"), "rename over the mount point")
	require.Equal(t, s.attr("/").Ino, s.attr("m/..").Ino)
	f := s.file("m/x", unix.O_RDONLY)
	s.fails(unix.EBUSY, s.v.Umount2(s.ctx, "m", 0), "umount with an open file")
	f.close()
	s.ok(s.v.Umount2(s.ctx, "m", 0), "umount")
	require.Equal(t, []string{"under"}, s.list("m"))

	s.ok(mount("m", unix.MS_RDONLY), "mount read-only")
	s.fails(unix.EROFS, s.opens("m/new", unix.O_CREAT|unix.O_WRONLY, 0o644), "create")
	s.fails(unix.EROFS, s.mkdir("m/new", 0o755), "mkdir")
	s.fails(unix.EROFS, s.chmod("m", 0o755), "chmod")
	s.fails(unix.EROFS, s.access("m", unix.W_OK), "access")
	s.fails(unix.EEXIST, s.mkdir("m", 0o755), "mkdir of what exists")
	s.ok(s.v.Umount2(s.ctx, "m", 0), "umount")
}

// testCache runs with almost no dentry cache, so that everything is evicted and looked up again.
func testCache(t *testing.T, d Driver) {
	s := newSysConfig(t, d, vfs.Config{MaxDentries: 2})
	for i := range 20 {
		s.layout(fmt.Sprintf("d%d/", i), fmt.Sprintf("d%d/e/", i))
		for j := range 10 {
			s.layout(fmt.Sprintf("d%d/e/f%d", i, j))
		}
	}
	inos := map[uint64]string{}
	for range 2 {
		for i := range 20 {
			for j := range 10 {
				path := fmt.Sprintf("d%d/e/f%d", i, j)
				require.Equal(t, path, s.get(path))
				ino := s.attr(path).Ino
				if old, ok := inos[ino]; ok {
					require.Equal(t, path, old, "inode %d", ino)
				}
				inos[ino] = path
			}
		}
	}
	require.Len(t, inos, 200)
	if d.has(Links) {
		s.ok(s.link("d0/e/f0", "d1/g"), "link")
		a, b := s.file("d0/e/f0", unix.O_RDWR), s.file("d1/g", unix.O_RDWR)
		defer a.close()
		defer b.close()
		a.writeAt("one file", 0)
		require.Equal(t, "one file", b.readAt(100, 0))
		require.True(t, a.Path().Inode() == b.Path().Inode(), "two names, one inode")
	}
	for i := range 20 {
		for j := range 10 {
			s.ok(s.unlink(fmt.Sprintf("d%d/e/f%d", i, j)), "unlink")
		}
		s.ok(s.rmdir(fmt.Sprintf("d%d/e", i)), "rmdir")
	}
}
