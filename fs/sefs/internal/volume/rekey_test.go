package volume_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

func with(key []byte) volume.Unlocking {
	return volume.Unlocking{Unlock: func(volume.Slot) ([]byte, error) { return slices.Clone(key), nil }}
}

func openKeys(t testing.TB, st store.Store, key []byte) *volume.Keys {
	t.Helper()
	k, err := volume.OpenKeys(st, volume.KeysConfig{Unlocking: with(key), Now: testTime})
	require.NoError(t, err, "OpenKeys")
	t.Cleanup(func() { k.Close() })
	return k
}

// opens reports whether a key opens the volume and its content is there.
func opens(t testing.TB, mem *store.Memory, key []byte) bool {
	t.Helper()
	cfg := config()
	cfg.Unlocking, cfg.Access = with(key), volume.ReadOnly
	v, err := volume.Open(t.Context(), mem, cfg)
	if err != nil {
		require.ErrorIs(t, err, unix.EACCES)
		require.ErrorContains(t, err, "wrong key")
		return false
	}
	defer v.Abandon()
	got, err := v.Get(inodeKey(1), nil)
	require.NoError(t, err)
	require.Equal(t, []byte("value"), got)
	return true
}

var (
	secondKey = []byte("second key......")
	thirdKey  = []byte("third key, of thirty-two bytes..")
)

// keyedVolume is a volume with a slot for testKey and one for secondKey.
func keyedVolume(t testing.TB) *store.Memory {
	t.Helper()
	mem := store.NewMemory()
	makeVolume(t, mem)
	putAndCloseIn(t, mem)
	k := openKeys(t, mem, testKey)
	n, err := k.Add(testSlot, secondKey)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, k.Close())
	return mem
}

func putAndCloseIn(t testing.TB, mem *store.Memory) {
	t.Helper()
	v := open(t, mem, config())
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("value"))) })
	closeVolume(t, v)
}

// keyChanges are all changes, with the keys that open the volume after them.
var keyChanges = []struct {
	name   string
	change func(k *volume.Keys) error
	after  [][]byte
}{
	{"add", func(k *volume.Keys) error { _, err := k.Add(testSlot, thirdKey); return err }, [][]byte{testKey, secondKey, thirdKey}},
	{"remove", func(k *volume.Keys) error { return k.Remove(1) }, [][]byte{testKey}},
	{"remove own", func(k *volume.Keys) error { return k.Remove(0) }, [][]byte{secondKey}},
	{"replace", func(k *volume.Keys) error { return k.Replace(1, testSlot, thirdKey) }, [][]byte{testKey, thirdKey}},
	{"replace own", func(k *volume.Keys) error { return k.Replace(0, testSlot, thirdKey) }, [][]byte{secondKey, thirdKey}},
	{"wrap again", func(k *volume.Keys) error { return k.Replace(0, testSlot, testKey) }, [][]byte{testKey, secondKey}},
}

// keysThatOpen returns which of the keys open the volume.
func keysThatOpen(t testing.TB, mem *store.Memory) (keys [][]byte) {
	t.Helper()
	for _, key := range [][]byte{testKey, secondKey, thirdKey} {
		if opens(t, mem, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestKeyChanges(t *testing.T) {
	for _, tt := range keyChanges {
		t.Run(tt.name, func(t *testing.T) {
			mem := keyedVolume(t)
			k := openKeys(t, mem, testKey)
			require.NoError(t, tt.change(k))
			id := k.Identity()
			require.NoError(t, k.Close())
			seen, err := volume.Peek(mem)
			require.NoError(t, err)
			require.Equal(t, id, seen)
			require.Equal(t, tt.after, keysThatOpen(t, mem))
			require.NotContains(t, mem.Names(), "SEFS.new")
		})
	}
}

// TestKeyChangeCrash cuts every change at every call, with every fate of what was
// not durable: the volume opens with the keys from before, or with those from after.
func TestKeyChangeCrash(t *testing.T) {
	for _, tt := range keyChanges {
		t.Run(tt.name, func(t *testing.T) {
			mem := keyedVolume(t)
			before := keysThatOpen(t, mem)
			rec := store.NewRecorder(mem)
			k := openKeys(t, rec, testKey)
			require.NoError(t, tt.change(k))
			require.NoError(t, k.Close())
			old := 0
			for img := range rec.Crashes(store.CrashConfig{Rand: rand.New(rand.NewPCG(1, 1)), Each: 60}) {
				got := keysThatOpen(t, img.Memory)
				if fmt.Sprint(got) != fmt.Sprint(tt.after) {
					require.Equal(t, before, got, "crash after call %d, %s", img.Calls, img.Fate)
					require.Less(t, img.Calls, rec.Len(), "a change that succeeded is lost")
					old++
				}
			}
			if tt.name != "wrap again" {
				require.Positive(t, old)
			}
		})
	}
}

// TestKeyChangeFaults lets every call of every change fail.
func TestKeyChangeFaults(t *testing.T) {
	for _, tt := range keyChanges {
		t.Run(tt.name, func(t *testing.T) {
			image := keyedVolume(t)
			before := keysThatOpen(t, image)
			for at := 0; ; at++ {
				mem := image.Clone()
				st := store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
					if n == at {
						return store.Fault{Errno: unix.ENOSPC, Part: 1000}
					}
					return store.Fault{}
				})
				k, err := volume.OpenKeys(st, volume.KeysConfig{Unlocking: with(testKey)})
				if err == nil {
					err = tt.change(k)
					k.Close()
				}
				got := keysThatOpen(t, mem)
				if err == nil {
					require.Equal(t, tt.after, got, "fault at call %d", at)
				} else {
					require.ErrorIs(t, err, unix.ENOSPC, "fault at call %d", at)
					if fmt.Sprint(got) != fmt.Sprint(tt.after) {
						require.Equal(t, before, got, "fault at call %d", at)
					}
				}
				if at >= st.Calls() {
					require.Greater(t, at, 10, "calls of a change")
					break
				}
			}
		})
	}
}

func TestKeyChangeErrors(t *testing.T) {
	mem := keyedVolume(t)
	before, err := volume.Peek(mem)
	require.NoError(t, err)
	k := openKeys(t, mem, secondKey)
	require.Equal(t, 1, k.OpenedBy())
	_, err = k.Add(testSlot, testKey)
	require.ErrorIs(t, err, unix.EEXIST, "a key in two slots")
	require.ErrorIs(t, k.Replace(1, testSlot, testKey), unix.EEXIST)
	_, err = k.Add(testSlot, testKey[:5])
	require.ErrorIs(t, err, unix.EINVAL)
	for _, n := range []int{-1, 2, 8} {
		require.ErrorIs(t, k.Remove(n), unix.ENOENT, "%d", n)
		require.ErrorIs(t, k.Replace(n, testSlot, thirdKey), unix.ENOENT, "%d", n)
	}
	after, err := volume.Peek(mem)
	require.NoError(t, err)
	require.Equal(t, before, after, "what is refused changes nothing")

	for i := 2; i < format.MaxSlots; i++ {
		n, err := k.Add(testSlot, pattern(i, 16))
		require.NoError(t, err)
		require.Equal(t, i, n)
	}
	_, err = k.Add(testSlot, thirdKey)
	require.ErrorIs(t, err, unix.ENOSPC)
	for i := format.MaxSlots - 1; i > 0; i-- {
		require.NoError(t, k.Remove(i))
	}
	require.ErrorIs(t, k.Remove(0), unix.EPERM, "the last one")
	_, err = volume.OpenKeys(mem, volume.KeysConfig{Unlocking: with(testKey)})
	require.ErrorIs(t, err, unix.EBUSY, "in use")
	require.NoError(t, k.Close())
	require.ErrorIs(t, k.Remove(0), unix.EPERM)
	require.Equal(t, [][]byte{testKey}, keysThatOpen(t, mem))

	_, err = volume.OpenKeys(mem, volume.KeysConfig{Unlocking: with(secondKey)})
	require.ErrorIs(t, err, unix.EACCES, "a removed key")
	empty := store.NewMemory()
	_, err = volume.OpenKeys(empty, volume.KeysConfig{Unlocking: with(testKey)})
	require.ErrorIs(t, err, unix.EINVAL)
	require.Empty(t, empty.Names(), "nothing is made where there is no volume")
}

// TestSwappedSlots shows that the host cannot mix slots of different headers.
func TestSwappedSlots(t *testing.T) {
	mem := keyedVolume(t)
	old := mem.Bytes("SEFS")
	k := openKeys(t, mem, testKey)
	require.NoError(t, k.Remove(1))
	require.NoError(t, k.Close())
	b := mem.Bytes("SEFS")
	copy(b[256+2000:], old[256+2000:256+2*2000])
	sum := seal.Checksum(b[:len(b)-32])
	copy(b[len(b)-32:], sum[:])
	mem.SetBytes("SEFS", b)
	for _, key := range [][]byte{testKey, secondKey} {
		cfg := config()
		cfg.Unlocking = with(key)
		_, err := volume.Open(t.Context(), mem, cfg)
		require.ErrorIs(t, err, unix.EACCES)
		require.ErrorContains(t, err, "tampered")
	}
	mem.SetBytes("SEFS", old)
	require.True(t, opens(t, mem, secondKey), "a whole old header can be put back: the documented limit")
}
