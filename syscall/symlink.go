package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Symlink makes the symbolic link path that holds target, as symlink(2) does.
func (t *Task) Symlink(target, path string) error {
	return t.Symlinkat(target, unix.AT_FDCWD, path)
}

// Symlinkat is symlinkat(2).
//
// Errors: ENOENT for an empty target; ENAMETOOLONG for one of 4096 bytes or
// more; EEXIST; EROFS; EACCES; those of a walk.
func (t *Task) Symlinkat(target string, dirfd int, path string) error {
	if err := getname(target); err != nil {
		return err
	}
	return t.withBase(dirfd, path, func(v *vfs.View, at vfs.Path) error {
		return v.SymlinkAt(context.Background(), target, at, path)
	})
}
