package store_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
)

// stores are all kinds of Store, each empty.
func stores(t *testing.T) map[string]store.Store {
	t.Helper()
	host, err := store.OpenHost(t.TempDir(), store.ReadWrite)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return map[string]store.Store{
		"host":     host,
		"memory":   store.NewMemory(),
		"counter":  store.NewCounter(store.NewMemory()),
		"recorder": store.NewRecorder(store.NewMemory()),
		"faulty":   store.NewFaulty(store.NewMemory(), func(int, store.Call) store.Fault { return store.Fault{} }),
	}
}

func TestStore(t *testing.T) {
	for name, st := range stores(t) {
		t.Run(name, func(t *testing.T) {
			empty, err := st.Empty()
			require.NoError(t, err)
			require.True(t, empty)
			_, err = st.Open("a", store.ReadOnly)
			require.ErrorIs(t, err, unix.ENOENT, "Open of nothing")
			_, err = st.Create("d/a")
			require.ErrorIs(t, err, unix.ENOENT, "Create in nothing")
			require.ErrorIs(t, st.Unlink("a"), unix.ENOENT, "Unlink of nothing")
			require.ErrorIs(t, st.Rename("a", "b"), unix.ENOENT, "Rename of nothing")

			require.NoError(t, st.Mkdir("d"))
			require.ErrorIs(t, st.Mkdir("d"), unix.EEXIST)
			f, err := st.Create("d/a")
			require.NoError(t, err)
			big := bytes.Repeat([]byte("0123456789"), 300_000)
			require.NoError(t, f.WriteAt(big, 5))
			require.NoError(t, f.WriteAt([]byte("XY"), 0))
			require.NoError(t, f.Sync())
			got := make([]byte, len(big)+100)
			n, err := f.ReadAt(got, 0)
			require.NoError(t, err)
			require.Equal(t, len(big)+5, n, "a read ends where the file ends")
			require.Equal(t, append([]byte("XY\x00\x00\x00"), big...), got[:n])
			n, err = f.ReadAt(got, 1<<40)
			require.NoError(t, err)
			require.Zero(t, n, "behind the end")
			require.NoError(t, f.Close())
			_, err = f.ReadAt(got, 0)
			require.ErrorIs(t, err, unix.EIO, "ReadAt of a closed file")

			require.ErrorIs(t, st.Unlink("d"), unix.ENOTEMPTY)
			require.NoError(t, st.Rename("d/a", "b"))
			require.NoError(t, st.SyncDir())
			r, err := st.Open("b", store.ReadOnly)
			require.NoError(t, err)
			require.ErrorIs(t, r.WriteAt([]byte("x"), 0), unix.EIO, "write to a file opened for reading")
			empty, err = st.Empty()
			require.NoError(t, err)
			require.False(t, empty)
			f, err = st.Create("b")
			require.NoError(t, err)
			n, err = f.ReadAt(got, 0)
			require.NoError(t, err)
			require.Zero(t, n, "Create empties the file")
			require.NoError(t, st.Close())
			require.Error(t, f.Sync(), "Sync after Close of the store")
			require.NoError(t, st.Unlink("b"))
			require.NoError(t, st.Unlink("d"))
		})
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	open := func(access store.Access) *store.Host {
		h, err := store.OpenHost(dir, access)
		require.NoError(t, err)
		t.Cleanup(func() { h.Close() })
		return h
	}
	a, b, ro, ro2 := open(store.ReadWrite), open(store.ReadWrite), open(store.ReadOnly), open(store.ReadOnly)
	_, err := ro.Lock(store.ReadOnly)
	require.ErrorIs(t, err, unix.ENOENT, "a reader makes no lock file")
	lock, err := a.Lock(store.ReadWrite)
	require.NoError(t, err)
	_, err = b.Lock(store.ReadWrite)
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, dir, "the error names the directory")
	require.NoError(t, lock.WriteAt(fmt.Appendf(nil, "%d\n", 4242), 0))
	_, err = ro.Lock(store.ReadOnly)
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, "process 4242")
	require.NoError(t, lock.WriteAt([]byte("../../etc/passwd"), 0))
	_, err = ro.Lock(store.ReadOnly)
	require.NotContains(t, err.Error(), "passwd", "what is no process number is not repeated")
	require.NoError(t, lock.Close())

	_, err = ro.Lock(store.ReadOnly)
	require.NoError(t, err)
	_, err = ro2.Lock(store.ReadOnly)
	require.NoError(t, err, "readers share")
	_, err = a.Lock(store.ReadWrite)
	require.ErrorIs(t, err, unix.EBUSY)
	require.NoError(t, ro.Close())
	ro2.Cut()
	_, err = a.Lock(store.ReadWrite)
	require.NoError(t, err, "Close and Cut release the lock")
	a.Cut()
	_, err = b.Lock(store.ReadWrite)
	require.NoError(t, err)
}

func TestHostErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := store.OpenHost(filepath.Join(dir, "none"), store.ReadWrite)
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = store.OpenHost(filepath.Join(dir, "file"), store.ReadWrite)
	require.ErrorIs(t, err, unix.ENOTDIR)

	ro, err := store.OpenHost(dir, store.ReadOnly)
	require.NoError(t, err)
	_, err = ro.Create("new")
	require.ErrorIs(t, err, unix.EROFS, "Create in a read-only store")
	require.ErrorIs(t, ro.Unlink("file"), unix.EROFS)
	require.ErrorIs(t, ro.Mkdir("d"), unix.EROFS)
	_, err = ro.Open("file", store.ReadWrite)
	require.ErrorIs(t, err, unix.EROFS)

	require.NoError(t, os.Symlink("file", filepath.Join(dir, "link")))
	_, err = ro.Open("link", store.ReadOnly)
	require.ErrorIs(t, err, unix.ELOOP, "links of the host are not followed")
}

func TestCut(t *testing.T) {
	dir := t.TempDir()
	h, err := store.OpenHost(dir, store.ReadWrite)
	require.NoError(t, err)
	f, err := h.Create("a")
	require.NoError(t, err)
	require.NoError(t, f.WriteAt([]byte("before"), 0))
	h.Cut()
	require.ErrorIs(t, f.WriteAt([]byte("after!"), 0), unix.EIO)
	require.ErrorIs(t, f.Sync(), unix.EIO)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, unix.EIO)
	require.ErrorIs(t, h.Unlink("a"), unix.EIO)
	_, err = h.Create("b")
	require.ErrorIs(t, err, unix.EIO)
	_, err = h.Lock(store.ReadWrite)
	require.ErrorIs(t, err, unix.EIO)
	got, err := os.ReadFile(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
}

func TestCounter(t *testing.T) {
	c := store.NewCounter(store.NewMemory())
	f, err := c.Create("a")
	require.NoError(t, err)
	before := c.Counts()
	require.NoError(t, f.WriteAt(make([]byte, 100), 0))
	require.NoError(t, f.WriteAt(make([]byte, 50), 0))
	require.NoError(t, f.Sync())
	n, err := f.ReadAt(make([]byte, 500), 0)
	require.NoError(t, err)
	require.Equal(t, 100, n)
	did := c.Counts().Sub(before)
	require.Equal(t, int64(2), did.Of(store.KindWrite))
	require.Equal(t, int64(1), did.Of(store.KindSync))
	require.Equal(t, int64(1), did.Of(store.KindRead))
	require.Equal(t, int64(4), did.Total())
	require.Equal(t, int64(150), did.BytesWritten)
	require.Equal(t, int64(100), did.BytesRead)
}

// TestRecorder checks what each fate does to calls that were not synced.
func TestRecorder(t *testing.T) {
	r := store.NewRecorder(store.NewMemory())
	a, err := r.Create("a")
	require.NoError(t, err)
	require.NoError(t, a.WriteAt(bytes.Repeat([]byte("1"), 1024), 0))
	require.NoError(t, a.Sync())
	require.NoError(t, a.WriteAt(bytes.Repeat([]byte("2"), 1024), 0))
	b, err := r.Create("b")
	require.NoError(t, err)
	require.NoError(t, b.WriteAt([]byte("b"), 0))
	require.NoError(t, r.Unlink("a"))
	require.Equal(t, 7, r.Len())

	require.Empty(t, r.Crash(0, nil).Names())
	kept := r.Crash(6, nil)
	require.Equal(t, []string{"a", "b"}, kept.Names())
	require.Equal(t, byte('2'), kept.Bytes("a")[0])
	lose := func(int, store.Call) store.Fate { return store.Lost }
	lost := r.Crash(7, lose)
	require.Equal(t, []string{"a"}, lost.Names(), "name and unlink lost")
	require.Equal(t, bytes.Repeat([]byte("1"), 1024), lost.Bytes("a"), "the synced write stays")
	torn := r.Crash(6, func(int, store.Call) store.Fate { return store.Torn }).Bytes("a")
	require.Equal(t, byte('2'), torn[511])
	require.Equal(t, byte('1'), torn[512])
	require.Empty(t, r.Crash(1, lose).Names())
	require.Equal(t, []string{"a"}, r.Crash(3, lose).Names(), "sync makes the name durable")
}

func TestFaulty(t *testing.T) {
	mem := store.NewMemory()
	f := store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
		if c.Kind == store.KindWrite && c.Off == 10 {
			return store.Fault{Errno: unix.ENOSPC, Part: 2}
		}
		return store.Fault{}
	})
	a, err := f.Create("a")
	require.NoError(t, err)
	require.NoError(t, a.WriteAt([]byte("0123456789"), 0))
	require.ErrorIs(t, a.WriteAt([]byte("abc"), 10), unix.ENOSPC)
	require.Equal(t, "0123456789ab", string(mem.Bytes("a")))
	require.Equal(t, 3, f.Calls())
}

// TestCrashes lists all that crashes of a few calls may leave.
func TestCrashes(t *testing.T) {
	r := store.NewRecorder(store.NewMemory())
	write := func(f store.File, b byte, off int64) {
		require.NoError(t, f.WriteAt(bytes.Repeat([]byte{b}, 512), off))
	}
	a, err := r.Create("a")
	require.NoError(t, err)
	write(a, '1', 0)
	require.NoError(t, a.Sync())
	require.NoError(t, a.WriteAt(append(bytes.Repeat([]byte("2"), 512), bytes.Repeat([]byte("3"), 512)...), 0))
	require.NoError(t, r.Mkdir("d"))
	b, err := r.Create("d/b")
	require.NoError(t, err)
	write(b, '4', 0)
	require.NoError(t, b.Sync())
	require.NoError(t, r.Rename("a", "c"))
	require.NoError(t, r.SyncDir())
	require.NoError(t, r.Unlink("d/b"))

	got := make(map[string]int)
	images := 0
	for img := range r.Crashes(store.CrashConfig{Rand: rand.New(rand.NewPCG(1, 1)), Each: 60}) {
		var text string
		for _, name := range img.Memory.Names() {
			text += " " + name + "="
			data := img.Memory.Bytes(name)
			for i := 0; i < len(data); i += 512 {
				text += string(max('.', data[i]))
			}
		}
		images++
		got[strings.TrimSpace(text)]++
	}
	want := []string{
		"", "a=", "a=1", "a=2", "a=13", "a=23", // the first write may be lost until it is synced
		"a=1 d/b=", "a=2 d/b=", "a=13 d/b=", "a=23 d/b=",
		"a=1 d/b=4", "a=2 d/b=4", "a=13 d/b=4", "a=23 d/b=4",
		"c=1 d/b=4", "c=2 d/b=4", "c=13 d/b=4", "c=23 d/b=4",
		"c=1", "c=2", "c=13", "c=23",
	}
	require.ElementsMatch(t, want, slices.Collect(maps.Keys(got)))
	require.Equal(t, len(want)+4, images, "and four of them with a directory that is empty, or without it")
}

// TestFork writes to a fork, which reads as a copy would and leaves the original alone.
func TestFork(t *testing.T) {
	mem := store.NewMemory()
	mem.SetBytes("f", bytes.Repeat([]byte("base"), 5000))
	rec := store.NewRecorder(mem)
	f, err := rec.Open("f", store.ReadWrite)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		p := make([]byte, 1+r.IntN(9000))
		for i := range p {
			p[i] = byte(r.IntN(3))
		}
		require.NoError(t, f.WriteAt(p, r.Int64N(40_000)))
	}
	before := bytes.Clone(rec.Crash(0, nil).Bytes("f"))
	for img := range rec.Crashes(store.CrashConfig{Rand: r, Each: 1}) { // everything kept
		want := rec.Crash(img.Calls, nil)
		h, err := img.Memory.Open("f", store.ReadOnly)
		require.NoError(t, err)
		wh, err := want.Open("f", store.ReadOnly)
		require.NoError(t, err)
		for range 20 {
			p, q, off := make([]byte, 1+r.IntN(20_000)), make([]byte, 20_001), r.Int64N(50_000)
			n, err := h.ReadAt(p, off)
			require.NoError(t, err)
			m, err := wh.ReadAt(q[:len(p)], off)
			require.NoError(t, err)
			require.Equal(t, m, n, "length at %d after %d calls", off, img.Calls)
			require.True(t, bytes.Equal(q[:n], p[:n]), "content at %d after %d calls", off, img.Calls)
		}
		require.True(t, bytes.Equal(bytes.TrimRight(want.Bytes("f"), "\x00"), bytes.TrimRight(img.Memory.Clone().Bytes("f"), "\x00")))
	}
	require.Equal(t, before, rec.Crash(0, nil).Bytes("f"), "the original")
}
