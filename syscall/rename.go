package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Rename moves oldPath to newPath, as rename(2) does, replacing what is there.
func (t *Task) Rename(oldPath, newPath string) error {
	return t.Renameat2(unix.AT_FDCWD, oldPath, unix.AT_FDCWD, newPath, 0)
}

// Renameat is renameat(2).
func (t *Task) Renameat(oldDirfd int, oldPath string, newDirfd int, newPath string) error {
	return t.Renameat2(oldDirfd, oldPath, newDirfd, newPath, 0)
}

// Renameat2 is renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE.
// RENAME_WHITEOUT is for stacking file systems, not for programs.
//
// Errors: EINVAL for other flags, for both, and for a directory moved below
// itself; EXDEV between mounts; EBUSY for mount points, "." and ".."; EEXIST
// with RENAME_NOREPLACE; ENOTEMPTY, EISDIR, ENOTDIR by the target's kind; EPERM
// and EACCES in sticky directories; EROFS; those of a walk.
func (t *Task) Renameat2(oldDirfd int, oldPath string, newDirfd int, newPath string, flags uint32) error {
	const both = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE
	if flags&^both != 0 || flags == both {
		return unix.EINVAL
	}
	return t.withBase(oldDirfd, oldPath, func(v *vfs.View, oldAt vfs.Path) error {
		b, err := t.newBase(newDirfd, newPath)
		if err != nil {
			// The old path is walked before the new one is looked at.
			dir, _, walkErr := v.WalkParent(context.Background(), oldAt, oldPath, 0)
			if walkErr != nil {
				return walkErr
			}
			dir.Put()
			return err
		}
		defer b.put()
		return v.RenameAt(context.Background(), oldAt, oldPath, b.at, newPath, flags)
	})
}

// newBase is base for the second path of a call.
func (t *Task) newBase(dirfd int, path string) (base, error) {
	if err := getname(path); err != nil {
		return base{}, err
	}
	return t.base(dirfd, path)
}
