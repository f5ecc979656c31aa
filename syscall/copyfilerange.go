package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// CopyFileRange copies up to n bytes from inFd to outFd, as copy_file_range(2) does. The
// copy starts at *inOff and *outOff, which advance, or at the file offsets where they are nil.
//
// Errors: EBADF, also for the wrong access modes and for O_APPEND; EINVAL for
// flags other than 0, for files that are not regular and overlapping ranges of one file; EISDIR;
// EXDEV between mounts; EOVERFLOW; EFBIG; ENOSPC; EIO.
func (t *Task) CopyFileRange(inFd int, inOff *int64, outFd int, outOff *int64, n int, flags int) (int, error) {
	in, err := t.fds.get(inFd)
	if err != nil {
		return 0, err
	}
	defer putFile(in)
	out, err := t.fds.get(outFd)
	if err != nil {
		return 0, err
	}
	defer putFile(out)
	if flags != 0 || n < 0 {
		return 0, unix.EINVAL
	}
	done, err := vfs.CopyFileRange(context.Background(), t.currentCred(), in, inOff, out, outOff, int64(n))
	return int(done), err
}

// Sendfile copies up to n bytes from inFd to the file offset of outFd, as sendfile(2)
// does. The copy starts at *off, which advances, or at the file offset of inFd if off is nil.
//
// Errors: EBADF, also for the wrong access modes; EINVAL for a negative offset, a
// source that is not a regular file, and a destination with O_APPEND; EFBIG; ENOSPC; EIO.
func (t *Task) Sendfile(outFd, inFd int, off *int64, n int) (int, error) {
	in, err := t.fds.get(inFd)
	if err != nil {
		return 0, err
	}
	defer putFile(in)
	switch { // before outFd is looked at (fs/read_write.c: do_sendfile)
	case !in.Readable():
		return 0, unix.EBADF
	case n < 0 || off != nil && *off < 0:
		return 0, unix.EINVAL
	}
	out, err := t.fds.get(outFd)
	if err != nil {
		return 0, err
	}
	defer putFile(out)
	done, err := vfs.Sendfile(context.Background(), t.currentCred(), out, in, off, int64(min(n, maxRWCount)))
	return int(done), err
}
