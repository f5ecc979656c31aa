package syscall

import (
	"context"

	"cloister/vfs"
)

// Sync makes all file systems of the namespace durable. sync(2) has no result;
// the error is what it would have kept to itself.
func (t *Task) Sync() error { return t.ns.Sync(context.Background()) }

// Syncfs makes the file system that holds fd's file durable, as syncfs(2) does.
//
// Errors: EBADF; EIO; ENOSPC.
func (t *Task) Syncfs(fd int) error {
	return t.withFile(fd, func(f *vfs.File) error {
		return f.Path().Mount().FileSystem().Sync(context.Background())
	})
}
