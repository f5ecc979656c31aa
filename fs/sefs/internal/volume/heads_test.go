package volume_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// change applies fn to the content of a file of the volume.
func change(t *testing.T, st store.Store, name string, fn func(b []byte)) {
	t.Helper()
	f, err := st.Open(name, volume.ReadWrite)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1<<20)
	n, err := f.ReadAt(b, 0)
	require.NoError(t, err)
	fn(b[:n])
	require.NoError(t, f.WriteAt(b[:n], 0))
}

func headSlot(b []byte, i int) []byte {
	return b[i*format.HeadStride : i*format.HeadStride+format.HeadSize]
}

// putAndClose makes item n in a checkpoint of its own.
func putAndClose(t *testing.T, mem *store.Memory, n uint64) {
	t.Helper()
	v := open(t, mem, config())
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(n), []byte("value"))) })
	closeVolume(t, v)
}

// TestDamagedHeadSlot shows that damage to one copy of the head does not bring
// back an older checkpoint, and damage to both is noticed.
func TestDamagedHeadSlot(t *testing.T) {
	for _, slots := range [][]int{{0}, {1}, {0, 1}} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			mem := store.NewMemory()
			makeVolume(t, mem)
			putAndClose(t, mem, 1)
			putAndClose(t, mem, 2)
			change(t, mem, "heads", func(b []byte) {
				for _, i := range slots {
					headSlot(b, i)[100] ^= 1
				}
			})
			v, err := volume.Open(t.Context(), mem, config())
			if len(slots) == 2 {
				require.ErrorIs(t, err, unix.EIO)
				return
			}
			require.NoError(t, err)
			defer v.Abandon()
			for n := range uint64(2) {
				_, err := v.Get(inodeKey(n+1), nil)
				require.NoError(t, err, "item %d", n+1)
			}
			change(t, mem, "heads", func(b []byte) {
				require.Equal(t, headSlot(b, 0), headSlot(b, 1), "a mount for writing makes the slots equal")
			})
		})
	}
}

// TestCrashBetweenHeadSlots shows that after a crash between the two writes the
// newer head counts, and is in both slots before a slot is written again.
func TestCrashBetweenHeadSlots(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	putAndClose(t, mem, 1)
	var old []byte
	change(t, mem, "heads", func(b []byte) { old = append(old, headSlot(b, 1)...) })
	putAndClose(t, mem, 2)
	change(t, mem, "heads", func(b []byte) { copy(headSlot(b, 1), old) })

	cfg := config()
	cfg.Access = volume.ReadOnly
	v := open(t, mem, cfg)
	_, err := v.Get(inodeKey(2), nil)
	require.NoError(t, err, "read-only")
	v.Abandon()
	change(t, mem, "heads", func(b []byte) { require.Equal(t, old, headSlot(b, 1), "a reader writes nothing") })

	v = open(t, mem, config())
	_, err = v.Get(inodeKey(2), nil)
	require.NoError(t, err)
	change(t, mem, "heads", func(b []byte) { require.Equal(t, headSlot(b, 0), headSlot(b, 1)) })
}

// TestChangedRecord shows that a changed record in the middle of the journal is an
// error; only a torn last one is what a crash leaves.
func TestChangedRecord(t *testing.T) {
	for _, tc := range []struct {
		record int
		want   error
	}{{0, unix.EIO}, {1, unix.EIO}, {2, nil}} {
		t.Run(fmt.Sprint(tc.record), func(t *testing.T) {
			mem, v := newVolume(t)
			for n := range uint64(3) {
				tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(n), []byte("value"))) })
				commit(t, v)
			}
			v.Abandon()
			change(t, mem, "journal", func(b []byte) {
				off := 0
				for range tc.record {
					p, ok := format.GetRecordPlain(b[off:])
					require.True(t, ok)
					off += int(p.Bytes)
				}
				b[off+format.RecordHeader] ^= 1
			})
			v, err := volume.Open(t.Context(), mem, config())
			require.ErrorIs(t, err, tc.want)
			if err == nil {
				defer v.Abandon()
				_, err = v.Get(inodeKey(1), nil)
				require.NoError(t, err)
				_, err = v.Get(inodeKey(2), nil)
				require.ErrorIs(t, err, unix.ENOENT, "the last record was torn")
			}
		})
	}
}
