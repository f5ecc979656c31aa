package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Mkdir makes a directory with the permission bits mode less the umask, as
// mkdir(2) does.
func (t *Task) Mkdir(path string, mode uint32) error {
	return t.Mkdirat(unix.AT_FDCWD, path, mode)
}

// Mkdirat is mkdirat(2).
//
// Errors: EEXIST; those of a walk; EROFS; EACCES; EMLINK; ENOSPC.
func (t *Task) Mkdirat(dirfd int, path string, mode uint32) error {
	return t.withBase(dirfd, path, func(v *vfs.View, at vfs.Path) error {
		return v.MkdirAt(context.Background(), at, path, mode)
	})
}
