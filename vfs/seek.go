package vfs

import (
	"context"
	"math"

	"golang.org/x/sys/unix"
)

// Seek sets the position and returns it (lseek(2)); whence is one of SEEK_*. The position of a
// directory is a cookie: only SEEK_SET to one that was returned, or to 0, and SEEK_CUR make sense.
//
// Errors: EBADF for an O_PATH file; EINVAL for a bad whence, or a result that is negative or overflows;
// ENXIO for SEEK_DATA and SEEK_HOLE at or past the end of file.
func (f *File) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	if f.isPath() {
		return 0, unix.EBADF
	}
	f.posMu.Lock()
	defer f.posMu.Unlock()
	var base int64
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = f.pos
	case unix.SEEK_END:
		if f.handle == nil {
			return 0, unix.EINVAL
		}
		a, err := f.path.dentry.inode.Getattr(ctx, unix.STATX_SIZE)
		if err != nil {
			return 0, err
		}
		base = a.Size
	case unix.SEEK_DATA, unix.SEEK_HOLE:
		if f.handle == nil {
			return 0, unix.EINVAL
		}
		if off < 0 {
			return 0, unix.ENXIO
		}
		next, err := f.handle.Seek(ctx, off, whence)
		if err != nil {
			return 0, f.path.blame("seek", err)
		}
		f.pos = next
		return next, nil
	default:
		return 0, unix.EINVAL
	}
	if off > 0 && base > math.MaxInt64-off || base+off < 0 {
		return 0, unix.EINVAL
	}
	f.pos = base + off
	return f.pos, nil
}

// Truncate sets the size in bytes (ftruncate(2)).
//
// Errors: EBADF for an O_PATH file; EINVAL unless it is a regular file open for writing, or for a
// negative size; EFBIG, ENOSPC.
func (f *File) Truncate(ctx context.Context, size int64) error {
	return Use{File: f}.Truncate(ctx, size)
}

// Fallocate changes the space of n bytes at byte offset off; mode holds FALLOC_FL_* bits (fallocate(2)).
// Combinations that make no sense fail as they did before Linux 6.8.
//
// Errors: EINVAL for off < 0, n <= 0 and combined modes; EOPNOTSUPP for unknown modes, and FALLOC_FL_PUNCH_HOLE
// without FALLOC_FL_KEEP_SIZE; EBADF unless open for writing; EISDIR; EFBIG; ENOSPC.
func (f *File) Fallocate(ctx context.Context, mode uint32, off, n int64) error {
	return Use{File: f}.Fallocate(ctx, mode, off, n)
}

// checkFallocate checks a mode (fs/open.c: vfs_fallocate).
func checkFallocate(mode uint32) error {
	const (
		keep     = unix.FALLOC_FL_KEEP_SIZE
		punch    = unix.FALLOC_FL_PUNCH_HOLE
		collapse = unix.FALLOC_FL_COLLAPSE_RANGE
		zero     = unix.FALLOC_FL_ZERO_RANGE
		insert   = unix.FALLOC_FL_INSERT_RANGE
		unshare  = unix.FALLOC_FL_UNSHARE_RANGE
	)
	switch {
	case mode&^(keep|punch|collapse|zero|insert|unshare) != 0:
		return unix.EOPNOTSUPP
	case mode&punch != 0 && mode&zero != 0:
		return unix.EOPNOTSUPP
	case mode&punch != 0 && mode&keep == 0:
		return unix.EOPNOTSUPP
	case mode&collapse != 0 && mode != collapse,
		mode&insert != 0 && mode != insert,
		mode&unshare != 0 && mode&^(unshare|keep) != 0:
		return unix.EINVAL
	}
	return nil
}

// Fsync makes the file's data and attributes durable, or with datasync only what is needed to
// read the data (fsync(2), fdatasync(2)).
//
// Errors: EBADF for an O_PATH file; EIO, ENOSPC.
func (f *File) Fsync(ctx context.Context, datasync bool) error {
	switch {
	case f.handle != nil:
		return f.path.blame("sync", f.handle.Fsync(ctx, datasync))
	case f.dir != nil:
		return f.path.blame("sync", f.dir.Fsync(ctx, datasync))
	}
	return unix.EBADF
}
