package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// openFlags are the flags that open(2) knows; it ignores all other bits
// (fcntl.h: VALID_OPEN_FLAGS).
const openFlags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC |
	unix.O_APPEND | unix.O_NONBLOCK | unix.O_SYNC | unix.O_DSYNC | unix.O_ASYNC | unix.O_DIRECT |
	unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE

// pathFlags are the flags that mean something beside O_PATH.
const pathFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// tmpfileBit is __O_TMPFILE: O_TMPFILE without the O_DIRECTORY in it.
const tmpfileBit = unix.O_TMPFILE &^ unix.O_DIRECTORY

// Open opens path as open(2) does and returns the lowest free descriptor.
func (t *Task) Open(path string, flags int, mode uint32) (fd int, err error) {
	return t.Openat(unix.AT_FDCWD, path, flags, mode)
}

// Creat is creat(2): Open with O_CREAT|O_WRONLY|O_TRUNC.
func (t *Task) Creat(path string, mode uint32) (fd int, err error) {
	return t.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, mode)
}

// Openat opens path as openat(2) does.
//
// Errors: EINVAL for O_DIRECTORY with O_CREAT and for O_TMPFILE without write
// access; EMFILE at RLIMIT_NOFILE, before the path is looked at; those of
// vfs.View.OpenAt.
func (t *Task) Openat(dirfd int, path string, flags int, mode uint32) (fd int, err error) {
	flags &= openFlags
	if flags&unix.O_PATH != 0 {
		flags &= pathFlags
	}
	if err := checkOpenFlags(flags); err != nil {
		return -1, err
	}
	return t.openat(dirfd, path, vfs.OpenHow{Flags: flags, Mode: mode & 07777})
}

// openat is what openat(2) and openat2(2) do once the flags are good (fs/open.c: do_sys_openat2).
func (t *Task) openat(dirfd int, path string, how vfs.OpenHow) (fd int, err error) {
	cloexec := how.Flags&unix.O_CLOEXEC != 0
	how.Flags &^= unix.O_CLOEXEC
	if err := getname(path); err != nil {
		return -1, err
	}
	fd, err = t.fds.reserve(0)
	if err != nil {
		return -1, err
	}
	var f *vfs.File
	start := path
	if how.Resolve&vfs.WalkInRoot != 0 {
		start = "." // dirfd counts for absolute paths, too
	}
	err = t.withStart(dirfd, start, func(v *vfs.View, at vfs.Path) error {
		f, err = v.OpenAt(context.Background(), at, path, how)
		return err
	})
	if err == nil {
		if err = t.fds.install(fd, f, cloexec); err == nil {
			return fd, nil
		}
		putFile(f)
	}
	t.fds.unreserve(fd)
	return -1, err
}

// checkOpenFlags refuses impossible combinations (fs/open.c: build_open_flags).
func checkOpenFlags(flags int) error {
	switch {
	case flags&(unix.O_DIRECTORY|unix.O_CREAT) == unix.O_DIRECTORY|unix.O_CREAT:
		return unix.EINVAL
	case flags&tmpfileBit == 0:
		return nil
	case flags&unix.O_DIRECTORY == 0: // kernels without O_TMPFILE rely on the pair
		return unix.EINVAL
	case flags&(unix.O_WRONLY|unix.O_RDWR) == 0:
		return unix.EINVAL
	}
	return nil
}
