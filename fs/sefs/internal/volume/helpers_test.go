package volume_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

var testKey = []byte("0123456789abcdef")

var testSlot = volume.Slot{Kind: volume.KeyGiven}

func testTime() time.Time { return time.Unix(1700000000, 0) }

func unlock(volume.Slot) ([]byte, error) { return slices.Clone(testKey), nil }

// config is a volume without background commits.
func config() volume.Config {
	return volume.Config{Unlocking: volume.Unlocking{Unlock: unlock}, CommitInterval: -1, Now: testTime}
}

func makeVolume(t testing.TB, st store.Store) {
	t.Helper()
	require.NoError(t, volume.Make(t.Context(), st, volume.MakeConfig{Slot: testSlot, UserKey: testKey, Now: testTime}), "Make")
}

func open(t testing.TB, st store.Store, cfg volume.Config) *volume.Volume {
	t.Helper()
	v, err := volume.Open(t.Context(), st, cfg)
	require.NoError(t, err, "Open")
	t.Cleanup(v.Abandon)
	return v
}

// openLoose is open for loops: nothing is kept until the test ends, and the
// caller abandons the volume.
func openLoose(t testing.TB, st store.Store, cfg volume.Config) *volume.Volume {
	t.Helper()
	v, err := volume.Open(t.Context(), st, cfg)
	require.NoError(t, err, "Open")
	return v
}

// newVolume makes a volume in memory and opens it.
func newVolume(t testing.TB) (*store.Memory, *volume.Volume) {
	t.Helper()
	mem := store.NewMemory()
	makeVolume(t, mem)
	return mem, open(t, mem, config())
}

// tx runs fn in a transaction.
func tx(t testing.TB, v *volume.Volume, fn func(tx *volume.Tx)) {
	t.Helper()
	h, err := v.Begin(t.Context())
	require.NoError(t, err, "Begin")
	defer h.End()
	fn(h)
}

func commit(t testing.TB, v *volume.Volume) {
	t.Helper()
	require.NoError(t, v.Commit(t.Context()), "Commit")
}

func closeVolume(t testing.TB, v *volume.Volume) {
	t.Helper()
	require.NoError(t, v.Close(t.Context()), "Close")
}

func inodeKey(n uint64) format.Key { return format.Key{Ino: n, Type: format.TypeInode} }

// pattern returns n bytes that depend on seed and on their place.
func pattern(seed, n int) []byte {
	b := make([]byte, (n+7)/8*8)
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := 0; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b[:n]
}

// scaled returns n, or less under the race detector, which makes everything
// many times slower.
func scaled(n int) int {
	if raceDetector {
		return max(1, n/6)
	}
	return n
}

// counted makes a volume and opens it through a counter.
func counted(t testing.TB) (*store.Memory, *store.Counter, *volume.Volume) {
	t.Helper()
	mem := store.NewMemory()
	makeVolume(t, mem)
	c := store.NewCounter(mem)
	return mem, c, open(t, c, config())
}

// writeFile writes size bytes in pieces and returns the blocks.
func writeFile(t testing.TB, v *volume.Volume, ino uint64, size, piece int) int64 {
	t.Helper()
	f := v.File(ino, 0)
	p := pattern(int(ino), piece)
	for off := 0; off < size; off += piece {
		tx(t, v, func(tx *volume.Tx) {
			require.NoError(t, f.WriteAt(t.Context(), tx, p, int64(off)), "WriteAt")
			f.SetSize(int64(off + piece))
		})
	}
	return f.Blocks()
}
