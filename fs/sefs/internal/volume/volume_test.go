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
