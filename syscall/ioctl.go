package syscall

import (
	"context"
	"math"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// ioctl requests that x/sys lacks (asm-generic/ioctls.h, linux/fs.h).
const (
	fionclex = 0x5450
	fioclex  = 0x5451
	fionbio  = 0x5421
	fioasync = 0x5452
	fionread = 0x541B
	figetbsz = 2
)

// Ioctl does the requests of ioctl(2) that every file takes: FIOCLEX, FIONCLEX, FIONBIO and, of
// a regular file, FIONREAD; FIGETBSZ. arg is what the pointer leads to, for requests that have one.
//
// Errors: EBADF, also for O_PATH descriptors; EFAULT for a nil arg where one is needed; EOPNOTSUPP for FICLONE and
// FICLONERANGE; ENOTTY for everything else.
func (t *Task) Ioctl(fd int, req uint, arg *int32) error {
	return t.withFile(fd, func(f *vfs.File) error {
		switch req {
		case fioclex:
			return t.fds.setfd(fd, unix.FD_CLOEXEC)
		case fionclex:
			return t.fds.setfd(fd, 0)
		case unix.FICLONE, unix.FICLONERANGE:
			return unix.EOPNOTSUPP
		case fionbio, fioasync, figetbsz:
		case fionread:
			if f.Path().Kind() != unix.S_IFREG {
				return unix.ENOTTY
			}
		default:
			return unix.ENOTTY
		}
		if arg == nil {
			return unix.EFAULT
		}
		return ioctlValue(t.use(f), req, arg)
	})
}

// ioctlValue does the requests that read or write an int.
func ioctlValue(u vfs.Use, req uint, arg *int32) error {
	ctx, f := context.Background(), u.File
	switch req {
	case fionbio:
		flags := f.Flags() &^ unix.O_NONBLOCK
		if *arg != 0 {
			flags |= unix.O_NONBLOCK
		}
		return u.SetFlags(flags)
	case fionread:
		pos, err := f.Seek(ctx, 0, unix.SEEK_CUR)
		if err != nil {
			return err
		}
		a, err := vfs.Getattr(ctx, f.Path(), unix.STATX_SIZE)
		*arg = int32(a.Size - pos) // put_user cuts it to an int
		return err
	case figetbsz:
		st, err := vfs.Statfs(ctx, f.Path())
		if err == nil {
			*arg = int32(min(st.Bsize, math.MaxInt32))
		}
		return err
	}
	if *arg != 0 {
		return unix.ENOTTY // FIOASYNC: no file here sends signals
	}
	return nil
}
