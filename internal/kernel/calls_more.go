package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls beside the everyday ones: attributes with names, locks, copies, advice.

func (t *Task) Openat2(dirfd int, path string, how *unix.OpenHow, size int) (int, error) {
	// What lies behind the structure is zero.
	var buf [maxOpenHow]byte
	*(*unix.OpenHow)(unsafe.Pointer(&buf)) = *how
	if size > len(buf) {
		return -1, unix.E2BIG
	}
	return on(t, func() (int, error) {
		p, err := unix.BytePtrFromString(path)
		if err != nil {
			return -1, err
		}
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&buf)), uintptr(size), 0, 0)
		return result(fd, e)
	})
}

// maxOpenHow is the largest struct open_how that Linux looks at, in bytes: a page
// (openat2(2)).
const maxOpenHow = 4096

// result makes what Syscall returns a number and an error.
func result(n uintptr, e unix.Errno) (int, error) {
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

func (t *Task) CloseRange(first, last uint, flags uint) error {
	return t.do(func() error { return unix.CloseRange(first, last, flags) })
}

func (t *Task) FcntlFlock(fd, cmd int, lk *unix.Flock_t) error {
	return t.do(func() error { return unix.FcntlFlock(uintptr(fd), cmd, lk) })
}

func (t *Task) Flock(fd, how int) error {
	return t.do(func() error { return unix.Flock(fd, how) })
}

// Ioctl gives the kernel more room than the int that arg holds, for requests that
// fill in a structure. Those that take a descriptor get it by value.
func (t *Task) Ioctl(fd int, req uint, arg *int32) error {
	return t.do(func() error {
		var room [4096]byte
		p := uintptr(unsafe.Pointer(&room))
		switch {
		case arg == nil:
			p = 0
		case req == unix.FICLONE:
			p = uintptr(*arg)
		default:
			*(*int32)(unsafe.Pointer(&room)) = *arg
		}
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), p)
		if e != 0 {
			return e
		}
		if arg != nil && req != unix.FICLONE {
			*arg = *(*int32)(unsafe.Pointer(&room))
		}
		return nil
	})
}

func (t *Task) Preadv2(fd int, iov [][]byte, off int64, flags int) (int, error) {
	return on(t, func() (int, error) { return unix.Preadv2(fd, iov, off, flags) })
}

func (t *Task) Pwritev2(fd int, iov [][]byte, off int64, flags int) (int, error) {
	return on(t, func() (int, error) { return unix.Pwritev2(fd, iov, off, flags) })
}

func (t *Task) CopyFileRange(inFd int, inOff *int64, outFd int, outOff *int64, n int, flags int) (int, error) {
	return on(t, func() (int, error) { return unix.CopyFileRange(inFd, inOff, outFd, outOff, n, flags) })
}

func (t *Task) Sendfile(outFd, inFd int, off *int64, n int) (int, error) {
	return on(t, func() (int, error) { return unix.Sendfile(outFd, inFd, off, n) })
}

func (t *Task) Getdents(fd int, buf []byte) (int, error) {
	return on(t, func() (int, error) {
		var p unsafe.Pointer
		if len(buf) > 0 {
			p = unsafe.Pointer(&buf[0])
		}
		n, _, e := unix.Syscall(unix.SYS_GETDENTS, uintptr(fd), uintptr(p), uintptr(len(buf)))
		return result(n, e)
	})
}

func (t *Task) SyncFileRange(fd int, off, n int64, flags int) error {
	return t.do(func() error { return unix.SyncFileRange(fd, off, n, flags) })
}

func (t *Task) Fadvise64(fd int, off, n int64, advice int) error {
	return t.do(func() error { return unix.Fadvise(fd, off, n, advice) })
}

func (t *Task) Readahead(fd int, off int64, n int) error {
	return t.do(func() error { return raw(unix.SYS_READAHEAD, fd, int(off), n) })
}

func (t *Task) Statx(dirfd int, path string, flags int, mask uint32, stx *unix.Statx_t) error {
	return t.do(func() error { return unix.Statx(dirfd, path, flags, int(mask), stx) })
}

func (t *Task) Utime(path string, times *unix.Utimbuf) error {
	return t.do(func() error { return unix.Utime(path, times) })
}

func (t *Task) Futimesat(dirfd int, path string, tv *[2]unix.Timeval) error {
	return t.do(func() error { return rawTimevals(dirfd, &path, tv) })
}

func (t *Task) Futimes(fd int, tv *[2]unix.Timeval) error {
	return t.do(func() error { return rawTimevals(fd, nil, tv) })
}

// rawTimevals is futimesat(2) with and without a path.
func rawTimevals(dirfd int, path *string, tv *[2]unix.Timeval) error {
	var p *byte
	if path != nil {
		var err error
		if p, err = unix.BytePtrFromString(*path); err != nil {
			return err
		}
	}
	_, _, e := unix.Syscall(unix.SYS_FUTIMESAT, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(tv)))
	if e != 0 {
		return e
	}
	return nil
}

func (t *Task) Getxattr(path, attr string, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Getxattr(path, attr, buf) })
}

func (t *Task) Lgetxattr(path, attr string, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Lgetxattr(path, attr, buf) })
}

func (t *Task) Fgetxattr(fd int, attr string, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Fgetxattr(fd, attr, buf) })
}

func (t *Task) Setxattr(path, attr string, value []byte, flags int) error {
	return t.do(func() error { return unix.Setxattr(path, attr, value, flags) })
}

func (t *Task) Lsetxattr(path, attr string, value []byte, flags int) error {
	return t.do(func() error { return unix.Lsetxattr(path, attr, value, flags) })
}

func (t *Task) Fsetxattr(fd int, attr string, value []byte, flags int) error {
	return t.do(func() error { return unix.Fsetxattr(fd, attr, value, flags) })
}

func (t *Task) Listxattr(path string, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Listxattr(path, buf) })
}

func (t *Task) Llistxattr(path string, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Llistxattr(path, buf) })
}

func (t *Task) Flistxattr(fd int, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Flistxattr(fd, buf) })
}

func (t *Task) Removexattr(path, attr string) error {
	return t.do(func() error { return unix.Removexattr(path, attr) })
}

func (t *Task) Lremovexattr(path, attr string) error {
	return t.do(func() error { return unix.Lremovexattr(path, attr) })
}

func (t *Task) Fremovexattr(fd int, attr string) error {
	return t.do(func() error { return unix.Fremovexattr(fd, attr) })
}

func (t *Task) Chroot(path string) error {
	return t.do(func() error { return unix.Chroot(path) })
}
