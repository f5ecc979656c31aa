package volume_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

func TestItemsSurvive(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, v *volume.Volume)
	}{
		{"close", func(t *testing.T, v *volume.Volume) { closeVolume(t, v) }},
		{"commit and kill", func(t *testing.T, v *volume.Volume) { commit(t, v); v.Abandon() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem, v := newVolume(t)
			const n = 5000
			tx(t, v, func(tx *volume.Tx) {
				for i := range n {
					require.NoError(t, tx.Put(inodeKey(uint64(i*7%n)), pattern(i*7%n, 20+i%100)), "Put")
				}
			})
			tx(t, v, func(tx *volume.Tx) {
				for i := 0; i < n; i += 3 {
					require.NoError(t, tx.Delete(inodeKey(uint64(i))), "Delete")
				}
			})
			tt.end(t, v)
			v = open(t, mem, config())
			for i := range n {
				got, err := v.Get(inodeKey(uint64(i)), nil)
				if i%3 == 0 {
					require.ErrorIs(t, err, unix.ENOENT, "Get %d", i)
					continue
				}
				require.NoError(t, err, "Get %d", i)
				require.Equal(t, pattern(i, len(got)), got, "Get %d", i)
			}
			closeVolume(t, v)
		})
	}
}

func TestUncommittedIsLost(t *testing.T) {
	mem, v := newVolume(t)
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("one"))) })
	commit(t, v)
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(2), []byte("two"))) })
	v.Abandon()
	v = open(t, mem, config())
	_, err := v.Get(inodeKey(1), nil)
	require.NoError(t, err, "committed item")
	_, err = v.Get(inodeKey(2), nil)
	require.ErrorIs(t, err, unix.ENOENT, "uncommitted item")
}

func TestFileData(t *testing.T) {
	sizes := []int{1, 100, 2048, 2049, 4095, 4096, 4097, 128 << 10, 1<<20 - 1, 1 << 20, 1<<20 + 5, 3<<20 + 77}
	for _, end := range []string{"cache", "close", "kill"} {
		t.Run(end, func(t *testing.T) {
			mem, v := newVolume(t)
			blocks := make([]int64, len(sizes))
			for i, size := range sizes {
				f := v.File(uint64(100+i), 0)
				tx(t, v, func(tx *volume.Tx) {
					require.NoError(t, f.WriteAt(t.Context(), tx, pattern(i, size), 0), "WriteAt %d", size)
					f.SetSize(int64(size))
				})
				blocks[i] = f.Blocks()
				require.Equal(t, int64((size+4095)/4096), blocks[i], "Blocks of %d bytes", size)
			}
			switch end {
			case "close":
				closeVolume(t, v)
				v = open(t, mem, config())
			case "kill":
				commit(t, v)
				v.Abandon()
				v = open(t, mem, config())
			}
			for i, size := range sizes {
				f := v.File(uint64(100+i), blocks[i])
				got := make([]byte, size+10000)
				require.NoError(t, f.ReadAt(t.Context(), got, 0), "ReadAt %d", size)
				require.Equal(t, pattern(i, size), got[:size], "data of %d bytes", size)
				require.Equal(t, make([]byte, 10000), got[size:], "behind %d bytes", size)
			}
			closeVolume(t, v)
		})
	}
}

func TestOpenErrors(t *testing.T) {
	mem, v := newVolume(t)
	t.Run("in use", func(t *testing.T) {
		_, err := mem.Lock(store.ReadWrite)
		require.ErrorIs(t, err, unix.EBUSY)
	})
	closeVolume(t, v)
	t.Run("wrong key", func(t *testing.T) {
		cfg := config()
		cfg.Unlock = func(volume.Slot) ([]byte, error) { return []byte("another key here"), nil }
		_, err := volume.Open(t.Context(), mem.Clone(), cfg)
		require.ErrorIs(t, err, unix.EACCES)
		require.ErrorContains(t, err, "wrong key")
	})
	t.Run("no volume", func(t *testing.T) {
		_, err := volume.Open(t.Context(), store.NewMemory(), config())
		require.ErrorIs(t, err, unix.EINVAL)
	})
	t.Run("not empty", func(t *testing.T) {
		err := volume.Make(t.Context(), mem.Clone(), volume.MakeConfig{Slot: testSlot, UserKey: testKey})
		require.ErrorIs(t, err, unix.EINVAL)
	})
	t.Run("read-only", func(t *testing.T) {
		cfg := config()
		cfg.Access = volume.ReadOnly
		ro := open(t, mem.Clone(), cfg)
		_, err := ro.Begin(t.Context())
		require.ErrorIs(t, err, unix.EROFS)
		require.NoError(t, ro.Commit(t.Context()), "nothing to commit")
	})
}

// TestHostDirectory uses a directory of the host, and kills the volume there.
func TestHostDirectory(t *testing.T) {
	dir := t.TempDir()
	host := func(access store.Access) *store.Host {
		h, err := store.OpenHost(dir, access)
		require.NoError(t, err, "OpenHost")
		return h
	}
	makeVolume(t, host(store.ReadWrite))
	h := host(store.ReadWrite)
	v := open(t, h, config())
	_, err := volume.Open(t.Context(), host(store.ReadWrite), config())
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, dir)
	f := v.File(10, 0)
	data := pattern(1, 3<<20)
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, data, 0)) })
	commit(t, v)
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, data[:5000], 100)) })
	h.Cut()
	require.ErrorIs(t, v.Commit(t.Context()), unix.EIO, "Commit of a killed process")
	v.Abandon()

	for _, access := range []volume.Access{volume.ReadOnly, volume.ReadWrite, volume.ReadOnly} {
		cfg := config()
		cfg.Access = access
		v = open(t, host(access), cfg)
		got := make([]byte, len(data))
		require.NoError(t, v.File(10, f.Blocks()).ReadAt(t.Context(), got, 0))
		require.Equal(t, data, got)
		closeVolume(t, v)
	}
}

func TestSparse(t *testing.T) {
	mem, v := newVolume(t)
	f := v.File(10, 0)
	const far = 1<<52 - 4096
	tx(t, v, func(tx *volume.Tx) {
		require.NoError(t, f.WriteAt(t.Context(), tx, []byte("near"), 5))
		require.NoError(t, f.WriteAt(t.Context(), tx, []byte("far"), far))
		require.ErrorIs(t, f.WriteAt(t.Context(), tx, []byte("x"), 1<<52), unix.EFBIG)
		require.ErrorIs(t, f.WriteAt(t.Context(), tx, []byte("x"), -1), unix.EINVAL)
	})
	for range 2 {
		require.Equal(t, int64(2), f.Blocks())
		for _, seek := range []struct{ from, data, hole int64 }{{0, 0, 4096}, {4096, far, 4096}, {far, far, 1 << 52}, {far + 1, far + 1, 1 << 52}} {
			got, err := f.SeekData(seek.from)
			require.NoError(t, err)
			require.Equal(t, seek.data, got, "SeekData %d", seek.from)
			got, err = f.SeekHole(seek.from)
			require.NoError(t, err)
			require.Equal(t, seek.hole, got, "SeekHole %d", seek.from)
		}
		got := make([]byte, 10)
		require.NoError(t, f.ReadAt(t.Context(), got, 1<<40))
		require.Equal(t, make([]byte, 10), got)
		require.NoError(t, f.ReadAt(t.Context(), got, far))
		require.Equal(t, "far\x00", string(got[:4]))
		closeVolume(t, v)
		v = open(t, mem, config())
		f = v.File(10, 2)
	}
	require.LessOrEqual(t, v.Stats().BlocksUsed, uint64(6), "holes take no blocks")
}
