package sefs

import (
	"cmp"
	"context"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// Fallocate implements vfs.Handle. Mode 0 and FALLOC_FL_KEEP_SIZE reserve
// nothing: a volume has no fixed size, its blocks are never overwritten in
// place, and no promise of the host about room could be relied on. Mode 0
// extends the file. FALLOC_FL_PUNCH_HOLE and FALLOC_FL_ZERO_RANGE give the
// blocks back. FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE take whole
// blocks, as on ext4, and are atomic. All of them change the times, whatever else
// they change (fs/inode.c: file_modified).
//
// Errors: EOPNOTSUPP for other modes, EINVAL, EFBIG, the latter also where more
// than 32768 extents would move.
func (h fileHandle) Fallocate(ctx context.Context, mode uint32, off, n int64) error {
	switch {
	case off < 0 || n <= 0:
		return unix.EINVAL
	case off > format.MaxFileSize || n > format.MaxFileSize-off:
		return unix.EFBIG
	}
	zero := false
	switch mode {
	case 0, unix.FALLOC_FL_KEEP_SIZE:
	case unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE:
		zero = true
	case unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE:
		return h.f.shiftRange(ctx, mode, off, n)
	default:
		return unix.EOPNOTSUPP
	}
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.size.Load()
	if zero {
		if err := f.readable(ctx, off, off+n); err != nil {
			return err
		}
	}
	o, err := f.fs.begin(ctx)
	if err != nil {
		return err
	}
	if zero && off < size {
		o.data(f.data.Punch(o.tx, off, min(n, size-off)))
	}
	grow := mode&unix.FALLOC_FL_KEEP_SIZE == 0 && off+n > size
	now := f.fs.timestamp()
	f.update(&o, func(s *state) {
		s.Mtime, s.Ctime = now, now
		if grow {
			s.Size = off + n
			f.data.SetSize(s.Size)
		}
	})
	return o.end()
}

// shiftRange takes n bytes at off out of the file, or puts as many zeros in.
func (f *regular) shiftRange(ctx context.Context, mode uint32, off, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.size.Load()
	// In the order of fs/ext4/extents.c: ext4_collapse_range, ext4_insert_range.
	collapse := mode == unix.FALLOC_FL_COLLAPSE_RANGE
	switch {
	case off%format.BlockSize != 0 || n%format.BlockSize != 0:
		return unix.EINVAL
	case collapse && off+n >= size:
		return unix.EINVAL
	case !collapse && n > format.MaxFileSize-size:
		return unix.EFBIG
	case !collapse && off >= size:
		return unix.EINVAL
	}
	o, err := f.fs.begin(ctx)
	if err != nil {
		return err
	}
	move, by := f.data.Insert, n
	if collapse {
		move, by = f.data.Collapse, -n
	}
	if err := move(o.tx, off, n); err != nil {
		return cmp.Or(o.end(), err) // nothing moved
	}
	now := f.fs.timestamp()
	f.update(&o, func(s *state) {
		s.Mtime, s.Ctime = now, now
		s.Size = size + by
		f.data.SetSize(s.Size)
	})
	return o.end()
}

// Seek implements vfs.Handle, in steps of 4096 bytes.
func (h fileHandle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	size := h.f.size.Load()
	if off < 0 || off >= size {
		return 0, unix.ENXIO
	}
	switch whence {
	case unix.SEEK_DATA:
		pos, err := h.f.data.SeekData(off)
		if err == nil && pos >= size {
			return 0, unix.ENXIO
		}
		return pos, err
	case unix.SEEK_HOLE:
		pos, err := h.f.data.SeekHole(off)
		return min(pos, size), err
	}
	return 0, unix.EINVAL
}
