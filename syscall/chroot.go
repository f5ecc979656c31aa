package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Chroot makes path the root directory of the process, as chroot(2) does. The working
// directory stays.
//
// Errors: ENOTDIR; EACCES without search permission; EPERM unless root; those of a walk.
func (t *Task) Chroot(path string) error {
	return t.withPath(unix.AT_FDCWD, path, vfs.WalkFollow|vfs.WalkDirectory, func(v *vfs.View, p vfs.Path) error {
		if err := vfs.Access(context.Background(), v.Cred(), p, unix.X_OK); err != nil {
			return err
		}
		if v.Cred().EUID != 0 {
			return unix.EPERM
		}
		return t.setFs(func(v *vfs.View) error {
			v.SetRoot(p)
			return nil
		})
	})
}

// PivotRoot is pivot_root(2), which nobody may: the root of a namespace stays in place.
//
// Errors: EPERM.
func (t *Task) PivotRoot(newRoot, putOld string) error { return unix.EPERM }
