package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Utimensat sets access time (ts[0]) and modification time (ts[1]) of the file
// at path, as utimensat(2) does; a nil ts stands for the current time, as
// tv_nsec of UTIME_NOW does, and UTIME_OMIT leaves a time as it is.
//
// Errors: EINVAL for flags other than AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH,
// and for nanoseconds of 1e9 or more; EACCES (current time) or EPERM (others)
// without the right; EROFS; those of a walk.
func (t *Task) Utimensat(dirfd int, path string, ts *[2]unix.Timespec, flags int) error {
	if bothOmitted(ts) {
		return nil // not even the path is looked at
	}
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	return t.withPath(dirfd, path, walkFlags(flags), func(v *vfs.View, p vfs.Path) error {
		return utimes(v.Cred(), p, ts)
	})
}

// Futimens sets the times of an open file, as futimens(3) does: utimensat(2)
// with a descriptor and no path.
//
// Errors: EBADF, also for O_PATH descriptors; EINVAL, EACCES, EPERM, EROFS as
// Utimensat.
func (t *Task) Futimens(fd int, ts *[2]unix.Timespec) error {
	if bothOmitted(ts) {
		return nil
	}
	return t.withFileCred(fd, func(cred *vfs.Cred, f *vfs.File) error {
		return utimes(cred, f.Path(), ts)
	})
}

func bothOmitted(ts *[2]unix.Timespec) bool {
	return ts != nil && ts[0].Nsec == unix.UTIME_OMIT && ts[1].Nsec == unix.UTIME_OMIT
}

// utimes is fs/utimes.c: vfs_utimes.
func utimes(cred *vfs.Cred, p vfs.Path, ts *[2]unix.Timespec) error {
	if ts == nil {
		ts = &[2]unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	}
	if !nsecValid(ts[0].Nsec) || !nsecValid(ts[1].Nsec) {
		return unix.EINVAL
	}
	var req vfs.SetAttrRequest
	switch ts[0].Nsec {
	case unix.UTIME_OMIT:
	case unix.UTIME_NOW:
		req.AtimeNow = true
	default:
		req.Mask |= unix.STATX_ATIME
		req.Atime = ts[0]
	}
	switch ts[1].Nsec {
	case unix.UTIME_OMIT:
	case unix.UTIME_NOW:
		req.MtimeNow = true
	default:
		req.Mask |= unix.STATX_MTIME
		req.Mtime = ts[1]
	}
	return vfs.Setattr(context.Background(), cred, p, req)
}

func nsecValid(nsec int64) bool {
	return nsec == unix.UTIME_NOW || nsec == unix.UTIME_OMIT || (nsec >= 0 && nsec < 1e9)
}
