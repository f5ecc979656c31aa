package volume

import (
	"sync"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// A span is a run of blocks of one segment.
type span struct {
	segment  uint32
	first, n uint16
}

// An allocator hands out blocks. Which blocks a segment has in use is an item
// of the tree; that item changes only in checkpoints, from the lists of what was
// taken and given back since. A block that was given back is handed out again
// only when a checkpoint without it is durable.
type allocator struct {
	tree *tree

	// mu is held while blocks are taken.
	mu     sync.Mutex
	active uint32 // segment being filled; format.NoSegment: none yet
	loaded bool   // runs is what is free in active
	runs   []span
	next   uint32 // number of the next new segment
	cursor uint32 // where the search for half-empty segments goes on

	spanMu  sync.Mutex
	taken   []span              // not yet in the tree
	given   []span              // not yet in the tree
	limbo   []span              // given back, in the tree, but not yet durable
	used    uint64              // blocks
	waiting uint64              // blocks in given and limbo
	live    uint64              // segments
	dead    map[uint32]deadness // segments with an item that says they are empty
}

// deadness says how far the removal of an empty segment is.
type deadness int

const (
	deadNew      deadness = iota // once the item is durable, the file may be unlinked
	deadUnlinked                 // the item may be deleted
)

func newAllocator(t *tree) *allocator {
	a := &allocator{tree: t, active: format.NoSegment, dead: make(map[uint32]deadness)}
	t.free = a.give
	return a
}

// load takes over the state of a head.
func (a *allocator) load(h *format.Head) {
	a.active, a.next = h.Active, h.Next
	a.used, a.live = h.Used, h.Live
}

func (a *allocator) usage() (used, live uint64) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	return a.used, a.live
}

// take hands out a run of 1 to n blocks, a multiple of unit long.
func (a *allocator) take(n, unit int) (format.Ptr, int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if err := a.loadActiveLocked(); err != nil {
			return format.Ptr{}, 0, err
		}
		for len(a.runs) > 0 {
			r := &a.runs[0]
			got := min(n, int(r.n)) / unit * unit
			if got == 0 {
				a.runs = a.runs[1:]
				continue
			}
			s := span{r.segment, r.first, uint16(got)}
			r.first, r.n = r.first+uint16(got), r.n-uint16(got)
			if r.n == 0 {
				a.runs = a.runs[1:]
			}
			a.note(s)
			return format.Ptr{Segment: s.segment, Block: s.first}, got, nil
		}
		if err := a.nextActiveLocked(); err != nil {
			return format.Ptr{}, 0, err
		}
	}
}

// loadActiveLocked finds what is free in the active segment, once.
func (a *allocator) loadActiveLocked() error {
	if a.loaded || a.active == format.NoSegment {
		return nil
	}
	var m format.Bitmap
	var buf [format.MaxValue]byte
	val, err := a.tree.get(segmentKey(a.active), buf[:0])
	switch {
	case err == unix.ENOENT: // no checkpoint has seen it yet
	case err != nil:
		return err
	case format.IsDeadSegment(val):
		a.runs, a.loaded = nil, true
		return nil
	default:
		if err := decodeBitmap(val, &m); err != nil {
			return err
		}
	}
	a.runs = a.freeRuns(a.active, &m, 1)
	a.loaded = true
	return nil
}

func decodeBitmap(val []byte, m *format.Bitmap) error {
	if err := format.DecodeBitmap(val, m); err != nil {
		return &seal.CorruptError{Block: "tree", Reason: err.Error()}
	}
	return nil
}

func segmentKey(n uint32) format.Key { return format.Key{Type: format.TypeSegment, Off: uint64(n)} }

// freeRuns returns the runs of at least least blocks that may be taken in a
// segment whose item says m: not those taken since, and not those given back
// so recently that a crash would bring them back to life.
func (a *allocator) freeRuns(segment uint32, m *format.Bitmap, least int) []span {
	a.spanMu.Lock()
	for _, list := range [2][]span{a.taken, a.limbo} {
		for _, s := range list {
			if s.segment == segment {
				m.Set(int(s.first), int(s.n), true)
			}
		}
	}
	a.spanMu.Unlock()
	var runs []span
	for first, n := m.Next(0, false); n > 0; first, n = m.Next(first+n, false) {
		if n >= least {
			runs = append(runs, span{segment, uint16(first), uint16(n)})
		}
	}
	return runs
}

// Segments are worth filling again when they have holes of at least minHole
// blocks, in sum minReuse; if the host holds much more than is in use, smaller
// holes do too.
const (
	minHole   = 16
	minReuse  = format.SegmentBlocks / 8
	scanItems = 512 // segments looked at before a new one is made
)

// nextActiveLocked chooses another segment to fill: one with enough holes, or
// a new one.
func (a *allocator) nextActiveLocked() error {
	hole := minHole
	if used, live := a.usage(); live > 4 && live*format.SegmentBlocks > used*3/2 {
		hole = 2
	}
	runs, err := a.searchLocked(hole)
	if err != nil {
		return err
	}
	if len(runs) > 0 {
		a.active, a.runs, a.loaded = runs[0].segment, runs, true
		return nil
	}
	if a.next == format.NoSegment {
		return unix.ENOSPC
	}
	a.active, a.loaded = a.next, true
	a.next++
	a.runs = append(a.runs[:0], span{a.active, 0, format.SegmentBlocks})
	return nil
}

// searchLocked looks for a segment with holes, going on where the last search
// ended.
func (a *allocator) searchLocked(hole int) ([]span, error) {
	var best []span
	var damage error
	from, left := a.cursor, scanItems
	look := func(k format.Key, val []byte) bool {
		a.cursor = uint32(k.Off) + 1
		left--
		seg := uint32(k.Off)
		if format.IsDeadSegment(val) {
			a.buried(seg)
			return left > 0
		}
		if seg == a.active {
			return left > 0
		}
		var m format.Bitmap
		if damage = decodeBitmap(val, &m); damage != nil {
			return false
		}
		if m.Used() > format.SegmentBlocks-minReuse {
			return left > 0
		}
		runs := a.freeRuns(seg, &m, hole)
		free := 0
		for _, r := range runs {
			free += int(r.n)
		}
		if free >= minReuse {
			best = runs
		}
		return best == nil && left > 0
	}
	end := format.Key{Type: format.TypeSegment, Off: 1 << 32}
	err := a.tree.scan(segmentKey(from), end, look)
	if err == nil && damage == nil && best == nil && left > 0 && from > 0 {
		a.cursor = 0
		err = a.tree.scan(segmentKey(0), segmentKey(from), look)
	}
	if err == nil {
		err = damage
	}
	return best, err
}

// note records that s was taken.
func (a *allocator) note(s span) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	a.taken = appendSpan(a.taken, s)
	a.used += uint64(s.n)
}

// replay records that a commit before the crash took n blocks at p.
func (a *allocator) replay(p format.Ptr, n int) {
	a.note(span{p.Segment, p.Block, uint16(n)})
	if p.Segment >= a.next {
		a.next = p.Segment + 1
		a.active, a.loaded = p.Segment, false
	}
}

// give takes back n blocks at p. The tree calls it with tree.mu held.
func (a *allocator) give(p format.Ptr, n int) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	a.given = appendSpan(a.given, span{p.Segment, p.Block, uint16(n)})
	a.used -= uint64(n)
	a.waiting += uint64(n)
}

// wasteful reports whether so many blocks wait to be taken again that a
// checkpoint is due, lest the volume grow on the host while it is overwritten.
func (a *allocator) wasteful() bool {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	return a.waiting > max(format.SegmentBlocks, a.used/4)
}

// appendSpan appends s, joined with the last span if it follows it.
func appendSpan(list []span, s span) []span {
	if n := len(list); n > 0 {
		l := &list[n-1]
		if l.segment == s.segment && int(l.first)+int(l.n) == int(s.first) {
			l.n += s.n
			return list
		}
	}
	return append(list, s)
}
