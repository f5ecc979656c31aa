package volume

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// Limits of one round of compaction, in blocks moved and in items looked at
// between two looks at whether to stop.
const (
	roundBlocks  = 16384 // 64 MiB
	batchItems   = 8192
	victimScan   = 1 << 16 // segments looked at when choosing
	fullSegment  = format.SegmentBlocks * 3 / 4
	compactAbove = 3 // eighths of what is in use that may be held beside it
)

// A compactor empties segments that hold little, so that their files can be
// removed: it moves what they hold to other places, as it is, and dirties the nodes
// of the tree that lie in them.
type compactor struct {
	mu      sync.Mutex
	victims map[uint32]bool // nil: no round is under way
	damaged map[uint32]bool // not to be emptied: something in them cannot be read
	next    format.Key      // where the round goes on in the tree
	stopped bool            // the volume was closed
}

// Compact gives space back to the host until it holds at most about 1.4 times what
// is in use, or as near to that as whole segments of 64 MiB allow. Other calls go on
// meanwhile. The volume does the same in small steps between commits. moved, if not nil, is
// told of the bytes moved since the last call; it must not call the volume.
//
// Errors: EROFS, ENOSPC, EDQUOT, EIO, that of ctx; what was moved before stays moved.
func (v *Volume) Compact(ctx context.Context, moved func(bytes int64)) error {
	if moved == nil {
		moved = func(int64) {}
	}
	for {
		_, before := v.alloc.waste()
		more, err := v.compactSome(ctx, math.MaxInt, moved)
		if _, after := v.alloc.waste(); !more || err != nil || after >= before {
			return err
		}
	}
}

// compactSome moves up to about most blocks and reports whether there is more to do.
func (v *Volume) compactSome(ctx context.Context, most int, progress func(bytes int64)) (more bool, err error) {
	c := &v.compact
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false, nil
	}
	if err := v.tx.check(ctx); err != nil {
		return false, err
	}
	if c.victims == nil {
		if c.victims, err = v.alloc.victims(c.damaged); len(c.victims) == 0 || err != nil {
			c.victims = nil
			return false, err
		}
		c.next = format.Key{}
	}
	for most > 0 {
		moved, end, err := v.compactBatch(ctx)
		if err != nil {
			return false, err
		}
		progress(int64(moved) * format.BlockSize)
		if end {
			c.victims = nil
			v.alloc.avoid(nil)
			// Their files go when a checkpoint without them is durable.
			return true, v.commit(ctx, untilClean)
		}
		most -= moved + 1
	}
	return true, nil
}

// victims chooses segments to empty, those with the least in use first, and keeps
// them from being filled; none if the host does not hold too much.
func (a *allocator) victims(not map[uint32]bool) (map[uint32]bool, error) {
	used, waste := a.waste()
	if waste <= used*compactAbove/8 || waste < format.SegmentBlocks {
		return nil, nil
	}
	type candidate struct {
		seg  uint32
		used int
	}
	var list []candidate
	var damage error
	left := victimScan
	err := a.tree.scan(segmentKey(0), segmentKey(format.NoSegment), func(k format.Key, val []byte) bool {
		seg := uint32(k.Off)
		left--
		if format.IsDeadSegment(val) || not[seg] {
			return left > 0
		}
		var m format.Bitmap
		if damage = decodeBitmap(val, &m); damage != nil {
			return false
		}
		if m.Used() < fullSegment {
			list = append(list, candidate{seg, m.Used()})
		}
		return left > 0
	})
	if err = cmp.Or(err, damage); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(x, y candidate) int { return cmp.Compare(x.used, y.used) })
	chosen := make(map[uint32]bool)
	sum := 0
	for _, c := range list {
		if a.filling(c.seg) {
			continue
		}
		if sum += c.used; sum > roundBlocks {
			break
		}
		// What is moved must end up denser than it was.
		waste -= int64(format.SegmentBlocks - c.used)
		chosen[c.seg] = true
		if waste < 0 {
			break
		}
	}
	a.avoid(chosen)
	return chosen, nil
}

// avoid says which segments must not be filled, instead of those before.
func (a *allocator) avoid(segs map[uint32]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.avoided = segs
	if len(a.holes) > 0 && segs[a.holes[0].segment] {
		a.holes = nil
	}
}

// A moving is an extent on its way to another place.
type moving struct {
	key  format.Key
	ptr  format.Ptr
	tags []byte
}

// A batch is what one step of compaction found.
type batch struct {
	extents []moving
	blocks  int
	nodes   []format.Key // keys in leaves below nodes that must move
}

// compactBatch moves the next extents and nodes, at most ioBlocks blocks.
func (v *Volume) compactBatch(ctx context.Context) (moved int, end bool, err error) {
	c := &v.compact
	tx, err := v.Begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer tx.End()
	v.wbMu.Lock()
	defer v.wbMu.Unlock()
	var b batch
	next, end, err := v.tree.inSegments(c.next, c.victims, &b)
	if err != nil {
		return 0, false, err
	}
	if err := v.tree.touch(b.nodes); err != nil {
		return 0, false, v.fail(err)
	}
	for _, m := range b.extents {
		err := v.move(m)
		if corrupt, ok := errors.AsType[*seal.CorruptError](err); ok {
			v.log.Warn("segment cannot be emptied", "segment", m.ptr.Segment, "error", corrupt)
			if c.damaged == nil {
				c.damaged = make(map[uint32]bool)
			}
			c.damaged[m.ptr.Segment] = true
			continue
		}
		if err != nil {
			return 0, false, err
		}
	}
	c.next = next
	return b.blocks + len(b.nodes)*format.NodeBlocks, end, nil
}

// inSegments adds to b what lies in segs from key from on, as far as a batch goes,
// and returns where to go on; end is true at the end of the tree.
func (t *tree) inSegments(from format.Key, segs map[uint32]bool, b *batch) (next format.Key, end bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := cursor{t: t, hint: ahead}
	ok, err := c.seek(from)
	var leaf *node
	for items := 0; ok && err == nil; ok, err = c.next() {
		k := c.key()
		if items++; items > batchItems || b.blocks > ioBlocks-format.MaxExtent {
			return k, false, nil
		}
		if c.path[0].n != leaf {
			leaf = c.path[0].n
			for level := range t.height + 1 {
				if n := c.path[level].n; n.id == 0 && segs[n.ptr.Segment] {
					b.nodes = append(b.nodes, k)
					break
				}
			}
		}
		if k.Type != format.TypeExtent {
			continue
		}
		e, err := c.extent()
		if err != nil {
			return k, false, err
		}
		if segs[e.Ptr.Segment] {
			b.extents = append(b.extents, moving{k, e.Ptr, slices.Clone(e.Tags)})
			b.blocks += e.Len()
		}
	}
	return from, true, err
}

// touch makes the nodes above keys dirty: the next checkpoint writes them to other
// places. Their content stays, so there is nothing to redo after a crash.
func (t *tree) touch(keys []format.Key) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var path [format.MaxHeight + 1]step
	for _, k := range keys {
		if err := t.dirtyPathLocked(k, &path); err != nil {
			return err
		}
	}
	return nil
}

// move copies an extent to other blocks, sealed as it is: its tags and its nonce
// stay. It is read as any reader would, so that what the host has damaged
// is not copied as if it were sound.
//
// Preconditions: a transaction is open, Volume.wbMu held exclusively.
func (v *Volume) move(m moving) error {
	b, scratch := v.getBuf(), v.getBuf()
	defer v.putBuf(b)
	defer v.putBuf(scratch)
	total := len(m.tags) / seal.TagSize
	for i := range total {
		b.plain[i] = scratch.data[i*format.BlockSize : (i+1)*format.BlockSize]
	}
	cipher := b.data[:total*format.BlockSize]
	if err := v.readSealed(m.ptr, cipher); err != nil {
		return err
	}
	if err := v.openBlocks(b, m.ptr, cipher, b.plain[:total], m.tags); err != nil {
		return err
	}
	for done := 0; done < total; {
		at, n, err := v.alloc.take(total-done, 1)
		if err != nil {
			return err
		}
		if err := v.segs.write(at, cipher[done*format.BlockSize:(done+n)*format.BlockSize]); err != nil {
			v.alloc.give(at, n)
			return err
		}
		old := m.ptr.Skip(done)
		at.Counter, at.Session = old.Counter, old.Session
		if _, err := v.mapRun(m.key.Ino, m.key.Off+uint64(done), at, m.tags[done*seal.TagSize:(done+n)*seal.TagSize]); err != nil {
			return err
		}
		done += n
	}
	v.stripe(m.key.Ino).version.Add(1)
	return nil
}
