package volume_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestCrashOfMake cuts the making of a volume at every call: there is a volume, or one can
// be made in its place.
func TestCrashOfMake(t *testing.T) {
	rec := store.NewRecorder(store.NewMemory())
	makeVolume(t, rec)
	made, again := 0, 0
	for img := range rec.Crashes(store.CrashConfig{Rand: rand.New(rand.NewPCG(1, 1)), Each: 40}) {
		mem := img.Memory
		_, err := volume.Peek(mem)
		vacant, vErr := volume.Vacant(mem)
		require.NoError(t, vErr)
		if err == nil {
			require.False(t, vacant, "crash after call %d, %s", img.Calls, img.Fate)
			made++
		} else {
			require.True(t, vacant, "crash after call %d, %s: %v", img.Calls, img.Fate, mem.Names())
			require.Less(t, img.Calls, rec.Len(), "a volume that was made is gone")
			makeVolume(t, mem)
			again++
		}
		v := openLoose(t, mem, config())
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("value"))) })
		closeVolume(t, v)
	}
	require.Positive(t, made)
	require.Greater(t, again, 10)
}

// TestVacant shows what is not taken for an unfinished volume: nothing of it is removed.
func TestVacant(t *testing.T) {
	used := func(t *testing.T, mem *store.Memory) {
		v := openLoose(t, mem, config())
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("value"))) })
		commit(t, v)
		v.Abandon()
	}
	for name, tt := range map[string]struct {
		change func(t *testing.T, mem *store.Memory)
		vacant bool
	}{
		"a volume":     {func(*testing.T, *store.Memory) {}, false},
		"no header":    {func(_ *testing.T, mem *store.Memory) { _ = mem.Unlink("SEFS") }, true},
		"another file": {func(_ *testing.T, mem *store.Memory) { _ = mem.Unlink("SEFS"); mem.SetBytes("notes", nil) }, false},
		"only another file": {func(_ *testing.T, mem *store.Memory) {
			for _, file := range mem.Names() {
				_ = mem.Unlink(file)
			}
			_ = mem.Unlink("seg")
			mem.SetBytes("notes", nil)
		}, false},
		"no header, commits":  {func(t *testing.T, mem *store.Memory) { used(t, mem); _ = mem.Unlink("SEFS") }, false},
		"no header, no heads": {func(t *testing.T, mem *store.Memory) { used(t, mem); _ = mem.Unlink("SEFS"); _ = mem.Unlink("heads") }, false},
		"no header, later heads": {func(t *testing.T, mem *store.Memory) {
			putAndCloseIn(t, mem)
			_ = mem.Unlink("SEFS")
			mem.SetBytes("journal", nil)
		}, false},
		"segments only": {func(t *testing.T, mem *store.Memory) {
			putAndCloseIn(t, mem)
			for _, name := range []string{"SEFS", "journal", "heads"} {
				_ = mem.Unlink(name)
			}
		}, true}, // as far as can be seen at the top; but see below
	} {
		t.Run(name, func(t *testing.T) {
			mem := store.NewMemory()
			makeVolume(t, mem)
			tt.change(t, mem)
			before := mem.Clone()
			vacant, err := volume.Vacant(mem)
			require.NoError(t, err)
			require.Equal(t, tt.vacant, vacant)
			err = volume.Make(t.Context(), mem, volume.MakeConfig{Slot: testSlot, UserKey: testKey})
			if name == "no header" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, unix.EINVAL)
			for _, file := range before.Names() {
				if file != store.LockName {
					require.Equal(t, before.Bytes(file), mem.Bytes(file), file)
				}
			}
		})
	}
}

// TestUnfinishedInUse shows that nobody takes away what another one is just making.
func TestUnfinishedInUse(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	require.NoError(t, mem.Unlink("SEFS"))
	lock, err := mem.Lock(volume.ReadWrite)
	require.NoError(t, err)
	err = volume.Make(t.Context(), store.NewFaulty(mem, func(_ int, c store.Call) store.Fault {
		if c.Kind == store.KindUnlink {
			t.Errorf("%s is removed", c.Name)
		}
		return store.Fault{}
	}), volume.MakeConfig{Slot: testSlot, UserKey: testKey})
	require.ErrorIs(t, err, unix.EBUSY)
	require.NoError(t, lock.Close())
}
