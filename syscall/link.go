package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Link gives the file at oldPath the name newPath, too, as link(2) does. A
// symbolic link is not followed.
func (t *Task) Link(oldPath, newPath string) error {
	return t.Linkat(unix.AT_FDCWD, oldPath, unix.AT_FDCWD, newPath, 0)
}

// Linkat is linkat(2) with AT_SYMLINK_FOLLOW and AT_EMPTY_PATH. The latter is for
// root, as before Linux 6.10, which lets a descriptor's opener use it, too.
//
// Errors: EINVAL for other flags; EPERM for a directory; EEXIST; EXDEV between
// mounts; ENOENT for a file without a name, O_TMPFILE excepted; EMLINK; EROFS;
// EACCES; those of a walk.
func (t *Task) Linkat(oldDirfd int, oldPath string, newDirfd int, newPath string, flags int) error {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	var walk vfs.WalkFlags
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		walk |= vfs.WalkFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		walk |= vfs.WalkEmpty
	}
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	if oldPath == "" && walk&vfs.WalkEmpty == 0 {
		return unix.ENOENT
	}
	if err := getnameEmpty(oldPath); err != nil {
		return err
	}
	oldBase, err := t.base(oldDirfd, oldPath)
	if err != nil {
		return err
	}
	defer oldBase.put()
	if oldPath == "" && oldBase.file != nil && fs.view.Cred().EUID != 0 {
		return unix.ENOENT
	}
	newBase, err := t.newBase(newDirfd, newPath)
	if err != nil {
		// The old path is walked before the new one is looked at.
		p, walkErr := fs.view.Walk(context.Background(), oldBase.at, oldPath, walk)
		if walkErr != nil {
			return walkErr
		}
		p.Put()
		return err
	}
	defer newBase.put()
	return fs.view.LinkAt(context.Background(), oldBase.at, oldPath, newBase.at, newPath, walk)
}
