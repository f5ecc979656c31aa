package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Access checks whether the caller's real user may use the file at path, as
// access(2) does; mode holds R_OK, W_OK, X_OK or is F_OK.
func (t *Task) Access(path string, mode uint32) error {
	return t.Faccessat(unix.AT_FDCWD, path, mode)
}

// Faccessat is the system call faccessat, which has no flags.
//
// Errors: EINVAL for other mode bits; EACCES; EROFS; those of a walk.
func (t *Task) Faccessat(dirfd int, path string, mode uint32) error {
	return t.Faccessat2(dirfd, path, mode, 0)
}

// Faccessat2 is faccessat2(2), the call with flags.
//
// Errors: EINVAL for flags other than AT_EACCESS, AT_SYMLINK_NOFOLLOW and
// AT_EMPTY_PATH; those of Faccessat.
func (t *Task) Faccessat2(dirfd int, path string, mode uint32, flags int) error {
	if mode&^(unix.R_OK|unix.W_OK|unix.X_OK) != 0 {
		return unix.EINVAL
	}
	if flags&^(unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	check := func(v *vfs.View, p vfs.Path) error {
		if mode == unix.F_OK {
			return nil
		}
		return vfs.Access(context.Background(), v.Cred(), p, mode)
	}
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	cred := fs.view.Cred()
	if flags&unix.AT_EACCESS != 0 || (cred.RUID == cred.EUID && cred.RGID == cred.EGID) {
		return t.withPathIn(fs.view, dirfd, path, walkFlags(flags), check)
	}
	// The real user walks, too (fs/open.c: access_override_creds).
	real := copyCred(cred)
	real.EUID, real.EGID = cred.RUID, cred.RGID
	view := fs.view.Clone()
	defer view.Release()
	view.SetCred(real)
	return t.withPathIn(view, dirfd, path, walkFlags(flags), check)
}
