package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Write writes p at the file offset, or at the end of file with O_APPEND, as
// write(2) does. It returns fewer bytes than len(p) only if an error stopped it
// on the way.
//
// Errors: EBADF; EFBIG; ENOSPC; EIO.
func (t *Task) Write(fd int, p []byte) (int, error) {
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	return moved(t.use(f).Write(context.Background(), cut(p)))
}

// Pwrite64 writes p at byte offset off, as pwrite(2) does. On a file opened
// with O_APPEND it appends, whatever off is (BUGS in pwrite(2)).
//
// Errors: EINVAL for a negative offset; EBADF; ESPIPE; EFBIG; ENOSPC; EIO.
func (t *Task) Pwrite64(fd int, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	return moved(t.use(f).WriteAt(context.Background(), cut(p), off))
}

// use puts f into the hands of the process: what it may do to the set-id bits goes by its
// credentials, not by those of the opener.
func (t *Task) use(f *vfs.File) vfs.Use { return vfs.Use{File: f, Cred: t.currentCred()} }
