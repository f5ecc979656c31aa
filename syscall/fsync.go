package syscall

import (
	"context"

	"cloister/vfs"
)

// Fsync makes a file's data and attributes durable, as fsync(2) does.
//
// Errors: EBADF; EINVAL for a special file; EIO; ENOSPC.
func (t *Task) Fsync(fd int) error {
	return t.withFile(fd, func(f *vfs.File) error { return f.Fsync(context.Background(), false) })
}

// Fdatasync makes a file's data durable and those attributes that are needed to
// read it, as fdatasync(2) does.
//
// Errors: those of Fsync.
func (t *Task) Fdatasync(fd int) error {
	return t.withFile(fd, func(f *vfs.File) error { return f.Fsync(context.Background(), true) })
}
