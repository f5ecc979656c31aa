package hostfs

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file makes the two calls that every walk needs itself. Those of x/sys copy each name to the heap; these copy
// it to the stack. It is the only file that uses package unsafe, and only for arguments that the kernel
// reads or fills during the call.

// statFlags are those of statx(2) for a name that is never resolved further.
const statFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// statx does statx(2) of name, one component, in fd, or of fd if name is "".
func statx(fd FD, name string, st *unix.Statx_t) error {
	var buf [maxName + 1]byte
	if len(name) >= len(buf) {
		return unix.ENAMETOOLONG
	}
	copy(buf[:], name) // the rest of buf is the NUL that ends it
	flags := statFlags
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	_, _, e := unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&buf)), uintptr(flags), statMask,
		uintptr(unsafe.Pointer(st)), 0)
	runtime.KeepAlive(&buf)
	if e != 0 {
		return e
	}
	return nil
}

// maxBeneath is the longest path that statBeneath takes, in bytes.
const maxBeneath = 511

// statBeneath does statx(2) of path below fd, without a step outside and without a link on the way.
func statBeneath(fd FD, path string, st *unix.Statx_t) error {
	var buf [maxBeneath + 1]byte
	if len(path) >= len(buf) {
		return unix.ENAMETOOLONG
	}
	copy(buf[:], path)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath}
	n, _, e := unix.Syscall6(unix.SYS_OPENAT2, uintptr(fd), uintptr(unsafe.Pointer(&buf)), uintptr(unsafe.Pointer(&how)),
		unix.SizeofOpenHow, 0, 0)
	runtime.KeepAlive(&buf)
	runtime.KeepAlive(&how)
	if e != 0 {
		return e
	}
	err := statx(FD(n), "", st)
	_ = unix.Close(int(n)) // refers to a file, wrote nothing
	return err
}
