package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Unlink removes a name that is not a directory's, as unlink(2) does. The file
// lives on while it is open or has another name.
//
// Errors: those of Unlinkat.
func (t *Task) Unlink(path string) error { return t.Unlinkat(unix.AT_FDCWD, path, 0) }

// Rmdir removes an empty directory, as rmdir(2) does.
//
// Errors: those of Unlinkat.
func (t *Task) Rmdir(path string) error {
	return t.Unlinkat(unix.AT_FDCWD, path, unix.AT_REMOVEDIR)
}

// Unlinkat is unlinkat(2): Unlink, or Rmdir with AT_REMOVEDIR.
//
// Errors: EINVAL for other flags, and for "." with AT_REMOVEDIR; EISDIR
// (Unlink) or ENOTDIR (Rmdir) by type; ENOTEMPTY; EBUSY for a mount point;
// EPERM and EACCES in sticky directories; EROFS; those of a walk.
func (t *Task) Unlinkat(dirfd int, path string, flags int) error {
	if flags&^unix.AT_REMOVEDIR != 0 {
		return unix.EINVAL
	}
	return t.withBase(dirfd, path, func(v *vfs.View, at vfs.Path) error {
		if flags&unix.AT_REMOVEDIR != 0 {
			return v.RmdirAt(context.Background(), at, path)
		}
		return v.UnlinkAt(context.Background(), at, path)
	})
}
