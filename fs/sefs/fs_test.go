package sefs_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

func TestTreeSurvivesRemount(t *testing.T) {
	x := newTree(t)
	long := strings.Repeat("n", 255)
	require.NoError(t, x.create("d", unix.S_IFDIR|0o1777, ""))
	require.NoError(t, x.create("d/sub", unix.S_IFDIR|0o750, ""))
	require.NoError(t, x.create("f", 0o644, "hello"))
	require.NoError(t, x.create(long, 0o4755, strings.Repeat("x", 3000)))
	require.NoError(t, x.create("empty", 0o600, ""))
	require.NoError(t, x.create("big", 0o600, strings.Repeat("0123456789", 20000)))
	require.NoError(t, x.create("link", unix.S_IFLNK, "d/sub/target"))
	require.NoError(t, x.create("longlink", unix.S_IFLNK, strings.Repeat("t", 4095)))
	require.NoError(t, x.create("fifo", unix.S_IFIFO|0o600, ""))
	require.NoError(t, x.create("sock", unix.S_IFSOCK|0o600, ""))
	require.NoError(t, x.create("chr", unix.S_IFCHR|0o600, ""))
	require.NoError(t, x.create("blk", unix.S_IFBLK|0o600, ""))
	require.NoError(t, x.link("f", "d/hard"))
	require.NoError(t, x.whiteout("d/hidden"))
	require.NoError(t, x.setxattr("f", "user.a", "value", 0))
	require.NoError(t, x.setxattr("d", "overlay.opaque", "y", 0))
	require.NoError(t, x.rename("d/sub", "moved", 0))

	before, stat, ino := x.dump(), x.stat("f"), x.stat("chr")
	require.Len(t, before, 14)
	require.EqualValues(t, unix.Mkdev(7, 3), ino.Rdev)
	x.reopen()
	require.Equal(t, before, x.dump())
	after := x.stat("f")
	require.Equal(t, stat, after, "all attributes survive, times to the nanosecond")
	require.Equal(t, ino, x.stat("chr"))

	t.Run("numbers rise", func(t *testing.T) {
		require.NoError(t, x.create("new", 0o600, ""))
		require.Greater(t, x.stat("new").Ino, ino.Ino)
		require.Less(t, x.stat("new").Ino, uint64(1)<<48)
	})
}

func TestSameFileSameInode(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o644, "x"))
	require.NoError(t, x.link("f", "g"))
	a, err := x.get("f")
	require.NoError(t, err)
	b, err := x.get("g")
	require.NoError(t, err)
	require.Same(t, a, b)
	x.put(a)
	x.put(b)
}

func TestExpectedErrors(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("d", unix.S_IFDIR|0o755, ""))
	require.NoError(t, x.create("d/f", 0o644, ""))
	require.NoError(t, x.create("f", 0o644, ""))
	for name, c := range map[string]struct {
		got  error
		want unix.Errno
	}{
		"create existing":       {x.create("f", 0o644, ""), unix.EEXIST},
		"mkdir existing":        {x.create("d", unix.S_IFDIR, ""), unix.EEXIST},
		"link existing":         {x.link("f", "d/f"), unix.EEXIST},
		"link directory":        {x.link("d", "e"), unix.EPERM},
		"lookup missing":        {x.on("nope", nil), unix.ENOENT},
		"rmdir with content":    {x.unlink("d"), unix.ENOTEMPTY},
		"whiteout with content": {x.whiteout("d"), unix.ENOTEMPTY},
		"rename unknown flag":   {x.rename("f", "g", 8), unix.EINVAL},
		"rename whiteout+exch":  {x.rename("f", "d", unix.RENAME_WHITEOUT|unix.RENAME_EXCHANGE), unix.EINVAL},
		"exchange with missing": {x.rename("f", "nope", unix.RENAME_EXCHANGE), unix.ENOENT},
		"noreplace":             {x.rename("f", "d/f", unix.RENAME_NOREPLACE), unix.EEXIST},
		"link too long":         {x.create("l", unix.S_IFLNK, strings.Repeat("x", 4096)), unix.ENAMETOOLONG},
		"link empty":            {x.create("l", unix.S_IFLNK, ""), unix.ENOENT},
		"set size of directory": {x.on("d", func(i vfs.Inode) error {
			return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_SIZE})
		}), unix.EINVAL},
		"device 0:0": {x.in("w", func(d vfs.Dir, name string) error {
			a := x.attr(unix.S_IFCHR | 0o600)
			_, err := d.Mknod(t.Context(), name, 0, a)
			return err
		}), unix.EPERM},
	} {
		require.ErrorIs(t, c.got, c.want, name)
	}
}

func TestWhiteouts(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("d", unix.S_IFDIR|0o755, ""))
	require.NoError(t, x.create("d/f", 0o644, "x"))
	require.NoError(t, x.whiteout("d/f"))
	require.NoError(t, x.whiteout("d/absent"))
	for _, name := range []string{"d/f", "d/absent"} {
		a := x.stat(name)
		require.True(t, a.IsWhiteout(), name)
	}
	require.EqualValues(t, 0, x.stat("d").Size, "whiteouts are no content")
	require.NoError(t, x.create("d/f", 0o600, "new"), "create replaces a whiteout")
	require.NoError(t, x.rename("d/f", "d/absent", unix.RENAME_WHITEOUT))
	a := x.stat("d/f")
	require.True(t, a.IsWhiteout(), "RENAME_WHITEOUT")
	require.NoError(t, x.rename("d/absent", "g", 0))
	require.NoError(t, x.link("g", "d/f"), "link replaces a whiteout")
	require.NoError(t, x.unlink("d/f"))
	require.NoError(t, x.whiteout("d/f"))
	require.NoError(t, x.create("e", unix.S_IFDIR|0o755, ""))
	ino := x.stat("d").Ino
	require.NoError(t, x.rename("e", "d", 0), "a directory of whiteouts is empty")
	require.Empty(t, x.fs.Items(ino), "nothing is left of the replaced directory")
	require.NoError(t, x.whiteout("d"))
	require.NoError(t, x.unlink("d"), "a whiteout can be unlinked")
	require.ErrorIs(t, x.on("d", nil), unix.ENOENT)
	x.dump()
}

func TestOpenUnlinkedFileLivesUntilEvicted(t *testing.T) {
	x := newTree(t)
	data := strings.Repeat("secret", 5000)
	require.NoError(t, x.create("f", 0o600, data))
	require.NoError(t, x.setxattr("f", "user.x", "y", 0))
	i, err := x.get("f")
	require.NoError(t, err)
	ino := attrOf(t, i).Ino
	require.NoError(t, x.unlink("f"))
	require.NoError(t, x.fs.Sync(t.Context()))
	require.Equal(t, data, read(t, i))
	require.EqualValues(t, 0, attrOf(t, i).Nlink)
	require.NotEmpty(t, x.fs.Items(ino))
	require.Equal(t, 1, x.fs.Items(0)[format.TypeOrphan], "a crash must find it")
	x.put(i)
	require.Empty(t, x.fs.Items(ino))
	require.Zero(t, x.fs.Items(0)[format.TypeOrphan])
}

func TestOrphansAreReclaimedAfterACrash(t *testing.T) {
	x := newTree(t)
	var inos []uint64
	for n := range 300 {
		name := fmt.Sprint("f", n)
		require.NoError(t, x.create(name, 0o600, "data"))
		i, err := x.get(name)
		require.NoError(t, err)
		inos = append(inos, attrOf(t, i).Ino)
		require.NoError(t, x.unlink(name)) // stays pinned
	}
	tmp, err := x.fs.Root().Tmpfile(t.Context(), x.attr(0o600))
	require.NoError(t, err)
	inos = append(inos, attrOf(t, tmp).Ino)
	require.NoError(t, x.fs.Sync(t.Context()))
	require.Equal(t, 301, x.fs.Items(0)[format.TypeOrphan])
	x.fs.Abandon()
	x.open()
	require.Zero(t, x.fs.Items(0)[format.TypeOrphan])
	for _, ino := range inos {
		require.Empty(t, x.fs.Items(ino), "inode %d", ino)
	}
}

func TestTmpfileCanBeLinked(t *testing.T) {
	x := newTree(t)
	i, err := x.fs.Root().Tmpfile(t.Context(), x.attr(0o640))
	require.NoError(t, err)
	require.NoError(t, writeTo(i, "content", 0))
	require.NoError(t, x.fs.Sync(t.Context()))
	require.Equal(t, 1, x.fs.Items(0)[format.TypeOrphan])
	require.NoError(t, x.fs.Root().Link(t.Context(), "f", i))
	vfs.UnpinInode(t.Context(), i)
	x.reopen()
	require.Zero(t, x.fs.Items(0)[format.TypeOrphan])
	require.Equal(t, map[string]string{"/f": `100640 1000:100 links=1 "content"`}, x.dump())
}

func TestCreateWithXattrs(t *testing.T) {
	x := newTree(t)
	a := x.attr(0o755)
	a.Xattrs = map[string][]byte{"overlay.opaque": []byte("y"), "user.long": bytes.Repeat([]byte("v"), 65536)}
	i, err := x.fs.Root().Mkdir(t.Context(), "d", a)
	require.NoError(t, err)
	vfs.UnpinInode(t.Context(), i)
	x.reopen()
	v, err := x.getxattr("d", "overlay.opaque")
	require.NoError(t, err)
	require.Equal(t, "y", v)
	v, err = x.getxattr("d", "user.long")
	require.NoError(t, err)
	require.Len(t, v, 65536)

	a.Xattrs = map[string][]byte{"user.long": make([]byte, 65537)}
	_, err = x.fs.Root().Mkdir(t.Context(), "e", a)
	require.ErrorIs(t, err, unix.E2BIG)
	require.ErrorIs(t, x.on("e", nil), unix.ENOENT)
}

func TestReadOnlyVolume(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o644, "data"))
	require.NoError(t, x.create("d", unix.S_IFDIR|0o755, ""))
	require.NoError(t, x.setxattr("f", "user.a", "b", 0))
	want := x.dump()
	x.cfg.Access = sefs.ReadOnly
	x.reopen()
	require.Equal(t, want, x.dump())
	h := x.handle("f")
	for name, err := range map[string]error{
		"create":   x.create("g", 0o644, ""),
		"mkdir":    x.create("g", unix.S_IFDIR, ""),
		"symlink":  x.create("g", unix.S_IFLNK, "t"),
		"mknod":    x.create("g", unix.S_IFIFO, ""),
		"unlink":   x.unlink("f"),
		"rmdir":    x.unlink("d"),
		"link":     x.link("f", "g"),
		"rename":   x.rename("f", "g", 0),
		"whiteout": x.whiteout("f"),
		"write":    x.write("f", "z", 0),
		"setxattr": x.setxattr("f", "user.a", "c", 0),
		"chmod":    x.on("f", func(i vfs.Inode) error { return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_MODE}) }),
		"truncate": x.on("f", func(i vfs.Inode) error { return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_SIZE}) }),
		"removexattr": x.on("f", func(i vfs.Inode) error {
			return i.Xattrs().Removexattr(t.Context(), "user.a")
		}),
		"fallocate": h.Fallocate(t.Context(), 0, 0, 10),
	} {
		require.ErrorIs(t, err, unix.EROFS, name)
	}
	require.NoError(t, h.Fsync(t.Context(), false))
	require.NoError(t, x.fs.Sync(t.Context()))
	require.Equal(t, want, x.dump())
}

func TestManyChangedInodes(t *testing.T) {
	x := newTree(t)
	for n := range sefs.MaxDirty + 100 {
		i, err := x.fs.Root().Create(t.Context(), fmt.Sprint("f", n), x.attr(0o644))
		require.NoError(t, err)
		defer func() { require.NotNil(t, i) }()
		if n%2 == 0 {
			vfs.UnpinInode(t.Context(), i)
		}
	}
	require.NoError(t, x.fs.Sync(t.Context()))
	x.fs.Abandon()
	x.open()
	require.Len(t, x.names("/", 1000), sefs.MaxDirty+100)
	x.dump()
}

func TestStatfs(t *testing.T) {
	x := newTree(t)
	st, err := x.fs.Statfs(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, sefs.Magic, st.Type)
	require.EqualValues(t, 4096, st.Bsize)
	require.EqualValues(t, 255, st.Namelen)
	require.LessOrEqual(t, st.Bfree, st.Blocks)
	require.NotZero(t, st.Bfree)
}

func TestGetattrAllocatesNothing(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o644, "x"))
	i, err := x.get("f")
	require.NoError(t, err)
	defer x.put(i)
	ctx := context.Background()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if a, err := i.Getattr(ctx, unix.STATX_BASIC_STATS); err != nil || a.Size != 1 {
			t.Error(a.Size, err)
		}
	}))
}
