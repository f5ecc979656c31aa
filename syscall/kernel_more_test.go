package syscall_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func (k *kernel) Openat2(dirfd int, path string, how *unix.OpenHow, size int) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	buf := make([]byte, max(size, int(unsafe.Sizeof(*how))))
	*(*unix.OpenHow)(unsafe.Pointer(&buf[0])) = *how
	return k.fd(func() (int, error) {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&buf[0])), uintptr(size), 0, 0)
		return int(fd), errno(0, 0, e)
	})
}

func (k *kernel) Statx(dirfd int, path string, flags int, mask uint32, stx *unix.Statx_t) error {
	return k.err(func() error { return unix.Statx(dirfd, path, flags, int(mask), stx) })
}

func (k *kernel) Preadv2(fd int, iov [][]byte, off int64, flags int) (int, error) {
	return k.num(func() (int, error) { return unix.Preadv2(fd, iov, off, flags) })
}

func (k *kernel) Pwritev2(fd int, iov [][]byte, off int64, flags int) (int, error) {
	return k.num(func() (int, error) { return unix.Pwritev2(fd, iov, off, flags) })
}

func (k *kernel) CopyFileRange(inFd int, inOff *int64, outFd int, outOff *int64, n int, flags int) (int, error) {
	return k.num(func() (int, error) { return unix.CopyFileRange(inFd, inOff, outFd, outOff, n, flags) })
}

func (k *kernel) Sendfile(outFd, inFd int, off *int64, n int) (int, error) {
	return k.num(func() (int, error) { return unix.Sendfile(outFd, inFd, off, n) })
}

func (k *kernel) CloseRange(first, last, flags uint) error {
	return k.err(func() error { return unix.CloseRange(first, last, flags) })
}

func (k *kernel) SyncFileRange(fd int, off, n int64, flags int) error {
	return k.err(func() error { return unix.SyncFileRange(fd, off, n, flags) })
}

func (k *kernel) Fadvise64(fd int, off, n int64, advice int) error {
	return k.err(func() error { return unix.Fadvise(fd, off, n, advice) })
}

func (k *kernel) Readahead(fd int, off int64, n int) error {
	return k.err(func() error {
		return errno(unix.Syscall(unix.SYS_READAHEAD, uintptr(fd), uintptr(off), uintptr(n)))
	})
}

func (k *kernel) Utime(path string, times *unix.Utimbuf) error {
	return k.err(func() error { return unix.Utime(path, times) })
}

func (k *kernel) Utimes(path string, tv *[2]unix.Timeval) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	return k.err(func() error {
		return errno(unix.Syscall(unix.SYS_UTIMES, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(tv)), 0))
	})
}

func (k *kernel) Futimesat(dirfd int, path string, tv *[2]unix.Timeval) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	return k.err(func() error {
		return errno(unix.Syscall(unix.SYS_FUTIMESAT, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(tv))))
	})
}

func (k *kernel) Futimes(fd int, tv *[2]unix.Timeval) error {
	return k.err(func() error {
		return errno(unix.Syscall(unix.SYS_FUTIMESAT, uintptr(fd), 0, uintptr(unsafe.Pointer(tv))))
	})
}

func (k *kernel) Getdents(fd int, buf []byte) (int, error) {
	return k.num(func() (int, error) {
		n, _, e := unix.Syscall(unix.SYS_GETDENTS, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		return int(n), errno(0, 0, e)
	})
}

func (k *kernel) Ioctl(fd int, req uint, arg *int32) error {
	return k.err(func() error {
		return errno(unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(arg))))
	})
}

func (k *kernel) Chroot(path string) error { return k.err(func() error { return unix.Chroot(path) }) }

func (k *kernel) PivotRoot(newRoot, putOld string) error {
	return k.err(func() error { return unix.PivotRoot(newRoot, putOld) })
}

func (k *kernel) Statfs(path string, st *unix.Statfs_t) error {
	return k.err(func() error { return unix.Statfs(path, st) })
}

func (k *kernel) Syncfs(fd int) error { return k.err(func() error { return unix.Syncfs(fd) }) }

func (k *kernel) Flock(fd, how int) error { return k.err(func() error { return unix.Flock(fd, how) }) }

func (k *kernel) FcntlFlock(fd, cmd int, lk *unix.Flock_t) error {
	return k.err(func() error { return unix.FcntlFlock(uintptr(fd), cmd, lk) })
}

func (k *kernel) Getxattr(path, attr string, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Getxattr(path, attr, buf) })
}

func (k *kernel) Lgetxattr(path, attr string, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Lgetxattr(path, attr, buf) })
}

func (k *kernel) Fgetxattr(fd int, attr string, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Fgetxattr(fd, attr, buf) })
}

func (k *kernel) Setxattr(path, attr string, value []byte, flags int) error {
	return k.err(func() error { return unix.Setxattr(path, attr, value, flags) })
}

func (k *kernel) Lsetxattr(path, attr string, value []byte, flags int) error {
	return k.err(func() error { return unix.Lsetxattr(path, attr, value, flags) })
}

func (k *kernel) Fsetxattr(fd int, attr string, value []byte, flags int) error {
	return k.err(func() error { return unix.Fsetxattr(fd, attr, value, flags) })
}

func (k *kernel) Listxattr(path string, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Listxattr(path, buf) })
}

func (k *kernel) Llistxattr(path string, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Llistxattr(path, buf) })
}

func (k *kernel) Flistxattr(fd int, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Flistxattr(fd, buf) })
}

func (k *kernel) Removexattr(path, attr string) error {
	return k.err(func() error { return unix.Removexattr(path, attr) })
}

func (k *kernel) Lremovexattr(path, attr string) error {
	return k.err(func() error { return unix.Lremovexattr(path, attr) })
}

func (k *kernel) Fremovexattr(fd int, attr string) error {
	return k.err(func() error { return unix.Fremovexattr(fd, attr) })
}
