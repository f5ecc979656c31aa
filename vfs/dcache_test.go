package vfs_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Walking many files keeps no more inodes than the cache may hold, and chains of parents go too.
func TestCacheIsBounded(t *testing.T) {
	const limit, dirs, files = 500, 400, 500
	fs := newGenFS(false)
	w := newWorldConfig(t, vfs.Config{Root: fs, MaxDentries: limit})
	var before, after runtime.MemStats
	for d := range dirs {
		for f := range files {
			w.ok(w.stat(fmt.Sprintf("/d%d/da/db/f%d", d, f)), "stat")
		}
		w.fails(unix.ENOENT, w.stat(fmt.Sprintf("/x%d", d)), "stat of a missing file")
		require.LessOrEqual(t, fs.cached(), limit+64, "inodes in use")
		if d == dirs/10 {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, after.HeapAlloc, before.HeapAlloc+1<<20, "memory stays flat")
	require.Greater(t, fs.evicted.Load(), int64(dirs*files-limit), "evicted")
}

// What is in use is not evicted, nor are its parents.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	fs := newGenFS(false)
	w := newWorldConfig(t, vfs.Config{Root: fs, MaxDentries: 3})
	p, err := w.v.Walk(w.ctx, cwd, "/d1/d2/f", 0)
	w.ok(err, "walk")
	for i := range 1000 {
		w.ok(w.stat(fmt.Sprintf("/d/f%d", i)), "stat")
	}
	lookups := 0
	fs.onLook = func(string) { lookups++ }
	q, err := w.v.Walk(w.ctx, cwd, "/d1/d2/f", 0)
	w.ok(err, "walk")
	require.Zero(t, lookups, "all of the path is cached")
	require.True(t, p.Equal(q))
	require.True(t, p.Inode() == q.Inode())
	p.Put()
	q.Put()
}

// A second walk of the same path asks the driver nothing, also if the file is missing.
func TestCacheHits(t *testing.T) {
	fs := newGenFS(false)
	w := newWorldConfig(t, vfs.Config{Root: fs})
	lookups := 0
	fs.onLook = func(string) { lookups++ }
	for range 3 {
		w.ok(w.stat("/d1/d2/f"), "stat")
		w.fails(unix.ENOENT, w.stat("/d1/missing"), "stat")
	}
	require.Equal(t, 4, lookups)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p, err := w.v.Walk(w.ctx, cwd, "/d1/d2/../d2/./f", vfs.WalkFollow)
		if err != nil {
			t.Fatal(err)
		}
		p.Put()
		if w.stat("/d1/d2/f") != nil || w.stat("/d1/missing") == nil {
			t.Fatal("stat")
		}
	}), "allocations of cached walks")
}

// Walks race with evictions; each finds what it looks for. The driver panics if it is asked about
// evicted directories.
func TestCacheEvictionRace(t *testing.T) {
	fs := newGenFS(false)
	w := newWorldConfig(t, vfs.Config{Root: fs, MaxDentries: 2})
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				path := fmt.Sprintf("/d%d/d%d/d/../d/f%d", (i+g)%2, i%3, i%2)
				p, err := w.v.Walk(w.ctx, cwd, path, 0)
				if err == nil {
					err = w.stat(path)
					p.Put()
				}
				if err != nil {
					errs <- fmt.Errorf("%s: %w", path, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		w.ok(err, "walk")
	}
}

// Entries of directories that change behind the VFS are asked for again at each use.
func TestRevalidate(t *testing.T) {
	fs := newGenFS(true)
	w := newWorldConfig(t, vfs.Config{Root: fs})
	lookups := 0
	fs.onLook = func(string) { lookups++ }
	w.ok(w.stat("/d/f"), "stat")
	require.Equal(t, 2, lookups)
	w.ok(w.stat("/d/f"), "stat")
	require.EqualValues(t, 1, fs.checked.Load())
	require.Equal(t, 2, lookups)

	old, err := w.v.Walk(w.ctx, cwd, "/d/f", 0)
	w.ok(err, "walk")
	fs.stale.Store(true)
	w.ok(w.stat("/d/f"), "stat")
	require.Equal(t, 4, lookups, "looked up again")
	hidden := "live/d"
	fs.hide.Store(&hidden)
	w.fails(unix.ENOENT, w.stat("/d/f"), "stat of what has gone")
	fs.hide.Store(nil)
	w.ok(w.stat("/d/f"), "absent names are not remembered")
	_, err = vfs.Getattr(w.ctx, old, unix.STATX_BASIC_STATS)
	w.ok(err, "what is in use stays usable")
	old.Put()

	// What leads to a mount stays, whatever happens below.
	fs.stale.Store(false)
	w.ok(w.mount("/d/d", 0), "mount")
	w.touch("/d/d/inside")
	fs.stale.Store(true)
	fs.hide.Store(&hidden)
	w.ok(w.stat("/d/d/inside"), "stat in the mount")
	w.ok(w.umount("/d/d", 0), "umount")
	w.fails(unix.ENOENT, w.stat("/d"), "stat")
}

// What is cached below a directory that has gone behind the VFS is evicted before the file system closes.
func TestRevalidateOrphans(t *testing.T) {
	fs := newGenFS(true)
	typ := testType{name: "gen", mount: func(vfs.MountRequest) (vfs.FileSystem, error) { return fs, nil }}
	w := newWorldConfig(t, vfs.Config{Types: []vfs.FileSystemType{typ}}, "/m")
	w.ok(w.v.Mount(w.ctx, "", "/m", "gen", 0, ""), "mount")
	p, err := w.v.Walk(w.ctx, cwd, "/m/d/d", 0)
	w.ok(err, "walk")
	fs.stale.Store(true)
	w.ok(w.stat("/m/d"), "stat")
	q, err := w.v.Walk(w.ctx, p, "d/f", 0)
	w.ok(err, "walk below what is stale")
	q.Put()
	p.Put()
	require.Greater(t, fs.cached(), 2)
	w.ok(w.umount("/m", 0), "umount")
	require.Zero(t, fs.cached(), "inodes after closing")
	w.ok(w.ns.Sync(w.ctx), "sync")
}

// A driver call that hangs holds up nobody who does not need that directory.
func TestBlockedDriver(t *testing.T) {
	fs := newGenFS(false)
	typ := testType{name: "gen", mount: func(vfs.MountRequest) (vfs.FileSystem, error) { return fs, nil }}
	w := newWorldConfig(t, vfs.Config{Types: []vfs.FileSystemType{typ}, MaxDentries: 1}, "/m", "/n")
	w.ok(w.v.Mount(w.ctx, "", "/m", "gen", 0, ""), "mount")
	w.ok(w.stat("/m/d/f"), "stat")
	entered, proceed := make(chan struct{}), make(chan struct{})
	fs.onLook = func(path string) {
		if path == "/d/fblocked" {
			close(entered)
			<-proceed
		}
	}
	done := make(chan error)
	go func() { done <- w.stat("/m/d/fblocked") }()
	<-entered
	for i := range 100 {
		w.ok(w.stat(fmt.Sprintf("/m/f%d", i)), "stat in another directory")
	}
	w.ok(w.mount("/n", 0), "mount")
	w.touch("/n/f")
	w.ok(w.umount("/n", 0), "umount")
	w.ok(w.ns.Sync(w.ctx), "sync")
	w.fails(unix.EBUSY, w.umount("/m", 0), "umount of what hangs")
	w.ok(w.umount("/m", unix.MNT_DETACH), "umount MNT_DETACH of what hangs")
	w.fails(unix.ENOENT, w.stat("/m/d"), "stat")
	close(proceed)
	w.ok(<-done, "stat")
	require.Zero(t, fs.cached(), "all inodes are evicted")
}

func TestInodePins(t *testing.T) {
	fs := newGenFS(false)
	i, err := fs.root.Lookup(t.Context(), "f")
	require.NoError(t, err)
	f := i.(*genFile)
	f.Pin()
	require.True(t, f.TryPin())
	for range 3 {
		require.Zero(t, fs.evicted.Load())
		require.NoError(t, vfs.UnpinInode(t.Context(), f))
	}
	require.EqualValues(t, 1, fs.evicted.Load())
	require.False(t, f.TryPin(), "an evicted inode is not pinned again")
	require.Panics(t, func() { f.Pin() })
	require.Panics(t, func() { _ = vfs.UnpinInode(t.Context(), f) })
}
