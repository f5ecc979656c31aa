package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Readlink puts the target of the symbolic link path into buf, without a final
// NUL, and returns its length in bytes, as readlink(2) does. What does not fit
// is left out.
func (t *Task) Readlink(path string, buf []byte) (int, error) {
	return t.Readlinkat(unix.AT_FDCWD, path, buf)
}

// Readlinkat is readlinkat(2). "" names the file of dirfd.
//
// Errors: EINVAL for an empty buffer or a file that is no symbolic link;
// ENOENT if path is "" and dirfd's file is no symbolic link; those of a walk.
func (t *Task) Readlinkat(dirfd int, path string, buf []byte) (n int, err error) {
	if len(buf) == 0 {
		return 0, unix.EINVAL
	}
	err = t.withPath(dirfd, path, vfs.WalkEmpty, func(_ *vfs.View, p vfs.Path) error {
		if _, ok := p.Inode().(vfs.Symlink); !ok {
			if path == "" {
				return unix.ENOENT
			}
			return unix.EINVAL
		}
		target, err := vfs.Readlink(context.Background(), p)
		n = copy(buf, target)
		return err
	})
	return n, err
}
