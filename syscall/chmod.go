package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Chmod sets the permission bits of the file at path, as chmod(2) does.
func (t *Task) Chmod(path string, mode uint32) error {
	return t.Fchmodat(unix.AT_FDCWD, path, mode)
}

// Fchmodat is the system call fchmodat, which has no flags.
//
// Errors: EPERM unless the caller owns the file; EROFS; those of a walk.
func (t *Task) Fchmodat(dirfd int, path string, mode uint32) error {
	return t.Fchmodat2(dirfd, path, mode, 0)
}

// Fchmodat2 is fchmodat2(2), the call with flags.
//
// Errors: EINVAL for flags other than AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH;
// EOPNOTSUPP for a symbolic link; those of Fchmodat.
func (t *Task) Fchmodat2(dirfd int, path string, mode uint32, flags int) error {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	return t.withPath(dirfd, path, walkFlags(flags), func(v *vfs.View, p vfs.Path) error {
		return chmod(v.Cred(), p, mode)
	})
}

// Fchmod sets the permission bits of an open file, as fchmod(2) does.
//
// Errors: EBADF, also for O_PATH descriptors; EPERM; EROFS.
func (t *Task) Fchmod(fd int, mode uint32) error {
	return t.withFileCred(fd, func(cred *vfs.Cred, f *vfs.File) error {
		return chmod(cred, f.Path(), mode)
	})
}

func chmod(cred *vfs.Cred, p vfs.Path, mode uint32) error {
	return vfs.Setattr(context.Background(), cred, p, vfs.SetAttrRequest{
		SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: mode & 07777},
	})
}

// withFileCred is withFile for calls that need the caller's credentials.
func (t *Task) withFileCred(fd int, do func(cred *vfs.Cred, f *vfs.File) error) error {
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	return t.withFile(fd, func(f *vfs.File) error { return do(fs.view.Cred(), f) })
}
