package vfstest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testXattr(t *testing.T, d Driver) {
	s := newSys(t, d, "d/", "f")
	if !d.has(Xattrs) {
		s.fails(unix.EOPNOTSUPP, s.setxattr("f", "user.a", "", 0), "setxattr")
		_, err := s.getxattr("f", "user.a")
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
		if strings.HasPrefix(c.name, "trusted.") && !d.has(TrustedXattrs) {
			c.want = unix.EOPNOTSUPP
		}
		s.fails(c.want, s.setxattr("f", c.name, c.value, c.flags), "setxattr %.40q", c.name)
	}
	set := map[string]string{"user.a": "3", "user.b": "", "trusted.c": "5"}
	if !d.has(TrustedXattrs) {
		delete(set, "trusted.c")
		_, err := s.getxattr("f", "trusted.c")
		s.fails(unix.EOPNOTSUPP, err, "getxattr trusted")
	}
	for name, want := range set {
		got, err := s.getxattr("f", name)
		s.ok(err, "getxattr %s", name)
		require.Equal(t, want, got)
	}
	_, err := s.getxattr("f", "user.missing")
	s.fails(unix.ENODATA, err, "getxattr")
	names, err := s.listxattr("f")
	s.ok(err, "listxattr")
	require.ElementsMatch(t, slices.Collect(maps.Keys(set)), names)
	names, err = s.as(alice, alice).listxattr("f")
	s.ok(err, "listxattr")
	require.NotContains(t, names, "trusted.c")

	s.ok(s.removexattr("f", "user.a"), "removexattr")
	s.fails(unix.ENODATA, s.removexattr("f", "user.a"), "removexattr")
	s.ok(s.setxattr("d", "user.dir", "x", 0), "setxattr of a directory")
	s.ok(s.rename("f", "g"), "rename")
	got, err := s.getxattr("g", "user.b")
	s.ok(err, "getxattr after a rename")
	require.Empty(t, got)

	u := s.as(alice, alice)
	s.fails(unix.EACCES, u.setxattr("g", "user.z", "", 0), "setxattr without write permission")
	s.fails(unix.EPERM, u.setxattr("g", "trusted.z", "", 0), "setxattr trusted")
	if d.has(TrustedXattrs) {
		_, err = u.getxattr("g", "trusted.c")
		s.fails(unix.ENODATA, err, "getxattr trusted")
	}
	if d.has(Symlinks) {
		s.layout("l => g")
		s.fails(unix.EPERM, s.setxattr("l", "user.a", "", 0), "setxattr of a symlink")
	}
}
