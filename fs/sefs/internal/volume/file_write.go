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

// follow notes a write through the cache. Behind a sequential writer every
// full I/O buffer is written back at once, while the processor has it at hand.
func (f *File) follow(from, to int64) error {
	s := &f.stream
	if from != s.to {
		s.from = (from + format.BlockSize - 1) / format.BlockSize * format.BlockSize
	}
	s.to = to
	for s.to-s.from >= ioSize {
		if err := f.v.writeBackRange(f.ino, uint64(s.from)/format.BlockSize, ioBlocks); err != nil {
			return err
		}
		s.from += ioSize
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

// writeDirect seals the ioBlocks blocks in p from the caller's memory to a
// segment, past the cache.
func (f *File) writeDirect(p []byte, block uint64) error {
	v, s := f.v, f.v.stripe(f.ino)
	if err := v.makeRoom(); err != nil {
		return err
	}
	b := v.getBuf()
	var w *sending
	defer func() { v.sent(w, b) }()
	for i := range ioBlocks {
		b.plain[i] = p[i*format.BlockSize : (i+1)*format.BlockSize]
	}
	v.wbMu.RLock()
	defer v.wbMu.RUnlock()
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	done, holes := 0, 0
	var err error
	for done < ioBlocks && err == nil {
		var n, was int
		if n, was, w, err = v.writeRun(f.ino, block, b, done); err == nil {
			done += n
			holes += n - was
		}
	}
	s.version.Add(1)
	s.content.Lock()
	fresh := v.pages.drop(f.ino, block, block+uint64(done))
	s.content.Unlock()
	f.blocks.Add(int64(holes - fresh))
	f.dense.add(block, done)
	return err
}

// writeRun writes a part of b.plain[done:], which are the blocks from block on,
// to a segment. It returns how many blocks, and how many of them the tree had. All
// of b at once is sent.
func (v *Volume) writeRun(ino, block uint64, b *ioBuf, done int) (n, was int, w *sending, err error) {
	ptr, n, err := v.alloc.take(ioBlocks-done, 1)
	if err != nil {
		return 0, 0, nil, err
	}
	ptr, err = v.sealBlocks(b, ptr, done, done+n)
	switch {
	case err != nil:
	case n == ioBlocks:
		w, err = v.send(b, ptr, n)
	default:
		err = v.segs.write(ptr, b.data[done*format.BlockSize:(done+n)*format.BlockSize])
	}
	if err != nil {
		v.alloc.give(ptr, n)
		return 0, 0, nil, err
	}
	was, err = v.mapRun(ino, block+uint64(done), ptr, b.tags[done*seal.TagSize:(done+n)*seal.TagSize])
	return n, was, w, err
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
