package sefs_test

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// long reports whether the long runs are asked for (make crash).
func long() bool { return os.Getenv("CLOISTER_CRASH") == "full" }

// TestCrashAtEveryCall records the host calls of a piece of work, and mounts
// what a crash after each of them may leave: the tree must be that of some
// moment between two operations, not before the last sync that returned and not
// after the last one that had begun.
func TestCrashAtEveryCall(t *testing.T) {
	seeds, each := 12, 8
	switch {
	case long():
		seeds, each = 240, 150
	case raceDetector:
		seeds, each = 3, 2
	}
	images, start := make([]int, seeds), time.Now()
	t.Run("seeds", func(t *testing.T) {
		for seed := range seeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				images[seed] = crashAtEveryCall(t, uint64(seed), each)
				t.Logf("%d images", images[seed])
			})
		}
	})
	total := 0
	for _, n := range images {
		total += n
	}
	t.Logf("%d different crash images of %d workloads in %v", total, seeds, time.Since(start).Round(time.Second))
}

// crashWork is work on an image and the history of its tree.
type crashWork struct {
	x       *tree
	rec     *store.Recorder
	r       *rand.Rand
	moments []uint64 // digests of the tree after each operation
	syncs   []syncPoint
	pinned  []vfs.Inode
}

// syncPoint says that a call which made moment durable began and ended when the
// recorder had seen from and to calls.
type syncPoint struct{ from, to, moment int }

var treeSeed = maphash.MakeSeed()

func treeDigest(dump map[string]string) uint64 {
	var h maphash.Hash
	h.SetSeed(treeSeed)
	for _, name := range slices.Sorted(maps.Keys(dump)) {
		fmt.Fprintf(&h, "%q %q\n", name, dump[name])
	}
	return h.Sum64()
}

func (w *crashWork) moment() { w.moments = append(w.moments, treeDigest(w.x.dump())) }

func (w *crashWork) durable(fn func() error) {
	s := syncPoint{from: w.rec.Len(), moment: len(w.moments) - 1}
	require.NoError(w.x.t, fn())
	s.to = w.rec.Len()
	w.syncs = append(w.syncs, s)
}

func (w *crashWork) close() {
	for _, i := range w.pinned {
		w.x.put(i)
	}
	w.pinned = nil
	w.durable(func() error { return w.x.fs.Close(context.Background(), vfs.SafeClose) })
}

func (w *crashWork) dir() string  { return fmt.Sprint("d", w.r.IntN(3)) }
func (w *crashWork) path() string { return fmt.Sprint("d", w.r.IntN(3), "/f", w.r.IntN(6)) }

// operate does something; that it may fail is part of the game.
func (w *crashWork) operate() {
	x, r, p := w.x, w.r, w.path()
	switch r.IntN(16) {
	case 0, 1:
		_ = x.create(w.dir(), unix.S_IFDIR|0o755, "")
	case 2, 3:
		_ = x.create(p, 0o644, strings.Repeat(p, r.IntN(2000)))
	case 4:
		size := 1 + r.IntN(20000)
		if r.IntN(4) == 0 {
			size *= 20 // more than a journal record takes inline
		}
		_ = x.write(p, strings.Repeat("w", size), int64(r.IntN(9000)))
	case 5:
		_ = x.rename(p, "d0/f6", 0)
		_ = x.rename("d0/f6", w.path(), []uint32{0, 0, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT}[r.IntN(4)])
	case 6:
		_ = x.link(p, fmt.Sprint(w.dir(), "/l", r.IntN(6)))
	case 7:
		_ = x.whiteout(p)
	case 8:
		_ = x.unlink(p)
	case 9:
		_ = w.xattrs(p, func(a vfs.Xattrs, name string) error {
			return a.Setxattr(context.Background(), name, make([]byte, r.IntN(6000)), 0)
		})
	case 10:
		_ = w.xattrs(p, func(a vfs.Xattrs, name string) error { return a.Removexattr(context.Background(), name) })
	case 11:
		_ = x.on(p, func(i vfs.Inode) error {
			return i.Setattr(context.Background(), vfs.SetAttr{Mask: unix.STATX_SIZE, Size: int64(r.IntN(30_000))})
		})
	case 12:
		mode := []uint32{unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE}[r.IntN(3)]
		_ = x.on(p, func(i vfs.Inode) error {
			f, ok := i.(vfs.Regular)
			if !ok {
				return unix.EINVAL
			}
			h, err := f.Open(context.Background(), unix.O_RDWR)
			if err != nil {
				return err
			}
			return h.Fallocate(context.Background(), mode, int64(r.IntN(3))*4096, int64(1+r.IntN(3))*4096)
		})
	case 13:
		_ = x.create(p, unix.S_IFLNK|0o777, strings.Repeat("t", 1+r.IntN(4000)))
	case 14: // a file that stays open and loses its name
		if i, err := x.get(p); err == nil {
			w.pinned = append(w.pinned, i)
			_ = x.unlink(p)
			_ = writeTo(i, "without a name", 0)
		}
	case 15: // a directory with what it holds; the VFS would not let it move below itself
		_ = x.rename(w.dir(), "moved", 0)
		_ = x.rename("moved", w.dir(), 0)
	}
}

func (w *crashWork) xattrs(p string, fn func(a vfs.Xattrs, name string) error) error {
	return w.x.on(p, func(i vfs.Inode) error {
		a := i.Xattrs()
		if a == nil {
			return unix.ENOTSUP
		}
		return fn(a, fmt.Sprint("user.", w.r.IntN(3)))
	})
}

func crashAtEveryCall(t *testing.T, seed uint64, each int) (images int) {
	mem := store.NewMemory()
	w := &crashWork{x: &tree{t: t, cfg: onStore(t, mem)}, r: rand.New(rand.NewPCG(1, seed))}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: w.x.cfg})
	require.NoError(t, err)
	require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))
	w.rec = store.NewRecorder(mem)
	w.x.cfg = onStore(t, w.rec)
	w.x.open()
	w.moment()
	for n := range 150 {
		w.operate()
		w.moment()
		switch {
		case n%40 == 39:
			w.close()
			w.x.open()
		case w.r.IntN(4) == 0:
			w.durable(func() error { return w.x.fs.Sync(context.Background()) })
		}
	}
	w.close()
	for img := range w.rec.Crashes(store.CrashConfig{Rand: rand.New(rand.NewPCG(3, seed)), Each: each}) {
		images++
		w.check(t, img, images)
	}
	return images
}

// check mounts what a crash left.
func (w *crashWork) check(t *testing.T, img store.CrashImage, n int) {
	first, last := 0, 0
	for _, s := range w.syncs {
		if s.to <= img.Calls {
			first = s.moment
		}
		if s.from < img.Calls {
			last = s.moment
		}
	}
	y := &tree{t: t, cfg: onStore(t, img.Memory)}
	if n%4 == 0 {
		y.cfg.Access = sefs.ReadOnly
	}
	y.open()
	got := y.dump()
	if !slices.Contains(w.moments[first:max(first, last)+1], treeDigest(got)) {
		require.Fail(t, "the tree is that of no moment that may be seen", "crash after call %d, %s: %v", img.Calls, img.Fate, got)
	}
	if n%32 != 1 {
		y.fs.Abandon()
		return
	}
	// What open files without a name were is gone, and nothing else is amiss.
	require.NoError(t, y.fs.Close(t.Context(), vfs.SafeClose))
	r, err := sefs.Check(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, img.Memory), Depth: sefs.CheckTree})
	require.NoError(t, err)
	require.Empty(t, r.Problems, "crash after call %d, %s", img.Calls, img.Fate)
	require.Zero(t, r.Orphans)
}
