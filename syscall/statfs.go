package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Statfs fills st with the figures of the file system that holds path, as
// statfs(2) does; f_flags carries the ST_* bits of the mount.
func (t *Task) Statfs(path string, st *unix.Statfs_t) error {
	return t.withPath(unix.AT_FDCWD, path, vfs.WalkFollow, func(_ *vfs.View, p vfs.Path) error {
		return statfs(p, st)
	})
}

// Fstatfs is Statfs of an open file; O_PATH descriptors will do.
//
// Errors: EBADF.
func (t *Task) Fstatfs(fd int, st *unix.Statfs_t) error {
	f, err := t.fds.getRaw(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	return statfs(f.Path(), st)
}

func statfs(p vfs.Path, st *unix.Statfs_t) error {
	s, err := vfs.Statfs(context.Background(), p)
	if err == nil {
		*st = s
	}
	return err
}
