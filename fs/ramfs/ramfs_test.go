package ramfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

func newFS(t *testing.T) vfs.FileSystem { return ramfs.New(ramfs.Config{}) }

// The reference agrees with itself when nearly nothing is cached.
func TestModel(t *testing.T) {
	for seed := range uint64(10) {
		vfstest.RunModel(t, vfstest.Driver{New: newFS}, vfstest.Driver{New: newFS}, seed, 500)
	}
}

func TestMaxBytes(t *testing.T) {
	ctx := t.Context()
	ns, err := vfs.New(vfs.Config{Root: ramfs.New(ramfs.Config{MaxBytes: 8 * 4096})})
	require.NoError(t, err)
	v := ns.NewView(vfs.RootCred())
	defer func() {
		v.Release()
		require.NoError(t, ns.Close(ctx))
	}()
	f, err := v.OpenAt(ctx, vfs.Path{}, "f", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR})
	require.NoError(t, err)
	n, err := f.WriteAt(ctx, make([]byte, 10*4096), 0)
	require.NoError(t, err, "a write that fits in part is short")
	require.Equal(t, 8*4096, n)
	_, err = f.WriteAt(ctx, make([]byte, 1), 8*4096)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorIs(t, f.Fallocate(ctx, 0, 0, 9*4096), unix.ENOSPC)
	st, err := vfs.Statfs(ctx, v.Root())
	require.NoError(t, err)
	require.EqualValues(t, 8, st.Blocks)
	require.Zero(t, st.Bfree)
	require.NoError(t, v.UnlinkAt(ctx, vfs.Path{}, "f"))
	st, _ = vfs.Statfs(ctx, v.Root())
	require.Zero(t, st.Bfree, "an open file keeps its space")
	require.NoError(t, f.Close(ctx))
	st, _ = vfs.Statfs(ctx, v.Root())
	require.EqualValues(t, 8, st.Bfree, "the last close frees it")
}
