package volume

import (
	"context"

	"cloister/fs/sefs/internal/format"
)

// zeros is never written.
var zeros [format.BlockSize]byte

// Truncate drops the blocks behind size bytes and zeroes the rest of the last
// one, in transaction tx. A file that grows needs no call: what is behind its
// end are holes.
func (f *File) Truncate(tx *Tx, size int64) error {
	if err := checkRange(size, 0); err != nil {
		return err
	}
	if err := tx.check(context.Background()); err != nil {
		return err
	}
	last, rest := uint64(size)/format.BlockSize, int(size%format.BlockSize)
	if rest == 0 {
		return f.remove(last, endBlock)
	}
	if err := f.remove(last+1, endBlock); err != nil {
		return err
	}
	return f.zero(last, rest, format.BlockSize)
}

// Punch makes n bytes at off zeros, and whole blocks of them holes, as
// fallocate(2) with FALLOC_FL_PUNCH_HOLE does, in transaction tx.
func (f *File) Punch(tx *Tx, off, n int64) error {
	if err := checkRange(off, n); err != nil {
		return err
	}
	if err := tx.check(context.Background()); err != nil {
		return err
	}
	end := off + n
	first, skip := uint64(off)/format.BlockSize, int(off%format.BlockSize)
	last, rest := uint64(end)/format.BlockSize, int(end%format.BlockSize)
	if first == last {
		return f.zero(first, skip, rest)
	}
	if skip > 0 {
		if err := f.zero(first, skip, format.BlockSize); err != nil {
			return err
		}
		first++
	}
	if err := f.zero(last, 0, rest); err != nil {
		return err
	}
	return f.remove(first, last)
}

// Discard drops all blocks, in transaction tx.
func (f *File) Discard(tx *Tx) error {
	if err := tx.check(context.Background()); err != nil {
		return err
	}
	return f.remove(0, endBlock)
}

// remove makes blocks [from, to) holes.
func (f *File) remove(from, to uint64) error {
	if from >= to {
		return nil
	}
	v, s := f.v, f.v.stripe(f.ino)
	v.wbMu.RLock()
	defer v.wbMu.RUnlock()
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	was, err := v.tree.unmap(f.ino, from, to, v.pages.has(f.ino))
	if err != nil {
		return v.fail(err)
	}
	// A reader that found the old blocks must not cache them after the drop.
	s.version.Add(1)
	s.content.Lock()
	fresh := v.pages.drop(f.ino, from, to)
	s.content.Unlock()
	f.blocks.Add(-int64(was + fresh))
	f.dense.cut(from)
	f.stream = stream{}
	return nil
}

// zero makes bytes [from, to) of a block zeros, if it is not a hole and they
// are not already.
func (f *File) zero(block uint64, from, to int) error {
	if from >= to {
		return nil
	}
	var counted [1]bool
	f.v.pages.counted(f.ino, block, counted[:])
	if !counted[0] {
		if mapped, err := f.isMapped(block); err != nil || !mapped {
			return err
		}
	}
	ctx := context.Background()
	b := f.v.getBuf()
	defer f.v.putBuf(b)
	old := b.data[from:to]
	if err := f.ReadAt(ctx, old, int64(block)*format.BlockSize+int64(from)); err != nil {
		return err
	}
	if len(format.TrimZeros(old)) == 0 {
		return nil
	}
	return f.writeCached(ctx, zeros[:to-from], block, from)
}
