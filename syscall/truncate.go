package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Truncate sets the size of the file at path to size bytes, as truncate(2)
// does.
//
// Errors: EINVAL for a negative size or a file that is not regular; EISDIR;
// EACCES; EROFS; EFBIG.
func (t *Task) Truncate(path string, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	return t.withPath(unix.AT_FDCWD, path, vfs.WalkFollow, func(v *vfs.View, p vfs.Path) error {
		switch p.Inode().(type) {
		case vfs.Dir:
			return unix.EISDIR
		case vfs.Regular:
		default:
			return unix.EINVAL
		}
		return vfs.Setattr(context.Background(), v.Cred(), p, vfs.SetAttrRequest{
			SetAttr: vfs.SetAttr{Mask: unix.STATX_SIZE, Size: size},
		})
	})
}

// Ftruncate sets the size of an open file to size bytes, as ftruncate(2) does.
//
// Errors: EINVAL for a negative size, a file that is not regular or not open
// for writing; EBADF; EFBIG.
func (t *Task) Ftruncate(fd int, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	return t.withFile(fd, func(f *vfs.File) error {
		return t.use(f).Truncate(context.Background(), size)
	})
}
