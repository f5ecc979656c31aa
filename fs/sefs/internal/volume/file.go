package volume

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// A File is the data of one inode. ReadAt may be called with anything else at
// the same time; the caller serialises WriteAt, Truncate, Punch and Discard of
// one inode, and keeps at most one File for it.
type File struct {
	v   *Volume
	ino uint64

	size   atomic.Int64 // bytes, as SetSize said
	blocks atomic.Int64 // blocks that are not holes

	aheadMu sync.Mutex
	ahead   readAhead

	// Of the one writer:
	dense   dense
	known   reach  // what the tree said last
	knownAt uint64 // stripe.version at that time
	hasSeen bool   // known is set
	stream  stream // sequential writing
}

// File returns the data of inode ino. blocks is what Blocks returned when the
// caller last stored it, 0 for a new inode.
func (v *Volume) File(ino uint64, blocks int64) *File {
	f := &File{v: v, ino: ino}
	f.blocks.Store(blocks)
	f.size.Store(-1)
	return f
}

// SetSize tells the size of the file in bytes. It only bounds read-ahead.
func (f *File) SetSize(size int64) { f.size.Store(size) }

// Blocks returns the number of 4096-byte blocks of the file that are not
// holes, wherever they are kept.
func (f *File) Blocks() int64 { return f.blocks.Load() }

// checkRange returns EINVAL or EFBIG unless n bytes at off can be in a file.
func checkRange(off, n int64) error {
	const most = int64(endBlock) * format.BlockSize
	switch {
	case off < 0 || n < 0:
		return unix.EINVAL
	case off > most || n > most-off:
		return unix.EFBIG
	}
	return nil
}

// SeekData returns the offset of the first byte at or behind off that is in a
// block that is not a hole, as lseek(2) with SEEK_DATA does.
//
// Errors: ENXIO if there is none.
func (f *File) SeekData(off int64) (int64, error) {
	if err := checkRange(off, 0); err != nil {
		return 0, err
	}
	from := uint64(off) / format.BlockSize
	r, err := f.v.tree.lookup(f.ino, from)
	if err != nil {
		return 0, err
	}
	if r.mapped {
		return off, nil
	}
	next := r.to
	for next < endBlock { // the reach of a hole may be cut short
		if r, err = f.v.tree.lookup(f.ino, next); err != nil {
			return 0, err
		}
		if r.mapped {
			break
		}
		next = r.to
	}
	if b, ok := f.v.pages.nextDirty(f.ino, from); ok && b < next {
		next = b
	}
	if next >= endBlock {
		return 0, unix.ENXIO
	}
	return max(off, int64(next)*format.BlockSize), nil
}

// SeekHole returns the offset of the first byte at or behind off that is in a
// hole, as lseek(2) with SEEK_HOLE does. Behind the last block all is a hole;
// the caller knows the size.
func (f *File) SeekHole(off int64) (int64, error) {
	if err := checkRange(off, 0); err != nil {
		return 0, err
	}
	at := uint64(off) / format.BlockSize
	for at < endBlock {
		r, err := f.v.tree.lookup(f.ino, at)
		if err != nil {
			return 0, err
		}
		if r.mapped {
			at = r.to
			continue
		}
		if b, ok := f.v.pages.nextDirty(f.ino, at); !ok || b != at {
			break
		}
		at++
	}
	return max(off, int64(at)*format.BlockSize), nil
}
