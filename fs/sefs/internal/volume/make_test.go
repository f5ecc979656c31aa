package volume_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

func TestMakeErrors(t *testing.T) {
	tests := []struct {
		name  string
		cfg   volume.MakeConfig
		errno unix.Errno
	}{
		{"no key", volume.MakeConfig{Slot: testSlot}, unix.EINVAL},
		{"key of 20 bytes", volume.MakeConfig{Slot: testSlot, UserKey: make([]byte, 20)}, unix.EINVAL},
		{"no slot", volume.MakeConfig{UserKey: testKey}, unix.EINVAL},
		{"long key info", volume.MakeConfig{UserKey: testKey, Slot: volume.Slot{Kind: volume.KeySealed, KeyInfo: make([]byte, format.MaxKeyInfo+1)}}, unix.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem := store.NewMemory()
			require.ErrorIs(t, volume.Make(t.Context(), mem, tt.cfg), tt.errno)
			empty, err := mem.Empty()
			require.NoError(t, err)
			require.True(t, empty, "the directory stays empty")
		})
	}
}

func TestSlotIsKept(t *testing.T) {
	for _, size := range []int{16, 32} {
		key := pattern(size, size)
		slot := volume.Slot{Kind: volume.KeySealed, Platform: "simulation", Policy: "unique", KeyInfo: []byte("info")}
		mem := store.NewMemory()
		require.NoError(t, volume.Make(t.Context(), mem, volume.MakeConfig{Slot: slot, UserKey: key}))
		id, err := volume.Peek(mem)
		require.NoError(t, err)
		slot.Created = id.Slots[0].Created
		require.Equal(t, slot, id.Slots[0])
		cfg := config()
		cfg.Unlock = func(got volume.Slot) ([]byte, error) {
			require.Equal(t, slot, got, "slot that Unlock is asked for")
			return slices.Clone(key), nil
		}
		v := open(t, mem, cfg)
		require.Equal(t, id, v.Identity())
		hash := v.NameHash("a name")
		require.NotEqual(t, hash, v.NameHash("a nam"))
		closeVolume(t, v)
		require.Equal(t, hash, open(t, mem, cfg).NameHash("a name"), "the hash of a name stays")
	}
	_, other := newVolume(t)
	_, another := newVolume(t)
	require.NotEqual(t, other.NameHash("a name"), another.NameHash("a name"), "each volume has its own")
}

// TestMakeFails lets every host call of Make fail: nothing is left.
func TestMakeFails(t *testing.T) {
	for at := 0; ; at++ {
		mem := store.NewMemory()
		st := store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
			if n == at {
				return store.Fault{Errno: unix.ENOSPC, Part: 100}
			}
			return store.Fault{}
		})
		err := volume.Make(t.Context(), st, volume.MakeConfig{Slot: testSlot, UserKey: testKey})
		if at >= st.Calls() {
			require.NoError(t, err)
			require.Greater(t, at, 20, "calls of Make")
			return
		}
		if err == nil { // the lock could not be closed; st.Close did it
			continue
		}
		require.ErrorIs(t, err, unix.ENOSPC, "fault at call %d", at)
		empty, err := mem.Empty()
		require.NoError(t, err)
		require.True(t, empty, "fault at call %d left %v", at, mem.Names())
	}
}

// TestMakeCrash cuts Make at every call: there is no volume, or a whole one.
func TestMakeCrash(t *testing.T) {
	rec := store.NewRecorder(store.NewMemory())
	makeVolume(t, rec)
	r := rand.New(rand.NewPCG(1, 1))
	made := 0
	for n := range rec.Len() + 1 {
		for range 4 {
			m := rec.Crash(n, func(int, store.Call) store.Fate { return store.Fate(r.IntN(3)) })
			v, err := volume.Open(t.Context(), m, config())
			if err != nil {
				require.True(t, errors.Is(err, unix.EINVAL), "crash after call %d: %v", n, err)
				require.Less(t, n, rec.Len(), "a volume that was made is there")
				continue
			}
			made++
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("x"))) })
			closeVolume(t, v)
		}
	}
	require.Positive(t, made)
}
