package volume

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// apply brings the items of segments up to date with what was taken and given
// back, and reports whether there was anything. Only checkpoints call it, and
// again until there is not, since the items themselves take blocks of the tree.
func (a *allocator) apply() (bool, error) {
	a.spanMu.Lock()
	taken, given := a.taken, a.given
	a.taken, a.given = nil, nil
	a.limbo = append(a.limbo, given...)
	var gone []uint32
	for seg, state := range a.dead {
		if state == deadUnlinked {
			gone = append(gone, seg)
			delete(a.dead, seg)
		}
	}
	a.spanMu.Unlock()

	slices.SortFunc(taken, span.compare)
	slices.SortFunc(given, span.compare)
	any := len(taken)+len(given)+len(gone) > 0
	for len(taken) > 0 || len(given) > 0 {
		seg := uint32(format.NoSegment)
		if len(taken) > 0 {
			seg = taken[0].segment
		}
		if len(given) > 0 {
			seg = min(seg, given[0].segment)
		}
		var t, g []span
		t, taken = cutSegment(taken, seg)
		g, given = cutSegment(given, seg)
		if err := a.applySegment(seg, t, g); err != nil {
			return false, err
		}
	}
	slices.Sort(gone)
	for _, seg := range gone {
		if err := a.tree.delete(segmentKey(seg)); err != nil {
			return false, err
		}
	}
	return any, nil
}

// compare orders spans by their places. There may be ten thousands of them.
func (s span) compare(o span) int {
	return cmp.Compare(uint64(s.segment)<<16|uint64(s.first), uint64(o.segment)<<16|uint64(o.first))
}

// cutSegment splits off the spans of segment seg at the front of a sorted list.
func cutSegment(list []span, seg uint32) (of, rest []span) {
	n := 0
	for n < len(list) && list[n].segment == seg {
		n++
	}
	return list[:n], list[n:]
}

// applySegment updates the item of one segment.
func (a *allocator) applySegment(seg uint32, taken, given []span) error {
	var m format.Bitmap
	var buf [format.MaxValue]byte
	val, err := a.tree.get(segmentKey(seg), buf[:0])
	isNew := err == unix.ENOENT
	if err != nil && !isNew {
		return err
	}
	if !isNew {
		if err := decodeBitmap(val, &m); err != nil {
			return err
		}
	}
	sound := true
	for _, s := range taken {
		sound = m.Set(int(s.first), int(s.n), true) == int(s.n) && sound
	}
	for _, s := range given {
		sound = m.Set(int(s.first), int(s.n), false) == int(s.n) && sound
	}
	if !sound {
		return &seal.CorruptError{Block: "tree", Reason: "blocks in use and map of blocks in use disagree"}
	}
	if isNew {
		a.addLive(+1)
	}
	if m.Used() == 0 && !a.filling(seg) {
		a.addLive(-1)
		a.buried(seg)
		return a.tree.set(segmentKey(seg), format.DeadSegment())
	}
	return a.tree.set(segmentKey(seg), format.AppendBitmap(buf[:0], &m))
}

func (a *allocator) addLive(by int) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	a.live += uint64(by)
}

// filling reports whether blocks of a segment may be taken at any time.
func (a *allocator) filling(seg uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return seg == a.active || seg == a.side.segment && a.side.n > 0 || len(a.holes) > 0 && seg == a.holes[0].segment
}

// checkpointed is called when a checkpoint is durable; limbo is what it knew
// as given back. It returns the segments whose files may be removed now.
func (a *allocator) checkpointed(limbo int) (unlink []uint32) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	for _, s := range a.limbo[:limbo] {
		a.waiting -= uint64(s.n)
	}
	a.limbo = slices.Delete(a.limbo, 0, limbo)
	a.barren = 0
	for seg, state := range a.dead {
		if state == deadNew {
			unlink = append(unlink, seg)
		}
	}
	slices.Sort(unlink)
	return unlink
}

// unlinked notes that the file of an empty segment is gone.
func (a *allocator) unlinked(segment uint32) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	a.dead[segment] = deadUnlinked
}

// fill sets what a head says about space.
func (a *allocator) fill(h *format.Head) (limbo int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	h.Active, h.Next, h.Used, h.Live = a.active, a.next, a.used, a.live
	a.wide = false
	return len(a.limbo)
}

// buried notes a segment that an earlier mount left to be removed.
func (a *allocator) buried(segment uint32) {
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	if _, ok := a.dead[segment]; !ok {
		a.dead[segment] = deadNew
	}
}
