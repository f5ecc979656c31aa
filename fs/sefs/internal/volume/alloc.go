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
	active uint32 // newest segment; format.NoSegment: none yet
	loaded bool   // tail is known
	tail   span   // what was never written of active
	side   span   // what was never written of the segment that comes after active
	wide   bool   // large writes alternate between tail and side
	odd    bool   // the last one went to side
	holes  []span // being filled, all in one segment
	least  int    // blocks of the smallest hole that the last search looked for
	next   uint32 // number of the next new segment
	cursor uint32 // where the search for segments with holes goes on

	avoided map[uint32]bool // segments that are being emptied

	spanMu  sync.Mutex
	taken   []span              // not yet in the tree
	given   []span              // not yet in the tree
	limbo   []span              // given back, in the tree, but not yet durable
	used    uint64              // blocks
	waiting uint64              // blocks in given and limbo
	live    uint64              // segments
	barren  int                 // least hole that a search since the last checkpoint did not find; 0: none
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
	for tries := 0; ; {
		if err := a.loadTailLocked(); err != nil {
			return format.Ptr{}, 0, err
		}
		if len(a.holes) == 0 {
			if err := a.fillHolesLocked(); err != nil {
				return format.Ptr{}, 0, err
			}
		}
		h := a.holeLocked(unit)
		if h == nil && len(a.holes) > 0 && a.least == 1 && tries < 2 {
			// What is left of this segment is too small for a node; rather than
			// grow, look at another one.
			a.holes = nil
			tries++
			continue
		}
		if h != nil {
			p, got := a.cutLocked(h, n, unit)
			if h.n == 0 {
				a.holes = a.holes[1:]
			}
			return p, got, nil
		}
		if a.wide && n == ioBlocks {
			if a.odd = !a.odd; a.odd && a.openSideLocked() {
				p, got := a.cutLocked(&a.side, n, unit)
				return p, got, nil
			}
		}
		if p, got := a.cutLocked(&a.tail, n, unit); got > 0 {
			return p, got, nil
		}
		if !a.openSideLocked() {
			return format.Ptr{}, 0, unix.ENOSPC
		}
		a.active, a.tail, a.side = a.side.segment, a.side, span{}
		a.loaded = true
	}
}

// openSideLocked sees to it that side has a block, and reports whether it does: unless
// the numbers of segments are used up.
func (a *allocator) openSideLocked() bool {
	if a.side.n == 0 && a.next != format.NoSegment {
		a.side = span{a.next, 0, format.SegmentBlocks}
		a.next++
	}
	return a.side.n > 0
}

// widen makes large writes go to two segments in turn from now on, until the next
// checkpoint, if the volume is not small.
func (a *allocator) widen() {
	a.mu.Lock()
	defer a.mu.Unlock()
	used, _ := a.wasteLocked()
	a.wide = a.wide || used >= format.SegmentBlocks
}

// holeLocked returns the hole to take a multiple of unit blocks from, the first of
// a.holes, or nil. Nodes stay together, since they are read together, as long as
// small holes need not be filled.
func (a *allocator) holeLocked(unit int) *span {
	least := unit
	if unit > 1 && a.least > 1 {
		least = largeHole
	}
	for i := range a.holes {
		if int(a.holes[i].n) >= least {
			a.holes[0], a.holes[i] = a.holes[i], a.holes[0]
			return &a.holes[0]
		}
	}
	return nil
}

// cutLocked takes up to n blocks off the front of r.
func (a *allocator) cutLocked(r *span, n, unit int) (format.Ptr, int) {
	got := min(n, int(r.n)) / unit * unit
	if got == 0 {
		return format.Ptr{}, 0
	}
	s := span{r.segment, r.first, uint16(got)}
	r.first, r.n = r.first+uint16(got), r.n-uint16(got)
	a.note(s)
	return format.Ptr{Segment: s.segment, Block: s.first}, got
}

// loadTailLocked finds out, once, which part of the newest segment was never
// written: what is free at its end.
func (a *allocator) loadTailLocked() error {
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
		a.tail, a.loaded = span{}, true
		return nil
	default:
		if err := decodeBitmap(val, &m); err != nil {
			return err
		}
	}
	a.tail, a.loaded = span{}, true
	runs := a.freeRuns(a.active, &m, 1)
	if len(runs) > 0 {
		if last := runs[len(runs)-1]; int(last.first)+int(last.n) == format.SegmentBlocks {
			a.tail = last
		}
	}
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

const (
	largeHole = 16  // blocks
	scanItems = 512 // segments looked at in one search
)

// worthFillingLocked returns the least number of blocks of a hole worth filling and
// how many such blocks a segment must have; 0 if none is. Large holes make large
// writes, so small ones are left alone until the host holds much more than is
// in use.
func (a *allocator) worthFillingLocked() (hole, sum int) {
	used, free := a.wasteLocked()
	switch {
	case free < used/8:
		return 0, 0
	case free > used/4:
		hole, sum = 1, format.SegmentBlocks/64
	case free > used*3/16:
		hole, sum = 4, format.SegmentBlocks/32
	default:
		hole, sum = largeHole, format.SegmentBlocks/8
	}
	if barren := a.barrenOf(); barren != 0 && barren <= hole {
		return 0, 0
	}
	return hole, sum
}

// waste returns how many blocks are in use, and how many more the host holds.
func (a *allocator) waste() (used, free int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wasteLocked()
}

func (a *allocator) wasteLocked() (used, free int64) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	used = int64(a.used)
	return used, int64(a.live)*format.SegmentBlocks - int64(a.tail.n) - int64(a.side.n) - used
}

func (a *allocator) barrenOf() int {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	return a.barren
}

// fillHolesLocked looks for a segment with holes worth filling, going on where
// the last search ended.
func (a *allocator) fillHolesLocked() error {
	hole, sum := a.worthFillingLocked()
	if hole == 0 {
		return nil
	}
	a.least = hole
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
		if a.avoided[seg] {
			return left > 0
		}
		var m format.Bitmap
		if damage = decodeBitmap(val, &m); damage != nil {
			return false
		}
		a.holes = a.holesLocked(seg, &m, hole, sum)
		return len(a.holes) == 0 && left > 0
	}
	end := format.Key{Type: format.TypeSegment, Off: 1 << 32}
	err := a.tree.scan(segmentKey(from), end, look)
	if err == nil && damage == nil && len(a.holes) == 0 && left > 0 && from > 0 {
		a.cursor = 0
		err = a.tree.scan(segmentKey(0), segmentKey(from), look)
	}
	if err == nil {
		err = damage
	}
	if len(a.holes) == 0 && err == nil && left > 0 {
		a.spanMu.Lock()
		a.barren = hole
		a.spanMu.Unlock()
	}
	return err
}

// holesLocked returns the holes of a segment of at least hole blocks, if there
// are sum blocks of them.
func (a *allocator) holesLocked(seg uint32, m *format.Bitmap, hole, sum int) []span {
	if m.Used() > format.SegmentBlocks-sum {
		return nil
	}
	for _, s := range [2]span{a.tail, a.side} {
		if s.segment == seg {
			m.Set(int(s.first), int(s.n), true)
		}
	}
	runs := a.freeRuns(seg, m, hole)
	free := 0
	for _, r := range runs {
		free += int(r.n)
	}
	if free < sum {
		return nil
	}
	return runs
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
	return a.waiting > max(minWaiting, a.used/8) || a.barren == 1 && a.waiting > minWaiting
}

// minWaiting is how many blocks may always wait to be taken again: 8 MiB.
const minWaiting = 2048

// unsettled reports whether blocks were taken or given back since the last
// checkpoint.
func (a *allocator) unsettled() bool {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	return len(a.taken)+len(a.given) > 0
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
