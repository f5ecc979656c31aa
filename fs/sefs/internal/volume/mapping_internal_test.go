package volume

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// TestMapAll maps runs of blocks in ever new ways and compares what the tree says
// with a table.
func TestMapAll(t *testing.T) {
	tr := newTree(0)
	freed := make(map[uint32]int)
	tr.free = func(p format.Ptr, n int) {
		for i := range n {
			freed[p.Segment<<16|uint32(p.Block)+uint32(i)]++
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	const ino, size = 7, 6000
	want := make(map[uint64]uint32) // block: place
	lost := 0                       // blocks that were mapped again
	place := uint32(0)
	for round := range 200 {
		var runs []placed
		again := 0
		for b := uint64(r.IntN(50)); b < size; b += uint64(1 + r.IntN(600)) {
			n := 1
			if r.IntN(3) == 0 || round < 10 {
				n = 1 + r.IntN(format.MaxExtent)
			}
			e := format.Extent{Ptr: format.Ptr{Segment: place >> 14, Block: uint16(place & 0x3fff)}}
			e.Session[0] = 1
			n = min(n, 0x4000-int(e.Block))
			for i := range n {
				e.Tags = append(e.Tags, fmt.Appendf(nil, "%016d", b+uint64(i))...)
				if _, ok := want[b+uint64(i)]; ok {
					lost++
					again++
				}
				want[b+uint64(i)] = e.Segment<<16 | uint32(e.Block) + uint32(i)
			}
			runs = append(runs, placed{ino, b, e})
			b += uint64(n)
			place += uint32(n)
		}
		was, err := tr.mapAll(runs)
		require.NoError(t, err)
		require.Equal(t, again, was, "blocks that were not holes")
		if round%20 == 19 {
			for range 3 { // as a truncate does
				from := uint64(r.IntN(size))
				to := from + uint64(r.IntN(300))
				_, err := tr.unmap(ino, from, to, false)
				require.NoError(t, err)
				for b := from; b < to; b++ {
					if _, ok := want[b]; ok {
						lost++
						delete(want, b)
					}
				}
			}
		}
		got := make(map[uint64]uint32)
		require.NoError(t, tr.scan(extentKey(ino, 0), extentKey(ino, endBlock), func(k format.Key, val []byte) bool {
			e, err := decodeExtent(k.Off, val)
			require.NoError(t, err)
			for i := range e.Len() {
				_, twice := got[k.Off+uint64(i)]
				require.False(t, twice, "block %d is twice in the tree", k.Off+uint64(i))
				got[k.Off+uint64(i)] = e.Segment<<16 | uint32(e.Block) + uint32(i)
				require.Equal(t, fmt.Sprintf("%016d", k.Off+uint64(i)), string(e.Tags[i*seal.TagSize:(i+1)*seal.TagSize]))
			}
			return true
		}))
		require.Equal(t, want, got, "round %d", round)
	}
	require.Positive(t, tr.height, "one leaf is no test")
	sum := 0
	for p, n := range freed {
		if p>>16 != format.NoSegment>>16 {
			sum += n
		}
	}
	require.Equal(t, lost, sum, "blocks given back")
}
