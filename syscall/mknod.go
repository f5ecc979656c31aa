package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Mknod makes a file of the type in mode, as mknod(2) does; no type means a
// regular file. dev is a device number as unix.Mkdev makes it.
func (t *Task) Mknod(path string, mode uint32, dev uint64) error {
	return t.Mknodat(unix.AT_FDCWD, path, mode, dev)
}

// Mknodat is mknodat(2).
//
// Errors: EPERM for a directory, for a device if the caller is not root, and
// where the file system has no special files; EINVAL for other types; EEXIST;
// EROFS; EACCES; those of a walk.
func (t *Task) Mknodat(dirfd int, path string, mode uint32, dev uint64) error {
	switch mode & unix.S_IFMT {
	case 0, unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
	case unix.S_IFDIR:
		return unix.EPERM
	default:
		return unix.EINVAL
	}
	return t.withBase(dirfd, path, func(v *vfs.View, at vfs.Path) error {
		return v.MknodAt(context.Background(), at, path, mode, dev)
	})
}
