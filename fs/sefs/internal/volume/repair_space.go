package volume

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// usage is what the tree refers to on the host.
type usage struct {
	used  map[uint32]*format.Bitmap
	count uint64 // blocks

	// What claims blocks that something before it has claimed.
	extents []moving
	nodes   []format.Key // a key in each
}

// claim notes n blocks at p and reports whether they were nobody's.
func (u *usage) claim(p format.Ptr, n int) bool {
	m := u.used[p.Segment]
	if m == nil {
		m = new(format.Bitmap)
		u.used[p.Segment] = m
	}
	u.count += uint64(n)
	return m.Set(int(p.Block), n, true) == n
}

// inUse goes over the whole tree.
func (v *Volume) inUse(ctx context.Context) (*usage, error) {
	u := &usage{used: make(map[uint32]*format.Bitmap)}
	w := walker{
		v: v, ctx: ctx,
		node: func(n *node) {
			if !u.claim(n.ptr.Ptr, format.NodeBlocks) && n.page.Len() > 0 {
				u.nodes = append(u.nodes, n.page.Key(0))
			}
		},
		item: func(k format.Key, val []byte) error {
			if k.Type != format.TypeExtent {
				return nil
			}
			if e, err := decodeExtent(k.Off, val); err == nil && !u.claim(e.Ptr, e.Len()) {
				u.extents = append(u.extents, moving{k, e.Ptr, slices.Clone(e.Tags)})
			}
			return nil
		},
		lost: func(lostNode) {}, // cut off already
	}
	return u, w.walk()
}

// isolate makes the allocator take blocks from new segments only: nothing that any account
// says is free may be relied on.
//
// Errors: ENOSPC if there are no more numbers for segments.
func (a *allocator) isolate(u *usage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for seg := range u.used {
		if seg >= a.next {
			a.next = seg + 1
		}
	}
	if a.next == format.NoSegment {
		return unix.ENOSPC
	}
	a.active, a.tail, a.holes, a.loaded = format.NoSegment, span{}, nil, true
	a.spanMu.Lock()
	defer a.spanMu.Unlock()
	a.barren = 1 // no holes are looked for before the next checkpoint
	return nil
}

// mostSpaceRounds bounds how often blocks that are used twice are looked for: whatever is
// moved goes to places of its own.
const mostSpaceRounds = 4

// rebuildSpace makes the items of segments and the counts of the head say what is in use.
func (v *Volume) rebuildSpace(ctx context.Context) error {
	a := v.alloc
	for range mostSpaceRounds {
		a.spanMu.Lock()
		a.taken, a.given, a.limbo, a.waiting = nil, nil, nil, 0
		clear(a.dead)
		a.spanMu.Unlock()
		u, err := v.inUse(ctx)
		if err != nil {
			return err
		}
		if len(u.extents)+len(u.nodes) == 0 {
			return v.recordSpace(u)
		}
		if err := v.tree.touch(u.nodes); err != nil {
			return err
		}
		for _, m := range u.extents {
			if err := v.moveRaw(m); err != nil {
				return err
			}
		}
	}
	return &seal.CorruptError{Block: "tree", Reason: "blocks are used twice, however often they are moved"}
}

// moveRaw gives an extent blocks of its own, with what is in the old ones, readable or not.
func (v *Volume) moveRaw(m moving) error {
	b := v.getBuf()
	defer v.putBuf(b)
	total := len(m.tags) / seal.TagSize
	for done := 0; done < total; {
		at, n, err := v.alloc.take(total-done, 1)
		if err != nil {
			return err
		}
		old := m.ptr.Skip(done)
		cipher := b.data[:n*format.BlockSize]
		switch err := v.readSealed(old, cipher); {
		case err == nil:
			if err := v.segs.write(at, cipher); err != nil {
				return err
			}
		case !isDamage(err):
			return err
		}
		at.Counter, at.Session = old.Counter, old.Session
		e := format.Extent{Ptr: at, Tags: m.tags[done*seal.TagSize : (done+n)*seal.TagSize]}
		if _, err := v.tree.mapExtent(m.key.Ino, m.key.Off+uint64(done), e); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// recordSpace writes what u says into the tree, as far as it says something else, and makes it
// the allocator's state. What that changes in turn, the checkpoint takes account of.
func (v *Volume) recordSpace(u *usage) error {
	a, t := v.alloc, v.tree
	stale, err := v.staleSegments(u)
	if err != nil {
		return err
	}
	a.spanMu.Lock()
	a.used, a.live = u.count, uint64(len(u.used))
	a.spanMu.Unlock()
	var have, want [format.MaxValue]byte
	for _, seg := range slices.Sorted(maps.Keys(u.used)) {
		val := format.AppendBitmap(want[:0], u.used[seg])
		old, err := t.get(segmentKey(seg), have[:0])
		switch {
		case err == nil && bytes.Equal(old, val):
			continue
		case err != nil && err != unix.ENOENT:
			return err
		}
		if err := t.set(segmentKey(seg), val); err != nil {
			return err
		}
	}
	for _, k := range stale {
		if k.Off >= format.NoSegment {
			if err := t.delete(k); err != nil {
				return err
			}
			continue
		}
		a.buried(uint32(k.Off)) // its file goes when this is durable
		if err := t.set(k, format.DeadSegment()); err != nil {
			return err
		}
	}
	return nil
}

// mostForgotten bounds how many files of segments are removed of which nothing is known any more.
const mostForgotten = 1 << 16

// staleSegments returns the keys of segments in which nothing is in use: those that have an item, and
// those whose item is lost.
func (v *Volume) staleSegments(u *usage) (stale []format.Key, err error) {
	known := make(map[uint32]bool)
	err = v.tree.scan(segmentKey(0), format.Key{Type: format.TypeSegment + 1}, func(k format.Key, _ []byte) bool {
		if k.Off < format.NoSegment {
			known[uint32(k.Off)] = true
		}
		if k.Off >= format.NoSegment || u.used[uint32(k.Off)] == nil {
			stale = append(stale, k)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("sefs: read the record of space: %w", err)
	}
	forgotten := 0
	for _, l := range v.mend.lost {
		if !l.from.Less(segmentKey(format.NoSegment)) || !segmentKey(0).Less(l.to) {
			continue
		}
		for seg := range v.alloc.next {
			k := segmentKey(seg)
			if k.Less(l.from) || !k.Less(l.to) || known[seg] || u.used[seg] != nil || seg == v.alloc.active {
				continue
			}
			if forgotten++; forgotten > mostForgotten {
				return stale, nil
			}
			stale = append(stale, k)
		}
	}
	return stale, nil
}
