package syscall

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Link gives the file at oldPath the name newPath, too, as link(2) does. A
// symbolic link is not followed.
func (t *Task) Link(oldPath, newPath string) error {
	return t.Linkat(unix.AT_FDCWD, oldPath, unix.AT_FDCWD, newPath, 0)
}

// Linkat is linkat(2) with AT_SYMLINK_FOLLOW and AT_EMPTY_PATH. With the latter oldDirfd must
// have been opened by the caller with the credentials it has now, or the caller be root.
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
	if walk&vfs.WalkEmpty != 0 && oldDirfd != unix.AT_FDCWD && !strings.HasPrefix(oldPath, "/") {
		if err := t.mayLinkFrom(oldDirfd, fs.view.Cred()); err != nil {
			return err
		}
	}
	oldBase, err := t.base(oldDirfd, oldPath)
	if err != nil {
		return err
	}
	defer oldBase.put()
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

// mayLinkFrom checks AT_EMPTY_PATH of linkat(2), which holds whether the path is empty or
// not (fs/namei.c: path_init, LOOKUP_LINKAT_EMPTY).
//
// Errors: EBADF; ENOENT unless root or fd was opened with the very credentials of the caller.
func (t *Task) mayLinkFrom(fd int, cred *vfs.Cred) error {
	f, err := t.fds.getRaw(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	if f.Cred() != cred && cred.EUID != 0 {
		return unix.ENOENT
	}
	return nil
}
