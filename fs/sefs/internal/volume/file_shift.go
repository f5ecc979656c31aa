package volume

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// maxShift is how many extents one Collapse or Insert moves: 16 GiB of a file
// that was written in large pieces. The nodes that hold them must all be in
// memory until the next checkpoint.
const maxShift = 32 << 10

// Collapse takes n bytes at off out of the file, in transaction tx: what is behind
// them moves to off, as fallocate(2) with FALLOC_FL_COLLAPSE_RANGE does.
//
// Errors: EINVAL unless off and n are multiples of the block size; EFBIG if more
// than 32768 extents lie behind; ENOSPC, EDQUOT, EIO with the file unchanged.
func (f *File) Collapse(tx *Tx, off, n int64) error {
	from, by, err := f.shiftRange(tx, off, n)
	if err != nil {
		return err
	}
	return f.shift(from, from+by, func() (int, error) {
		was, err := f.v.tree.unmap(f.ino, from, from+by, true)
		if err == nil {
			err = f.v.tree.shift(f.ino, from+by, from)
		}
		return was, err
	})
}

// Insert makes a hole of n bytes at off, in transaction tx: what is there and behind
// moves up, as fallocate(2) with FALLOC_FL_INSERT_RANGE does.
//
// Errors: EINVAL unless off and n are multiples of the block size; EFBIG if blocks
// would move beyond the largest file, or more than 32768 extents lie behind;
// ENOSPC, EDQUOT, EIO with the file unchanged.
func (f *File) Insert(tx *Tx, off, n int64) error {
	from, by, err := f.shiftRange(tx, off, n)
	if err != nil {
		return err
	}
	return f.shift(from, from, func() (int, error) {
		return 0, f.v.tree.shift(f.ino, from, from+by)
	})
}

// shiftRange checks the arguments of Collapse and Insert and returns them as
// blocks.
func (f *File) shiftRange(tx *Tx, off, n int64) (from, by uint64, err error) {
	if err := checkRange(off, n); err != nil {
		return 0, 0, err
	}
	if off%format.BlockSize != 0 || n%format.BlockSize != 0 || n == 0 {
		return 0, 0, unix.EINVAL
	}
	if err := tx.check(context.Background()); err != nil {
		return 0, 0, err
	}
	return uint64(off) / format.BlockSize, uint64(n) / format.BlockSize, nil
}

// shift does what fn does to the tree, which returns how many blocks are no longer
// in use: those from block from on change, those from block tail on move.
func (f *File) shift(from, tail uint64, fn func() (was int, err error)) error {
	v, s := f.v, f.v.stripe(f.ino)
	v.wbMu.RLock()
	defer v.wbMu.RUnlock()
	if from == tail && from == 0 {
		if err := f.outOfLine(); err != nil {
			return err
		}
	}
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	if err := v.settle(f.ino, from); err != nil {
		return err
	}
	if err := v.tree.canShift(f.ino, tail); err != nil {
		return err
	}
	was, err := fn()
	if err == unix.EFBIG {
		return err
	}
	if err != nil {
		return v.fail(err)
	}
	s.version.Add(1)
	s.content.Lock()
	v.pages.drop(f.ino, from, endBlock)
	s.content.Unlock()
	f.blocks.Add(-int64(was))
	f.dense.cut(from)
	f.stream = stream{}
	return nil
}

// outOfLine makes block 0 a dirty page if it is stored as an item: only there can
// it be one.
func (f *File) outOfLine() error {
	if _, err := f.v.tree.get(inlineKey(f.ino), nil); err == unix.ENOENT {
		return nil
	} else if err != nil {
		return err
	}
	ctx := context.Background()
	data := make([]byte, format.BlockSize)
	if err := f.ReadAt(ctx, data, 0); err != nil {
		return err
	}
	return f.writeCached(ctx, data, 0, 0)
}

// settle writes the pages of a file from block from on to segments, block 0 too.
//
// Preconditions: Volume.wbMu held shared, stripe.mapMu of the file.
func (v *Volume) settle(ino, from uint64) error {
	list := v.dirtyLists.Get().(*[]dirtyPage)
	defer v.dirtyLists.Put(list)
	*list = v.pages.startWritingFile(ino, from, (*list)[:0])
	slices.SortFunc(*list, func(a, b dirtyPage) int { return cmp.Compare(a.key.block, b.key.block) })
	return v.writeBlocks(*list)
}

// startWritingFile is startWriting for the dirty pages of a file from block from on.
func (c *pageCache) startWritingFile(ino, from uint64, list []dirtyPage) []dirtyPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := c.inodes[ino]; id != 0; id = c.pages[id].next {
		if p := &c.pages[id]; p.state != pageClean && p.key.block >= from {
			list = c.startLocked(id, list)
		}
	}
	return list
}

// canShift returns EFBIG if the extents of a file behind block from are too many
// to move. It reads all of them, so that damage shows before anything changes.
func (t *tree) canShift(ino, from uint64) error {
	n := 0
	err := t.scan(extentKey(ino, from), extentKey(ino, endBlock), func(format.Key, []byte) bool {
		n++
		return n <= maxShift
	})
	if err == nil && n > maxShift {
		return unix.EFBIG
	}
	return err
}

// shift gives the blocks of a file from block from on other numbers, the first of
// them to. There is nothing where they come to lie.
//
// Errors: EFBIG, with nothing changed, if one would be behind the largest file.
func (t *tree) shift(ino, from, to uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	end, err := t.endLocked(ino)
	if err != nil {
		return err
	}
	if to > from && end > from && end > endBlock-(to-from) {
		return unix.EFBIG
	}
	if err := t.splitLocked(ino, from); err != nil {
		return err
	}
	if err := t.moveKeysLocked(ino, from, to); err != nil {
		return err
	}
	t.redo.shifted(ino, from, to)
	return nil
}

// last goes to the last extent of a file that begins at or before block
// most; false if there is none.
func (c *cursor) last(ino, most uint64) (bool, error) {
	c.low = extentKey(ino, 0)
	ok, err := c.floor(extentKey(ino, most))
	if !ok || err != nil {
		return false, err
	}
	k := c.key()
	return k.Ino == ino && k.Type == format.TypeExtent, nil
}

// endLocked returns the number behind the last block of a file that an extent has.
func (t *tree) endLocked(ino uint64) (uint64, error) {
	c := cursor{t: t}
	ok, err := c.last(ino, endBlock-1)
	if !ok || err != nil {
		return 0, err
	}
	e, err := c.extent()
	return c.key().Off + uint64(e.Len()), err
}

// splitLocked makes an extent begin at block at if one goes across.
func (t *tree) splitLocked(ino, at uint64) error {
	var val, buf [format.MaxValue]byte
	start, old, err := t.overlapLocked(ino, at, at+1, val[:0])
	if old == nil || err != nil || start == at {
		return err
	}
	e, err := decodeExtent(start, old)
	if err != nil {
		return err
	}
	right := format.AppendExtent(buf[:0], e.Part(int(at-start), e.Len()))
	if err := t.putLocked(extentKey(ino, at), right); err != nil {
		return err
	}
	return t.putLocked(extentKey(ino, start), format.AppendExtent(buf[:0], e.Part(0, int(at-start))))
}

// moveKeysLocked gives the extents from block from on their new keys, those first
// whose place is free.
func (t *tree) moveKeysLocked(ino, from, to uint64) error {
	var buf [format.MaxValue]byte
	next, most := from, uint64(endBlock-1)
	for {
		c := cursor{t: t}
		var ok bool
		var err error
		if to > from {
			ok, err = c.last(ino, most)
		} else {
			ok, err = c.overlap(ino, next, endBlock)
		}
		if !ok || err != nil || c.key().Off < from {
			return err
		}
		k := c.key()
		e, err := c.extent()
		if err != nil {
			return err
		}
		next = k.Off + uint64(e.Len()) // behind it even where it lies next
		val := append(buf[:0], c.value()...)
		if _, err := t.deleteLocked(k); err != nil {
			return err
		}
		if err := t.putLocked(extentKey(ino, k.Off-from+to), val); err != nil {
			return err
		}
		if k.Off == 0 {
			return nil
		}
		most = k.Off - 1
	}
}
