package hostfs_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// TestDescriptorBound: a walk over many files and directories needs few descriptors of the host.
func TestDescriptorBound(t *testing.T) {
	testenv.CheckLeaks(t)
	h := newHook()
	w := newWorldIn(t, h, memoryDir(t))
	const dirs = 1500
	for i := range dirs {
		require.NoError(t, os.Mkdir(w.on(fmt.Sprintf("d%d", i)), 0o755))
		w.plant(fmt.Sprintf("d%d/f", i), "")
	}
	paths := make([]vfs.Path, 0, dirs)
	for i := range dirs { // all stay in use, so that none of it is for lack of users
		p, err := w.Walk(w.ctx, cwd, fmt.Sprintf("/host/d%d/f", i), 0)
		require.NoError(t, err)
		defer p.Put()
		paths = append(paths, p)
	}
	for _, p := range paths {
		_, err := vfs.Getattr(w.ctx, p, unix.STATX_BASIC_STATS)
		require.NoError(t, err, "by a directory that has to be opened again")
	}
	for i := range dirs {
		require.NoError(t, w.MknodAt(w.ctx, cwd, fmt.Sprintf("/host/n%d", i), unix.S_IFREG|0o644, 0))
	}
	require.LessOrEqual(t, h.most.Load(), int64(hostfs.CacheSize+8))
}

// TestDeepTree: directories are reached again from the root when all descriptors are gone.
func TestDeepTree(t *testing.T) {
	w := newWorld(t, nil)
	const depth = 2 * hostfs.CacheSize
	v := w.Clone()
	defer v.Release()
	walkTo := func(path string) {
		p, err := v.Walk(w.ctx, cwd, path, vfs.WalkDirectory)
		require.NoError(t, err)
		v.SetCwd(p)
		p.Put()
	}
	walkTo("/host")
	for range depth {
		require.NoError(t, v.MkdirAt(w.ctx, cwd, "d", 0o755))
		walkTo("d")
	}
	for i := range 2 * hostfs.CacheSize { // others take the cache
		require.NoError(t, w.MkdirAt(w.ctx, cwd, fmt.Sprintf("/host/x%d", i), 0o755))
	}
	require.NoError(t, v.MkdirAt(w.ctx, cwd, "last", 0o755))
}

// TestNoDescriptorsLeft: the cache gives way when the host has none left.
func TestNoDescriptorsLeft(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	for i := range 50 {
		require.NoError(t, w.MkdirAt(w.ctx, cwd, fmt.Sprintf("/host/d%d", i), 0o755))
	}
	limit := h.opened.Load()
	h.openFD = func() error {
		if h.opened.Load() >= limit {
			return unix.EMFILE
		}
		return nil
	}
	require.NoError(t, w.put("/host/f", "x"))
	require.NoError(t, w.put("/host/d7/f", "x"))
	require.Less(t, h.opened.Load(), limit)
	h.openFD = func() error { return unix.ENFILE }
	require.ErrorIs(t, w.put("/host/g", "x"), unix.ENFILE)
}

// TestRemovedInUse: what has lost its name is used through one descriptor, and let go with the last user.
func TestRemovedInUse(t *testing.T) {
	testenv.CheckLeaks(t)
	h := newHook()
	w := newWorld(t, h)
	w.plant("f", "data")
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	path := w.file("/host/f", unix.O_PATH)
	v := w.Clone()
	p, err := v.Walk(w.ctx, cwd, "/host/d", vfs.WalkDirectory)
	require.NoError(t, err)
	v.SetCwd(p)
	p.Put()
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/f"))
	require.NoError(t, w.RmdirAt(w.ctx, cwd, "/host/d"))
	a, err := vfs.Getattr(w.ctx, path.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.Zero(t, a.Nlink)
	require.EqualValues(t, 4, a.Size)
	_, err = vfs.Getattr(w.ctx, v.Cwd(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.ErrorIs(t, v.MkdirAt(w.ctx, cwd, "x", 0o755), unix.ENOENT)
	before := h.opened.Load()
	v.Release()
	require.Less(t, h.opened.Load(), before)
}

func TestCloseReleasesAll(t *testing.T) {
	testenv.CheckLeaks(t)
	fs := mount(t, hostfs.NewType(hostfs.Config{}), hostDir(t))
	ctx := context.Background()
	d, err := fs.Root().Mkdir(ctx, "d", vfs.CreateAttr{Mode: 0o755})
	require.NoError(t, err)
	_, err = d.Create(ctx, "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	g, err := fs.Root().Create(ctx, "g", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	require.NoError(t, fs.Root().Unlink(ctx, "g", g))
	require.NoError(t, fs.Close(ctx, vfs.SafeClose))
	_, err = fs.Root().Lookup(ctx, "d")
	require.ErrorIs(t, err, unix.ESTALE)
}
