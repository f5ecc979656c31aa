package vfs

import (
	"context"
	"math"

	"golang.org/x/sys/unix"
)

// copyBuffer is how many bytes a copy between files moves in one step.
const copyBuffer = 256 << 10

// CopyFileRange copies up to n bytes from src at *srcOff to dst at *dstOff, as copy_file_range(2) does, and advances the
// offsets, or the positions of the files where they are nil. It ends early at the end of src. The data passes through memory: nothing is shared.
//
// Errors: EISDIR; EINVAL for other files that are not regular, negative offsets and overlapping ranges of
// one file; EBADF without the right access modes, and for O_APPEND; EXDEV between mounts; EOVERFLOW for a negative offset that n
// makes positive; EFBIG; those of reading and writing.
//
// Preconditions:
//   - n >= 0.
func CopyFileRange(ctx context.Context, cred *Cred, src *File, srcOff *int64, dst *File, dstOff *int64, n int64) (int64, error) {
	from, to := src.offset(srcOff), dst.offset(dstOff)
	switch {
	case src.path.dentry.isDir() || dst.path.dentry.isDir():
		return 0, unix.EISDIR
	case src.path.dentry.kind != unix.S_IFREG || dst.path.dentry.kind != unix.S_IFREG:
		return 0, unix.EINVAL
	case !src.Readable() || !dst.Writable() || dst.Flags()&unix.O_APPEND != 0:
		return 0, unix.EBADF
	case src.path.mnt != dst.path.mnt:
		return 0, unix.EXDEV
	case uint64(from)+uint64(n) < uint64(from) || uint64(to)+uint64(n) < uint64(to):
		return 0, unix.EOVERFLOW
	case from < 0 || to < 0:
		return 0, unix.EINVAL
	case to == math.MaxInt64:
		return 0, unix.EFBIG
	}
	a, err := src.path.dentry.inode.Getattr(ctx, unix.STATX_SIZE)
	if err != nil {
		return 0, err
	}
	n = min(n, max(a.Size-from, 0), math.MaxInt64-to)
	if src.path.dentry.inode == dst.path.dentry.inode && to+n > from && to < from+n {
		return 0, unix.EINVAL
	}
	done, err := transfer(ctx, Use{File: dst, Cred: cred}, src, from, to, n)
	src.advance(srcOff, from+done)
	dst.advance(dstOff, to+done)
	return done, err
}

// Sendfile copies up to n bytes from src at *off to the position of dst, as sendfile(2) does between regular files. It
// advances the position of dst, and *off or, if that is nil, the position of src.
//
// Errors: EBADF without the right access modes; EINVAL for a negative offset or one past every limit, a source that is not regular, and dst
// with O_APPEND; those of reading and writing.
//
// Preconditions:
//   - n >= 0.
func Sendfile(ctx context.Context, cred *Cred, dst, src *File, off *int64, n int64) (int64, error) {
	from, to := src.offset(off), dst.offset(nil)
	switch {
	case !src.Readable():
		return 0, unix.EBADF
	case from < 0 || from > math.MaxInt64-n:
		return 0, unix.EINVAL
	case !dst.Writable():
		return 0, unix.EBADF
	case dst.Flags()&unix.O_APPEND != 0 || to > math.MaxInt64-n:
		return 0, unix.EINVAL
	case n == 0:
		return 0, nil
	case src.handle == nil:
		return 0, unix.EINVAL
	}
	done, err := transfer(ctx, Use{File: dst, Cred: cred}, src, from, to, n)
	src.advance(off, from+done)
	dst.advance(nil, to+done)
	return done, err
}

// transfer copies n bytes of src at byte offset from to dst at byte offset to, less if src
// ends. An error counts only if nothing has been copied.
func transfer(ctx context.Context, dst Use, src *File, from, to, n int64) (done int64, err error) {
	n = min(n, maxRW)
	if n == 0 {
		return 0, nil
	}
	buf := make([]byte, min(n, copyBuffer))
	for done < n && err == nil {
		var got, put int
		got, err = src.ReadAt(ctx, buf[:min(n-done, copyBuffer)], from+done)
		if got == 0 {
			break
		}
		put, err = dst.WriteAt(ctx, buf[:got], to+done)
		done += int64(put)
		if put < got {
			break
		}
	}
	if done > 0 {
		return done, nil
	}
	return 0, err
}

// offset returns *off or, if off is nil, the position.
func (f *File) offset(off *int64) int64 {
	if off != nil {
		return *off
	}
	f.posMu.Lock()
	defer f.posMu.Unlock()
	return f.pos
}

// advance sets what offset has read. As on Linux, nothing keeps others from moving the
// position between the two.
func (f *File) advance(off *int64, to int64) {
	if off != nil {
		*off = to
		return
	}
	f.posMu.Lock()
	defer f.posMu.Unlock()
	f.pos = to
}
