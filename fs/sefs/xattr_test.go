package sefs_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

func TestXattrSizes(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, ""))
	sizes := []int{0, 1, 2047, 2048, 2049, 4096, 40000, 65535, 65536, 3}
	for _, n := range sizes {
		value := strings.Repeat(string(rune('a'+n%26)), n)
		require.NoError(t, x.setxattr("f", "user.v", value, 0), "%d bytes", n)
		got, err := x.getxattr("f", "user.v")
		require.NoError(t, err, "%d bytes", n)
		require.Equal(t, value, got, "%d bytes", n)
	}
	require.ErrorIs(t, x.setxattr("f", "user.v", strings.Repeat("x", 65537), 0), unix.E2BIG)
	require.ErrorIs(t, x.setxattr("f", strings.Repeat("n", 256), "", 0), unix.ERANGE)
	require.ErrorIs(t, x.setxattr("f", "system.posix_acl_access", "", 0), unix.EOPNOTSUPP)
	ino := x.stat("f").Ino
	require.Equal(t, 1, x.fs.Items(ino)[format.TypeXattr], "the pieces of longer values are gone")
	require.NoError(t, x.on("f", func(i vfs.Inode) error { return i.Xattrs().Removexattr(t.Context(), "user.v") }))
	require.Zero(t, x.fs.Items(ino)[format.TypeXattr])
	_, err := x.getxattr("f", "user.v")
	require.ErrorIs(t, err, unix.ENODATA)
}

func TestXattrFlags(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, ""))
	require.ErrorIs(t, x.setxattr("f", "user.a", "1", unix.XATTR_REPLACE), unix.ENODATA)
	require.NoError(t, x.setxattr("f", "user.a", "1", unix.XATTR_CREATE))
	require.ErrorIs(t, x.setxattr("f", "user.a", "2", unix.XATTR_CREATE), unix.EEXIST)
	require.NoError(t, x.setxattr("f", "user.a", "3", unix.XATTR_REPLACE))
	got, err := x.getxattr("f", "user.a")
	require.NoError(t, err)
	require.Equal(t, "3", got)
	require.ErrorIs(t, x.on("f", func(i vfs.Inode) error {
		return i.Xattrs().Removexattr(t.Context(), "user.b")
	}), unix.ENODATA)
}

// TestXattrLanes stores names with equal hashes, frees the first lane and
// fills it again.
func TestXattrLanes(t *testing.T) {
	x := newTree(t)
	x.fs.SetHash(func(string) uint64 { return 12345 })
	require.NoError(t, x.create("f", 0o600, ""))
	for n := range format.XattrLanes {
		require.NoError(t, x.setxattr("f", fmt.Sprint("user.", n), strings.Repeat("v", 3000+n), 0))
	}
	require.ErrorIs(t, x.setxattr("f", "user.more", "", 0), unix.ENOSPC)
	require.NoError(t, x.setxattr("f", "user.1", "changed", 0), "replacing needs no lane")
	require.NoError(t, x.on("f", func(i vfs.Inode) error { return i.Xattrs().Removexattr(t.Context(), "user.0") }))
	for n := 2; n < format.XattrLanes; n++ {
		got, err := x.getxattr("f", fmt.Sprint("user.", n))
		require.NoError(t, err, "behind an empty lane")
		require.Len(t, got, 3000+n)
	}
	require.NoError(t, x.setxattr("f", "user.more", "new", 0))
	var names []string
	require.NoError(t, x.on("f", func(i vfs.Inode) (err error) {
		names, err = i.Xattrs().Listxattr(t.Context())
		return err
	}))
	slices.Sort(names)
	require.Equal(t, []string{"user.1", "user.2", "user.3", "user.more"}, names)
}

func TestXattrListIsBounded(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, ""))
	i, err := x.get("f")
	require.NoError(t, err)
	defer x.put(i)
	n := 0
	for ; ; n++ {
		name := fmt.Sprintf("user.%0250d", n)
		if err = i.Xattrs().Setxattr(t.Context(), name, nil, 0); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Equal(t, 65536/256, n)
	names, err := i.Xattrs().Listxattr(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, len(bytes.Join([][]byte{[]byte(strings.Join(names, "\x00")), nil}, []byte{0})), 65536)
}
