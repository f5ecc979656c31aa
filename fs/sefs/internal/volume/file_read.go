package volume

import (
	"context"
	"errors"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// Read-ahead window in blocks: where it starts for a sequential reader, and
// where doubling ends.
const (
	minAhead = 32
	maxAhead = ioBlocks
)

// directRead is the least number of whole blocks that are read straight into
// the caller's memory instead of the cache.
const directRead = 64

// maxRetries bounds reading again because blocks moved meanwhile.
const maxRetries = 1000

// readAhead remembers a sequential reader.
type readAhead struct {
	next   uint64 // block behind the last window
	window int
}

// plan returns how many blocks to read at a miss of need blocks at block.
func (f *File) plan(block uint64, need int) (n int, hint scanHint) {
	f.aheadMu.Lock()
	defer f.aheadMu.Unlock()
	a := &f.ahead
	if block != a.next {
		a.next, a.window = block+uint64(need), 0
		return need, single
	}
	hint = ahead
	if a.window == maxAhead {
		hint = steady
	}
	a.window = min(max(2*a.window, minAhead), maxAhead)
	n = max(need, a.window)
	if size := f.size.Load(); size >= 0 {
		end := (uint64(size) + format.BlockSize - 1) / format.BlockSize
		if block+uint64(n) > end {
			n = max(need, int(max(end, block)-block))
		}
	}
	n = min(n, ioBlocks)
	// Windows end where whole MiB of a file do: those lie side by side on the host.
	if over := int((block + uint64(n)) % ioBlocks); n-over >= need {
		n -= over
	}
	a.next = block + uint64(n)
	return n, hint
}

// ReadAt fills p with the bytes at off. Holes, and what is behind the last
// block, are zeros; the caller knows the size of the file.
//
// Errors: *seal.CorruptError (EIO) for blocks that are not what was written;
// EINVAL, EFBIG for an impossible off.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := checkRange(off, int64(len(p))); err != nil {
		return err
	}
	for retries := 0; len(p) > 0; {
		n := f.readCached(p, off)
		if n == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			version := f.v.stripe(f.ino).version.Load()
			n, err = f.readMissing(p, off, version)
			if err != nil {
				// Blocks that moved while they were read may be gone.
				if errors.As(err, new(*seal.CorruptError)) && retries < maxRetries &&
					f.v.stripe(f.ino).version.Load() != version {
					retries++
					continue
				}
				return err
			}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// readCached copies what is cached at off to p and returns how much that is.
func (f *File) readCached(p []byte, off int64) int {
	const batch = 16
	var ids [batch]pageID
	var plain [batch][]byte
	s := f.v.stripe(f.ino)
	s.content.RLock()
	defer s.content.RUnlock()
	done := 0
	for done < len(p) {
		at := off + int64(done)
		skip := int(at % format.BlockSize)
		want := min((skip+len(p)-done+format.BlockSize-1)/format.BlockSize, batch)
		hits := f.v.pages.pinHits(f.ino, uint64(at/format.BlockSize), want, ids[:], plain[:])
		for i := range hits {
			done += copy(p[done:], plain[i][skip:])
			skip = 0
		}
		if hits > 0 {
			f.v.pages.unpin(ids[:hits])
		}
		if hits < want {
			break
		}
	}
	return done
}

// readMissing reads at off, which is not cached, from the host: large reads
// straight to p, small ones through the cache, with read-ahead.
func (f *File) readMissing(p []byte, off int64, version uint64) (int, error) {
	block := uint64(off) / format.BlockSize
	skip := int(off % format.BlockSize)
	need := min((skip+len(p)+format.BlockSize-1)/format.BlockSize, ioBlocks)
	b := f.v.getBuf()
	defer f.v.putBuf(b)
	if whole := min(len(p)/format.BlockSize, ioBlocks); skip == 0 && whole >= directRead {
		if n := f.v.pages.misses(f.ino, block, whole); n >= directRead {
			for i := range n {
				b.plain[i] = p[i*format.BlockSize : (i+1)*format.BlockSize]
			}
			hint := f.direct(block, n)
			return n * format.BlockSize, f.readBlocks(block, n, hint, b)
		}
	}
	n, hint := f.plan(block, need)
	n = f.v.pages.misses(f.ino, block, n)
	if n == 0 { // cached by somebody else meanwhile
		return f.readCached(p, off), nil
	}
	return f.readThrough(p, block, skip, n, hint, version, b)
}

// direct tells read-ahead about a large read.
func (f *File) direct(block uint64, n int) scanHint {
	f.aheadMu.Lock()
	defer f.aheadMu.Unlock()
	was := f.ahead
	f.ahead = readAhead{next: block + uint64(n), window: maxAhead}
	switch {
	case block != was.next:
		return single
	case was.window < maxAhead:
		return ahead
	}
	return steady
}

// readThrough reads n blocks into free frames, copies the beginning to p, and
// keeps the frames as pages unless the blocks moved since version.
func (f *File) readThrough(p []byte, block uint64, skip, n int, hint scanHint, version uint64, b *ioBuf) (int, error) {
	s := f.v.stripe(f.ino)
	got := f.v.pages.frames(n, b.ids[:], b.plain[:])
	if got == 0 { // every page is dirty: read one block past the cache
		b.plain[0] = make([]byte, format.BlockSize)
		if err := f.readBlocks(block, 1, hint, b); err != nil {
			return 0, err
		}
		return copy(p, b.plain[0][skip:]), nil
	}
	ids := b.ids[:got]
	err := f.readBlocks(block, got, hint, b)
	done := 0
	if err == nil {
		for i := range got {
			done += copy(p[done:], b.plain[i][skip:])
			skip = 0
		}
	}
	f.v.pages.fill(f.ino, block, ids, func() bool { return err == nil && s.version.Load() == version })
	return done, err
}

// readBlocks fills b.plain[:n] with blocks [block, block+n) of a file. For a
// sequential reader it begins to fetch the next ones.
func (f *File) readBlocks(block uint64, n int, hint scanHint, b *ioBuf) error {
	v := f.v
	if x := v.fetched(f.ino, block, n, hint); x != nil {
		f.fetchNext(block+uint64(n), n)
		err := v.openPieces(x, block, b.plain[:n])
		v.putBuf(x)
		if err == nil {
			return nil
		}
		// What moved just now is elsewhere; what is damaged, still is.
	}
	if err := v.fetchBlocks(f.ino, block, n, min(hint, ahead), b); err != nil {
		return err
	}
	if hint == steady {
		f.fetchNext(block+uint64(n), n)
	}
	return v.openPieces(b, block, b.plain[:n])
}

// fetchNext begins to fetch n blocks, or those up to the end of the file.
func (f *File) fetchNext(block uint64, n int) {
	size := uint64(max(f.size.Load(), 0))
	f.v.fetchAhead(f.ino, block, n, (size+format.BlockSize-1)/format.BlockSize)
}
