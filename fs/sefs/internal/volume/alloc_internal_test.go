package volume

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/format"
)

// TestGivenBackBlocksWait holds the rule that recovery rests on: blocks that
// were given back are not taken before a checkpoint without them is durable.
func TestGivenBackBlocksWait(t *testing.T) {
	a := newAllocator(newTree(0))
	p, n, err := a.take(format.SegmentBlocks, 1)
	require.NoError(t, err)
	require.Equal(t, format.SegmentBlocks, n, "a whole new segment")
	settle := func() int {
		for again := true; again; {
			again, err = a.apply()
			require.NoError(t, err, "apply")
		}
		return a.fill(&format.Head{})
	}
	a.checkpointed(settle())

	a.give(p, n/2)
	next, _, err := a.take(1, 1)
	require.NoError(t, err)
	require.NotEqual(t, p.Segment, next.Segment, "given back, no checkpoint yet")

	limbo := settle()
	require.Empty(t, a.freeIn(t, p.Segment), "given back, checkpoint not durable yet")
	a.checkpointed(limbo)
	require.Equal(t, []span{{p.Segment, 0, uint16(n / 2)}}, a.freeIn(t, p.Segment), "given back in a durable checkpoint")

	// Taken again, but not in the tree yet.
	a.holes = a.freeIn(t, p.Segment)
	_, _, err = a.take(100, 1)
	require.NoError(t, err)
	require.Equal(t, []span{{p.Segment, 100, uint16(n/2 - 100)}}, a.freeIn(t, p.Segment), "taken since the checkpoint")

	a.give(p.Skip(100), 1)
	_, err = a.apply()
	require.ErrorContains(t, err, "disagree", "blocks given back twice")
}

// freeIn returns what may be taken in a segment.
func (a *allocator) freeIn(t *testing.T, segment uint32) []span {
	t.Helper()
	var buf [format.MaxValue]byte
	val, err := a.tree.get(segmentKey(segment), buf[:0])
	require.NoError(t, err)
	var m format.Bitmap
	require.NoError(t, decodeBitmap(val, &m))
	return a.freeRuns(segment, &m, 1)
}

func TestEmptySegmentsAreRemoved(t *testing.T) {
	a := newAllocator(newTree(0))
	p, n, err := a.take(format.SegmentBlocks, 1)
	require.NoError(t, err)
	_, _, err = a.take(1, 1)
	require.NoError(t, err)
	checkpoint := func() []uint32 {
		for again := true; again; {
			again, err = a.apply()
			require.NoError(t, err, "apply")
		}
		return a.checkpointed(a.fill(&format.Head{}))
	}
	require.Empty(t, checkpoint(), "in use")
	a.give(p, n)
	require.Equal(t, []uint32{p.Segment}, checkpoint(), "empty")
	require.Equal(t, []uint32{p.Segment}, checkpoint(), "asked for until it is gone")
	has, err := a.tree.get(segmentKey(p.Segment), nil)
	require.NoError(t, err, "the item stays until the file is gone")
	require.True(t, format.IsDeadSegment(has))
	a.unlinked(p.Segment)
	require.Empty(t, checkpoint(), "gone")
	_, err = a.tree.get(segmentKey(p.Segment), nil)
	require.Error(t, err, "the item goes when the file is gone")
}
