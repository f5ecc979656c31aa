package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Chown sets owner and group of the file at path, as chown(2) does; -1 leaves
// one as it is.
func (t *Task) Chown(path string, uid, gid int) error {
	return t.Fchownat(unix.AT_FDCWD, path, uid, gid, 0)
}

// Lchown is Chown without following a link in the last component.
func (t *Task) Lchown(path string, uid, gid int) error {
	return t.Fchownat(unix.AT_FDCWD, path, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// Fchownat is fchownat(2).
//
// Errors: EINVAL for flags other than AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH;
// EPERM; EROFS; those of a walk.
func (t *Task) Fchownat(dirfd int, path string, uid, gid, flags int) error {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	return t.withPath(dirfd, path, walkFlags(flags), func(v *vfs.View, p vfs.Path) error {
		return chown(v.Cred(), p, uid, gid)
	})
}

// Fchown sets owner and group of an open file, as fchown(2) does.
//
// Errors: EBADF, also for O_PATH descriptors; EPERM; EROFS.
func (t *Task) Fchown(fd, uid, gid int) error {
	return t.withFileCred(fd, func(cred *vfs.Cred, f *vfs.File) error {
		return chown(cred, f.Path(), uid, gid)
	})
}

func chown(cred *vfs.Cred, p vfs.Path, uid, gid int) error {
	var sa vfs.SetAttr
	// uid_t and gid_t have 32 bits; what is above them does not count.
	if id := uint32(uid); id != noID {
		sa.Mask |= unix.STATX_UID
		sa.UID = id
	}
	if id := uint32(gid); id != noID {
		sa.Mask |= unix.STATX_GID
		sa.GID = id
	}
	return vfs.Setattr(context.Background(), cred, p, vfs.SetAttrRequest{SetAttr: sa, Chown: true})
}
