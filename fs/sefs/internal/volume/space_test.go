package volume_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestSpaceIsReused overwrites a file many times over. Blocks that were given
// back must be taken again, and never one that a crash could still need.
func TestSpaceIsReused(t *testing.T) {
	tests := []struct {
		name          string
		size, piece   int
		total, commit int // bytes written; writes between commits
		most          uint64
	}{
		{"whole", 24 << 20, 24 << 20, 240 << 20, 1, 3},
		{"large", 40 << 20, 1 << 20, 240 << 20, 25, 3},
		{"small", 24 << 20, 4 << 10, 120 << 20, 1000, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mem := store.NewMemory()
			makeVolume(t, mem)
			crash := &crashAt{r: rand.New(rand.NewPCG(1, 1)), mem: mem}
			v := open(t, store.NewFaulty(mem, crash.before), config())
			f := v.File(10, 0)
			r := rand.New(rand.NewPCG(4, 4))
			h := pieces{size: tt.size, piece: tt.piece}
			for n := 0; n*tt.piece < max(tt.size*2, scaled(tt.total)); n++ {
				w := r.IntN(tt.size / tt.piece)
				h.writes = append(h.writes, w)
				crash.note(&crash.issued, n+1)
				tx(t, v, func(tx *volume.Tx) {
					require.NoError(t, f.WriteAt(t.Context(), tx, pattern(n, tt.piece), int64(w*tt.piece)))
				})
				if n%tt.commit == tt.commit-1 {
					commit(t, v)
					crash.note(&crash.acked, n+1)
				}
			}
			closeVolume(t, v)
			v = open(t, mem, config())
			t.Logf("%+v, %d crashes", v.Stats(), len(crash.images))
			require.LessOrEqual(t, v.Stats().Segments, tt.most, "segments for %d bytes", tt.size)
			require.True(t, h.match(t, v, len(h.writes), len(h.writes)), "content")
			require.NoError(t, volume.Verify(v))
			require.NotEmpty(t, crash.images)
			for i, image := range crash.images {
				v := openLoose(t, image.mem, config())
				require.True(t, h.match(t, v, image.acked, image.issued), "content after crash %d", i)
				require.NoError(t, volume.Verify(v), "after crash %d", i)
				v.Abandon()
			}
		})
	}
}

// pieces is a history of writes to one file: write n put pattern(n) to piece
// writes[n].
type pieces struct {
	size, piece int
	writes      []int
}

// match reports whether the file is what some number of writes made it, from
// least to most.
func (h *pieces) match(t *testing.T, v *volume.Volume, least, most int) bool {
	t.Helper()
	got := make([]byte, h.size)
	require.NoError(t, v.File(10, 0).ReadAt(t.Context(), got, 0), "ReadAt")
	last := make([]int, h.size/h.piece)
	for i := range last {
		last[i] = -1
	}
	for n, w := range h.writes[:least] {
		last[w] = n
	}
	wrong := make(map[int]bool)
	check := func(w int) {
		want := make([]byte, h.piece)
		if last[w] >= 0 {
			want = pattern(last[w], h.piece)
		}
		delete(wrong, w)
		if !bytes.Equal(want, got[w*h.piece:(w+1)*h.piece]) {
			wrong[w] = true
		}
	}
	for w := range last {
		check(w)
	}
	for n := least; len(wrong) > 0 && n < most; n++ {
		last[h.writes[n]] = n
		check(h.writes[n])
	}
	return len(wrong) == 0
}

// crashAt keeps images of a volume at random calls, more of them around
// checkpoints.
type crashAt struct {
	mem *store.Memory

	mu            sync.Mutex
	r             *rand.Rand
	acked, issued int // writes
	images        []crashImage
}

type crashImage struct {
	mem           *store.Memory
	acked, issued int
}

// note sets one of the counts, beside which calls may be running.
func (c *crashAt) note(count *int, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*count = n
}

func (c *crashAt) before(n int, call store.Call) store.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	likely := 40
	if call.Name == "heads" {
		likely = 2
	}
	if c.acked > 0 && len(c.images) < 6 && c.r.IntN(likely) == 0 {
		c.images = append(c.images, crashImage{c.mem.Clone(), c.acked, c.issued})
	}
	return store.Fault{}
}

// TestSegmentsComeAndGo fills and empties a volume over several mounts.
func TestSegmentsComeAndGo(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	for round := range 2 {
		v := open(t, mem, config())
		blocks := writeFile(t, v, uint64(10+round), 150<<20, 1<<20)
		closeVolume(t, v)
		v = open(t, mem, config())
		require.GreaterOrEqual(t, v.Stats().Segments, uint64(3), "round %d", round)
		tx(t, v, func(tx *volume.Tx) {
			require.NoError(t, v.File(uint64(10+round), blocks).Discard(tx), "Discard")
		})
		closeVolume(t, v)
		v = open(t, mem, config())
		require.LessOrEqual(t, v.Stats().Segments, uint64(2), fmt.Sprint("round ", round))
		require.LessOrEqual(t, v.Stats().BlocksUsed, uint64(8), "round %d", round)
		v.Abandon()
	}
}

// TestCompact deletes most of what many files hold, so that every segment keeps a
// little, and asks for the space.
func TestCompact(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	rec := &crashAt{r: rand.New(rand.NewPCG(1, 1)), mem: mem}
	v := open(t, store.NewFaulty(mem, rec.before), config())
	const files, size, keep = 400, 768 << 10, 8
	blocks := make([]int64, files)
	for n := range files {
		blocks[n] = writeFile(t, v, uint64(1000+n), size, 256<<10)
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(uint64(1000+n)), pattern(n, 2000))) })
	}
	commit(t, v)
	left := func(n int) bool { return n%keep == 0 }
	tx(t, v, func(tx *volume.Tx) {
		for n := range files {
			if !left(n) {
				require.NoError(t, v.File(uint64(1000+n), blocks[n]).Discard(tx), "Discard")
			}
		}
	})
	require.NoError(t, volume.Verify(v))
	before := v.Stats()
	require.GreaterOrEqual(t, before.Segments, uint64(4), "segments with holes")

	check := func(v *volume.Volume, when string) {
		t.Helper()
		got := make([]byte, size)
		for n := range files {
			if left(n) {
				require.NoError(t, v.File(uint64(1000+n), blocks[n]).ReadAt(t.Context(), got, 0), "ReadAt")
				require.True(t, bytes.Equal(pattern(1000+n, 256<<10), got[size-256<<10:]), "%s: file %d", when, n)
			}
		}
		require.NoError(t, volume.Verify(v), when)
	}
	rec.acked = 1 // keep images from here on
	require.NoError(t, v.Compact(t.Context(), nil), "Compact")
	after := v.Stats()
	t.Logf("%+v -> %+v", before, after)
	require.LessOrEqual(t, after.Segments, uint64(2), "segments")
	check(v, "compacted")
	require.NotEmpty(t, rec.images, "crashes during it")
	for i, image := range rec.images[:max(1, scaled(len(rec.images)))] {
		v := openLoose(t, image.mem, config())
		check(v, fmt.Sprint("after crash ", i))
		require.NoError(t, v.Compact(t.Context(), nil), "Compact again")
		check(v, fmt.Sprint("compacted after crash ", i))
		v.Abandon()
	}
	before = v.Stats()
	require.NoError(t, v.Compact(t.Context(), nil), "Compact with nothing to do")
	require.Equal(t, before, v.Stats(), "nothing to do")
}

// TestCompactDamage leaves a segment alone in which a block is damaged.
func TestCompactDamage(t *testing.T) {
	mem, v := newVolume(t)
	const size = 200 << 20
	blocks := writeFile(t, v, 10, size, 1<<20)
	f := v.File(10, blocks)
	tx(t, v, func(tx *volume.Tx) {
		for off := int64(0); off < size; off += 4 << 20 {
			require.NoError(t, f.Punch(tx, off+64<<10, 4<<20-64<<10), "Punch")
		}
	})
	require.NoError(t, volume.Verify(v))
	const name = "seg/00/00000000"
	data := mem.Bytes(name)
	data[100] ^= 1
	mem.SetBytes(name, data)
	require.NoError(t, v.Compact(t.Context(), nil), "Compact")
	require.LessOrEqual(t, v.Stats().Segments, uint64(3), "the others are emptied")
	require.NoError(t, volume.Verify(v))
}
