package volume

import (
	"cloister/fs/sefs/internal/format"
)

// A dense says what the writer of a file knows of its holes without asking the
// tree: no block before to is one.
type dense struct {
	to    uint64
	known bool // the tree has been asked
}

// add notes that n blocks from block on are not holes.
func (d *dense) add(block uint64, n int) {
	if block <= d.to {
		d.to = max(d.to, block+uint64(n))
	}
}

// cut notes that blocks from block on may be holes.
func (d *dense) cut(block uint64) { d.to = min(d.to, block) }

// findHoles sets w.hole to which blocks of w are not counted yet.
func (f *File) findHoles(w *pageWrite) error {
	d := &f.dense
	if w.block+uint64(w.n) > d.to && !d.known {
		if err := f.learn(); err != nil {
			return err
		}
	}
	if w.block+uint64(w.n) <= d.to {
		clear(w.hole)
		return nil
	}
	// The content of a block that is written in part depends on the answer, not
	// only its being counted: that takes the tree.
	whole := w.skip == 0 && len(w.p)%format.BlockSize == 0
	if whole && w.block >= d.to && uint64(f.blocks.Load()) == d.to {
		for i := range w.hole {
			w.hole[i] = true
		}
		return nil
	}
	f.v.pages.counted(f.ino, w.block, w.hole)
	for i, counted := range w.hole {
		if counted {
			w.hole[i] = false
			continue
		}
		mapped, err := f.isMapped(w.block + uint64(i))
		if err != nil {
			return err
		}
		w.hole[i] = !mapped
	}
	return nil
}

// learn finds out whether the blocks of the file are the first ones, without a hole.
func (f *File) learn() error {
	blocks := uint64(f.blocks.Load())
	if blocks > 0 {
		// In this order: a page that is written meanwhile is in the tree then.
		end := f.v.pages.dirtyEnd(f.ino)
		mapped, err := f.v.tree.end(f.ino)
		if err != nil {
			return err
		}
		if max(end, mapped) == blocks {
			f.dense.to = blocks
		}
	}
	f.dense.known = true
	return nil
}

// isMapped reports whether the tree has block, asking it only when the answer
// is not among what it said last.
func (f *File) isMapped(block uint64) (bool, error) {
	version := f.v.stripe(f.ino).version.Load()
	if !f.hasSeen || f.knownAt != version || block < f.known.from || block >= f.known.to {
		r, err := f.v.tree.lookup(f.ino, block)
		if err != nil {
			return false, err
		}
		f.known, f.knownAt, f.hasSeen = r, version, true
	}
	return f.known.mapped, nil
}

// end returns the block behind the last that a file has in the tree.
func (t *tree) end(ino uint64) (uint64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := cursor{t: t}
	ok, err := c.floor(extentKey(ino, endBlock))
	if !ok || err != nil {
		return 0, err
	}
	switch k := c.key(); {
	case k == inlineKey(ino):
		return 1, nil
	case k.Ino == ino && k.Type == format.TypeExtent:
		e, err := c.extent()
		return k.Off + uint64(e.Len()), err
	}
	return 0, nil
}

// dirtyEnd returns the block behind the last of a file whose content is not in a
// segment.
func (c *pageCache) dirtyEnd(ino uint64) (end uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := c.inodes[ino]; id != 0; id = c.pages[id].next {
		if p := &c.pages[id]; p.state != pageClean {
			end = max(end, p.key.block+1)
		}
	}
	return end
}
