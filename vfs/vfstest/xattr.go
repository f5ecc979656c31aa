package vfstest

import (
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
