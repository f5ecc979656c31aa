package volume_test

import (
	"bytes"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// twoProcessors makes the volumes that the test opens write and read in the background.
func twoProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func isData(c store.Call) bool {
	return c.Kind == store.KindWrite && strings.HasPrefix(c.Name, "seg/") && len(c.Data) == 1<<20
}

// TestReadOfWhatIsBeingWritten holds up the host's writes: what a file holds does not
// depend on them.
func TestReadOfWhatIsBeingWritten(t *testing.T) {
	twoProcessors(t)
	mem := store.NewMemory()
	makeVolume(t, mem)
	var host sync.Mutex
	v := open(t, store.NewFaulty(mem, func(_ int, c store.Call) store.Fault {
		if isData(c) {
			host.Lock()
			defer host.Unlock()
		}
		return store.Fault{}
	}), config())
	f := v.File(10, 0)
	want := pattern(3, 4<<20)
	write := func(from, to int) {
		tx(t, v, func(tx *volume.Tx) {
			require.NoError(t, f.WriteAt(t.Context(), tx, want[from:to], int64(from)), "WriteAt")
		})
	}
	read := func(off, n int) {
		got := make([]byte, n)
		require.NoError(t, f.ReadAt(t.Context(), got, int64(off)), "ReadAt")
		require.True(t, bytes.Equal(want[off:off+n], got), "%d bytes at %d", n, off)
	}
	write(0, 2<<20)
	commit(t, v)
	host.Lock()
	write(2<<20, 3<<20)
	read(2<<20, 1<<20)
	read(5<<18, 3<<19-100) // some on the host, some on its way there
	read(9<<18+77, 5000)
	copy(want[2<<20:], pattern(4, 1<<20))
	write(2<<20, 3<<20) // again, before the first one is there
	read(1<<20+1, 2<<20-1)
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Punch(tx, 2<<20+8192, 4096)) })
	clear(want[2<<20+8192:][:4096])
	read(2<<20, 1<<20)
	host.Unlock()
	commit(t, v)
	read(0, 3<<20)
	v.Abandon()
	v = open(t, mem, config())
	f = v.File(10, f.Blocks())
	read(0, 3<<20)
	require.NoError(t, volume.Verify(v))
}

// TestRefusedWrites lets the host refuse what is written in the background: reads go
// on, commits say so until there is room, and nothing is lost.
func TestRefusedWrites(t *testing.T) {
	twoProcessors(t)
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EIO} {
		t.Run(errno.Error(), func(t *testing.T) {
			mem := store.NewMemory()
			makeVolume(t, mem)
			var full atomic.Bool
			v := open(t, store.NewFaulty(mem, func(_ int, c store.Call) store.Fault {
				if full.Load() && isData(c) {
					return store.Fault{Errno: errno, Part: 4096}
				}
				return store.Fault{}
			}), config())
			f := v.File(10, 0)
			want := pattern(3, 8<<20)
			full.Store(true)
			done := 0
			var err error
			for err == nil && done < len(want) {
				tx(t, v, func(tx *volume.Tx) { err = f.WriteAt(t.Context(), tx, want[done:done+1<<20], int64(done)) })
				if err == nil {
					done += 1 << 20
				}
			}
			require.ErrorIs(t, err, errno, "writing more than may be on its way")
			require.LessOrEqual(t, done, 5<<20, "bytes on their way")
			for range 2 {
				require.ErrorIs(t, v.Commit(t.Context()), errno)
				got := make([]byte, done)
				require.NoError(t, f.ReadAt(t.Context(), got, 0), "ReadAt")
				require.True(t, bytes.Equal(want[:done], got), "content of what was accepted")
			}
			full.Store(false)
			commit(t, v)
			v.Abandon()
			v = open(t, mem, config())
			got := make([]byte, done)
			require.NoError(t, v.File(10, f.Blocks()).ReadAt(t.Context(), got, 0), "ReadAt")
			require.True(t, bytes.Equal(want[:done], got), "content after a kill")
			require.NoError(t, volume.Verify(v))
		})
	}
}

// TestFetch reads a file in order while it changes in front of the reader, whose
// blocks are fetched in advance.
func TestFetch(t *testing.T) {
	twoProcessors(t)
	mem := store.NewMemory()
	makeVolume(t, mem)
	c := store.NewCounter(mem)
	v := open(t, c, config())
	const size = 24 << 20
	f := v.File(10, writeFile(t, v, 10, size, 1<<20))
	f.SetSize(size)
	commit(t, v)
	want := bytes.Repeat(pattern(10, 1<<20), size>>20)
	got := make([]byte, 1<<20)
	read := func(off int) {
		require.NoError(t, f.ReadAt(t.Context(), got, int64(off)), "ReadAt")
		require.True(t, bytes.Equal(want[off:off+1<<20], got), "content at %d", off)
	}
	before := c.Counts()
	for off := 0; off < size; off += 1 << 20 {
		read(off)
	}
	calls := c.Counts().Sub(before).Of(store.KindRead)
	require.LessOrEqual(t, calls, int64(size>>20+4), "calls: nothing is read twice, or behind the end")

	for off := 0; off < size; off += 1 << 20 {
		read(off)
		next := off + 1<<20
		if next == size {
			break
		}
		switch off >> 20 % 4 {
		case 1:
			copy(want[next:], pattern(off, 1<<20))
			tx(t, v, func(tx *volume.Tx) {
				require.NoError(t, f.WriteAt(t.Context(), tx, want[next:next+1<<20], int64(next)))
			})
		case 2:
			copy(want[next+5000:], pattern(off, 100))
			tx(t, v, func(tx *volume.Tx) {
				require.NoError(t, f.WriteAt(t.Context(), tx, want[next+5000:next+5100], int64(next+5000)))
			})
			if off>>20%8 == 2 {
				require.NoError(t, volume.Verify(v), "write the page back")
			}
		case 3:
			clear(want[next+8192:][:40960])
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Punch(tx, int64(next+8192), 40960)) })
		}
	}
}

// TestFetchOfManyFiles reads more files in turns than are fetched at a time: nothing is mixed up, and what is fetched
// in vain is forgotten.
func TestFetchOfManyFiles(t *testing.T) {
	twoProcessors(t)
	mem := store.NewMemory()
	makeVolume(t, mem)
	v := open(t, mem, config())
	const files, size = 7, 6 << 20
	var of [files]*volume.File
	for n := range of {
		of[n] = v.File(uint64(10+n), writeFile(t, v, uint64(10+n), size, 1<<20))
		of[n].SetSize(size)
	}
	commit(t, v)
	got := make([]byte, 1<<20)
	for off := int64(0); off < size; off += 1 << 20 {
		for n, f := range of {
			if off>>20 == 4 && n%2 == 0 {
				continue // these readers stop before the end
			}
			require.NoError(t, f.ReadAt(t.Context(), got, off), "file %d at %d", n, off)
			require.True(t, bytes.Equal(pattern(10+n, 1<<20), got), "file %d at %d", n, off)
		}
	}
	v.Abandon()
}
