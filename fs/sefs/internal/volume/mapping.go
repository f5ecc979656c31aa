package volume

import (
	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// A placed is a run of blocks of a file and where it lies now.
type placed struct {
	ino, block uint64
	format.Extent
}

func (p *placed) key() format.Key { return extentKey(p.ino, p.block) }

// A hold is the way to one leaf of the tree, all dirty, for changes in the order
// of keys: most of them are in the leaf of the one before.
type hold struct {
	path  [format.MaxHeight + 1]step
	valid bool
	until format.Key // what is not below it belongs behind the leaf
	last  bool       // nothing is behind the leaf
}

func (h *hold) leaf() format.Node { return h.path[0].n.page }

// has reports whether k, which is not below the keys of the leaf, belongs there.
func (h *hold) has(k format.Key) bool { return h.last || k.Less(h.until) }

// moveLocked goes to where p belongs, which is not before the last place.
func (t *tree) moveLocked(h *hold, p *placed) error {
	k := p.key()
	if h.valid && h.has(k) {
		h.path[0].i, _ = h.leaf().Search(k)
		return nil
	}
	h.valid = false
	if err := t.dirtyPathLocked(k, &h.path); err != nil {
		return err
	}
	h.valid, h.last = true, true
	for level := 1; level <= t.height; level++ {
		if s := h.path[level]; s.i+1 < s.n.page.Len() {
			h.until, h.last = s.n.page.Key(s.i+1), false
			break
		}
	}
	return nil
}

// mapAll records that runs, which are in the order of their keys, lie elsewhere
// from now on, and gives back the blocks where they lay before. It returns how many of
// the blocks were not holes.
func (t *tree) mapAll(runs []placed) (was int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var h hold
	for i := range runs {
		p := &runs[i]
		if err := t.moveLocked(&h, p); err != nil {
			return was, err
		}
		n, done, err := t.mapInLeafLocked(&h, p)
		if err == nil && !done {
			h.valid = false
			n, err = t.mapExtentLocked(p.ino, p.block, p.Extent)
		}
		if err != nil {
			return was, err
		}
		was += n
		t.redo.mapped(p.ino, p.block, p.Extent)
	}
	return was, nil
}

// mapInLeafLocked maps p if only items of one leaf change and p replaces blocks of
// one extent, or a hole; otherwise it changes nothing and returns false. It returns
// how many blocks were not holes.
func (t *tree) mapInLeafLocked(h *hold, p *placed) (was int, done bool, err error) {
	leaf, i := h.leaf(), h.path[0].i
	if i < leaf.Len() && leaf.Key(i) == p.key() {
		return t.replaceLocked(h, i, p)
	}
	if i == 0 { // what is before may reach into p
		return 0, false, nil
	}
	before := leaf.Key(i - 1)
	if before.Ino == p.ino && before.Type == format.TypeExtent {
		size := uint64(len(leaf.Value(i-1))-format.PtrSize) / seal.TagSize
		if before.Off+size > p.block {
			return t.replaceLocked(h, i-1, p)
		}
	}
	if p.block == 0 { // may be inline
		return 0, false, nil
	}
	end := p.block + uint64(p.Len())
	if i < leaf.Len() {
		if k := leaf.Key(i); k.Ino == p.ino && k.Type == format.TypeExtent && k.Off < end {
			return 0, false, nil
		}
	} else if !h.has(extentKey(p.ino, end-1)) {
		return 0, false, nil
	}
	return 0, true, t.insertHereLocked(h, i, p.key(), format.AppendExtent(t.newVal[:0], p.Extent))
}

// replaceLocked maps p if the extent at item i holds all of its blocks.
func (t *tree) replaceLocked(h *hold, i int, p *placed) (was int, done bool, err error) {
	leaf := h.leaf()
	start, there := leaf.Key(i).Off, leaf.Value(i)
	old, err := decodeExtent(start, there)
	if err != nil {
		return 0, false, err
	}
	lo := int(p.block - start)
	hi := lo + p.Len()
	if hi > old.Len() {
		return 0, false, nil
	}
	t.free(old.Ptr.Skip(lo), p.Len())
	val := format.AppendExtent(t.newVal[:0], p.Extent)
	if len(val) == len(there) {
		copy(there, val)
		return p.Len(), true, nil
	}
	var right []byte
	if hi < old.Len() {
		right = format.AppendExtent(t.oldVal[:0], old.Part(hi, old.Len()))
	}
	if lo == 0 {
		leaf.Replace(i, val)
	} else {
		leaf.Replace(i, there[:format.PtrSize+lo*seal.TagSize])
		i++
		err = t.insertHereLocked(h, i, p.key(), val)
	}
	if right != nil && err == nil {
		err = t.insertHereLocked(h, i+1, extentKey(p.ino, start+uint64(hi)), right)
	}
	return p.Len(), true, err
}

// insertHereLocked puts an item before item i of the leaf, or where it belongs if that
// is behind the leaf or an insert before has split it.
func (t *tree) insertHereLocked(h *hold, i int, k format.Key, val []byte) error {
	if !h.valid || !h.has(k) {
		h.valid = false
		return t.putLocked(k, val)
	}
	if !h.leaf().Insert(i, k, val) {
		h.path[0].i = i
		t.insertLocked(&h.path, k, val)
		h.valid = false
	}
	return nil
}
