package volume

import (
	"context"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// A stream is what a sequential writer has written and not yet written back.
type stream struct{ from, to int64 }

// WriteAt writes p at off, in transaction tx. The bytes are in memory or in a
// segment on return; a commit makes them durable.
//
// Errors: ENOSPC, EDQUOT if the host has no room, with the bytes before that
// place written; *seal.CorruptError (EIO); EINVAL, EFBIG for an impossible off.
func (f *File) WriteAt(ctx context.Context, tx *Tx, p []byte, off int64) error {
	if err := checkRange(off, int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		if err := tx.check(ctx); err != nil {
			return err
		}
		if f.v.pages.tooDirty() {
			if err := f.v.writeBack(allDirty); err != nil {
				return err
			}
		}
		n, err := f.writeSome(ctx, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// writeSome writes the beginning of p, at most ioSize bytes of it.
func (f *File) writeSome(ctx context.Context, p []byte, off int64) (int, error) {
	block, skip := uint64(off)/format.BlockSize, int(off%format.BlockSize)
	if skip == 0 && len(p) >= ioSize {
		f.stream = stream{off + ioSize, off + ioSize}
		return ioSize, f.writeDirect(p[:ioSize], block)
	}
	n := min(len(p), ioSize-skip)
	if err := f.writeCached(ctx, p[:n], block, skip); err != nil {
		return 0, err
	}
	return n, f.follow(off, off+int64(n))
}

// follow notes a write through the cache. Behind a sequential writer every whole
// MiB of the file, which is an I/O buffer, is written back at once, while the
// processor has it at hand; a reader will ask for the same pieces.
func (f *File) follow(from, to int64) error {
	s := &f.stream
	if from != s.to {
		s.from = (from + format.BlockSize - 1) / format.BlockSize * format.BlockSize
	}
	s.to = to
	for end := s.from/ioSize*ioSize + ioSize; s.to >= end; end += ioSize {
		if err := f.v.writeBackRange(f.ino, uint64(s.from)/format.BlockSize, int(end-s.from)/format.BlockSize); err != nil {
			return err
		}
		s.from = end
	}
	return nil
}

// writeCached copies p into the pages of the blocks from block on, skip bytes
// into the first one. It covers at most ioBlocks blocks.
func (f *File) writeCached(ctx context.Context, p []byte, block uint64, skip int) error {
	b := f.v.getBuf()
	defer f.v.putBuf(b)
	n := (skip + len(p) + format.BlockSize - 1) / format.BlockSize
	end := (skip + len(p)) % format.BlockSize
	w := pageWrite{p: p, block: block, skip: skip, n: n, hole: b.hole[:n]}
	if err := f.findHoles(&w); err != nil {
		return err
	}
	// The old bytes around a part of a block wait in b.data, in case the block
	// is not cached any more when it is written.
	if skip > 0 || n == 1 && end > 0 {
		w.head = b.data[:format.BlockSize]
		if err := f.old(ctx, &w, 0, w.head); err != nil {
			return err
		}
	}
	if n > 1 && end > 0 {
		w.tail = b.data[format.BlockSize : 2*format.BlockSize]
		if err := f.old(ctx, &w, n-1, w.tail); err != nil {
			return err
		}
	}
	f.blocks.Add(f.v.copyIn(f.ino, &w, b))
	f.dense.add(block, n)
	return nil
}

// old reads block i of a write to dst.
func (f *File) old(ctx context.Context, w *pageWrite, i int, dst []byte) error {
	if w.hole[i] {
		clear(dst)
		return nil
	}
	return f.ReadAt(ctx, dst, int64(w.block+uint64(i))*format.BlockSize)
}

// A pageWrite is one write into pages.
type pageWrite struct {
	p          []byte
	block      uint64
	skip       int    // bytes of the first block before p
	n          int    // blocks
	head, tail []byte // old content of the first and last block, if p leaves some
	hole       []bool // the block counts from now on
}

// copyIn does w and returns how many blocks are no longer holes.
func (v *Volume) copyIn(ino uint64, w *pageWrite, b *ioBuf) (grown int64) {
	s := v.stripe(ino)
	s.content.Lock()
	defer s.content.Unlock()
	grown = v.pages.forWriting(ino, w, b.plain[:w.n], b.isNew[:w.n])
	p, skip := w.p, w.skip
	for i, page := range b.plain[:w.n] {
		if b.isNew[i] {
			switch {
			case i == 0 && w.head != nil:
				copy(page, w.head)
			case i == w.n-1 && w.tail != nil:
				copy(page, w.tail)
			}
		}
		p = p[copy(page[skip:], p):]
		skip = 0
	}
	return grown
}

// writeDirect seals the ioBlocks blocks in p from the caller's memory to segments,
// past the cache.
func (f *File) writeDirect(p []byte, block uint64) error {
	v, s := f.v, f.v.stripe(f.ino)
	if err := v.makeRoom(); err != nil {
		return err
	}
	v.wbMu.RLock()
	defer v.wbMu.RUnlock()
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	b := v.getBuf()
	for i := range ioBlocks {
		b.plain[i] = p[i*format.BlockSize : (i+1)*format.BlockSize]
	}
	w, err := v.write(b, ioBlocks, func(i int) pageKey { return pageKey{f.ino, block + uint64(i)} })
	defer v.sent(w, b)
	if err != nil {
		return err
	}
	was, err := v.tree.mapAll(b.runs)
	if err != nil {
		return v.fail(err)
	}
	s.version.Add(1)
	s.content.Lock()
	fresh := v.pages.drop(f.ino, block, block+ioBlocks)
	s.content.Unlock()
	f.blocks.Add(int64(ioBlocks - was - fresh))
	f.dense.add(block, ioBlocks)
	return nil
}

// mapRun records that consecutive blocks of a file lie at ptr.
func (v *Volume) mapRun(ino, block uint64, ptr format.Ptr, tags []byte) (was int, err error) {
	for len(tags) > 0 {
		n := min(len(tags)/seal.TagSize, format.MaxExtent)
		k, err := v.tree.mapExtent(ino, block, format.Extent{Ptr: ptr, Tags: tags[:n*seal.TagSize]})
		if err != nil {
			return was, v.fail(err)
		}
		was += k
		block, ptr, tags = block+uint64(n), ptr.Skip(n), tags[n*seal.TagSize:]
	}
	return was, nil
}
