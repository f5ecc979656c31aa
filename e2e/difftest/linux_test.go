package difftest

import (
	"bytes"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// largeFile is O_LARGEFILE, which only the kernel shows.
const largeFile = 0o100000

// fd is the number of the program's descriptor n on this thread.
func (t *thread) fd(n int) uintptr {
	if n < 0 || n >= len(t.real) {
		return uintptr(n)
	}
	return uintptr(t.real[n])
}

// opened notes a new descriptor.
func (t *thread) opened(fd int, e unix.Errno) (int, unix.Errno) {
	if e != 0 {
		return -1, e
	}
	n := t.norm[fd]
	t.open[n] = true
	return n, 0
}

func (t *thread) isDir(n int) bool {
	_, e := sys(unix.SYS_FSTAT, t.fd(n), uintptr(unsafe.Pointer(&t.st)))
	return e == 0 && t.st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// isNameless reports whether the file of a descriptor has lost its name.
func (t *thread) isNameless(n int) bool {
	buf := make([]byte, 8192)
	size, err := unix.Readlinkat(hostRoot, fmt.Sprintf("proc/thread-self/fd/%d", t.fd(n)), buf)
	return err == nil && bytes.HasSuffix(buf[:size], []byte(" (deleted)"))
}

// A fileID is the device and inode of a file.
type fileID struct{ dev, ino uint64 }

func (t *thread) fstat(n int) (fileID, unix.Errno) {
	_, e := sys(unix.SYS_FSTAT, t.fd(n), uintptr(unsafe.Pointer(&t.st)))
	return fileID{t.st.Dev, t.st.Ino}, e
}

// stat fills t.st, following links.
func (t *thread) stat(p *pathname) (int, unix.Errno) { return t.statAt(unix.AT_FDCWD, p) }

func (t *thread) statAt(fd int, p *pathname) (int, unix.Errno) {
	return sys(unix.SYS_NEWFSTATAT, t.fd(fd), z(p), uintptr(unsafe.Pointer(&t.st)), 0)
}

func z(p *pathname) uintptr { return uintptr(unsafe.Pointer(&p.z[0])) }

// iovecs makes s.iov of the sizes in o, filled with the pattern for writing.
func (s *scratch) iovecs(o *op) {
	s.iov = s.iov[:0]
	buf := s.buf
	for _, n := range o.iov {
		s.iov = append(s.iov, buf[:n:n])
		buf = buf[n:]
	}
	if o.call == callWritev {
		copy(s.buf, pattern[o.flags:])
	}
}

// call makes one call on the kernel. Everything whose address is passed lives
// on the heap, and longer than the call.
func (t *thread) call(o *op, s *scratch) (int, unix.Errno) {
	buf := uintptr(unsafe.Pointer(&s.buf[0]))
	flags, mode := uintptr(o.flags), uintptr(o.mode)
	switch o.call {
	case callOpenat:
		return t.opened(sys(unix.SYS_OPENAT, t.fd(o.fd), z(o.path), flags, mode))
	case callClose:
		n, e := sys(unix.SYS_CLOSE, t.fd(o.fd))
		if e == 0 {
			t.open[o.fd] = false
		}
		return n, e
	case callDup:
		return t.opened(sys(unix.SYS_DUP, t.fd(o.fd)))
	case callDup3:
		return t.opened(sys(unix.SYS_DUP3, t.fd(o.fd), t.fd(o.fd2), flags))
	case callFcntl:
		return t.fcntl(o)
	case callRead:
		return sys(unix.SYS_READ, t.fd(o.fd), buf, uintptr(o.n))
	case callPread:
		return sys(unix.SYS_PREAD64, t.fd(o.fd), buf, uintptr(o.n), uintptr(o.off))
	case callWrite:
		return sys(unix.SYS_WRITE, t.fd(o.fd), uintptr(unsafe.Pointer(&pattern[o.flags])), uintptr(o.n))
	case callPwrite:
		return sys(unix.SYS_PWRITE64, t.fd(o.fd), uintptr(unsafe.Pointer(&pattern[o.flags])), uintptr(o.n), uintptr(o.off))
	case callReadv, callWritev:
		return t.vector(o, s)
	case callLseek:
		return sys(unix.SYS_LSEEK, t.fd(o.fd), uintptr(o.off), flags)
	case callTruncate:
		return sys(unix.SYS_TRUNCATE, z(o.path), uintptr(o.off))
	case callFtruncate:
		return sys(unix.SYS_FTRUNCATE, t.fd(o.fd), uintptr(o.off))
	case callFallocate:
		return sys(unix.SYS_FALLOCATE, t.fd(o.fd), flags, uintptr(o.off), uintptr(o.n))
	case callFsync:
		return sys(unix.SYS_FSYNC, t.fd(o.fd))
	case callFdatasync:
		return sys(unix.SYS_FDATASYNC, t.fd(o.fd))
	case callFstat:
		return sys(unix.SYS_FSTAT, t.fd(o.fd), uintptr(unsafe.Pointer(&s.st)))
	case callFstatat:
		return sys(unix.SYS_NEWFSTATAT, t.fd(o.fd), z(o.path), uintptr(unsafe.Pointer(&s.st)), flags)
	case callMkdirat:
		return sys(unix.SYS_MKDIRAT, t.fd(o.fd), z(o.path), mode)
	case callMknodat:
		return sys(unix.SYS_MKNODAT, t.fd(o.fd), z(o.path), mode, uintptr(o.n))
	case callUnlinkat:
		return sys(unix.SYS_UNLINKAT, t.fd(o.fd), z(o.path), flags)
	case callRenameat2:
		return sys(unix.SYS_RENAMEAT2, t.fd(o.fd), z(o.path), t.fd(o.fd2), z(o.path2), flags)
	case callLinkat:
		return sys(unix.SYS_LINKAT, t.fd(o.fd), z(o.path), t.fd(o.fd2), z(o.path2), flags)
	case callSymlinkat:
		return sys(unix.SYS_SYMLINKAT, z(o.path2), t.fd(o.fd), z(o.path))
	case callReadlinkat:
		return sys(unix.SYS_READLINKAT, t.fd(o.fd), z(o.path), buf, uintptr(o.n))
	case callFchmodat2:
		return sys(unix.SYS_FCHMODAT2, t.fd(o.fd), z(o.path), mode, flags)
	case callFchmod:
		return sys(unix.SYS_FCHMOD, t.fd(o.fd), mode)
	case callFchownat:
		return sys(unix.SYS_FCHOWNAT, t.fd(o.fd), z(o.path), uintptr(o.n), uintptr(o.off), flags)
	case callFchown:
		return sys(unix.SYS_FCHOWN, t.fd(o.fd), uintptr(o.n), uintptr(o.off))
	case callUtimensat:
		return sys(unix.SYS_UTIMENSAT, t.fd(o.fd), z(o.path), uintptr(unsafe.Pointer(o.ts)), flags)
	case callFaccessat2:
		return sys(unix.SYS_FACCESSAT2, t.fd(o.fd), z(o.path), mode, flags)
	case callUmask:
		return sys(unix.SYS_UMASK, mode)
	case callGetdents64:
		return sys(unix.SYS_GETDENTS64, t.fd(o.fd), buf, uintptr(o.n))
	case callGetcwd:
		return sys(unix.SYS_GETCWD, buf, uintptr(o.n))
	case callChdir:
		return sys(unix.SYS_CHDIR, z(o.path))
	case callFchdir:
		return sys(unix.SYS_FCHDIR, t.fd(o.fd))
	case callMount, callUmount2:
		return 0, t.mount(o)
	case callBecome:
		return 0, t.become(o.cred)
	}
	if n, e, ok := t.more(o, s); ok {
		return n, e
	}
	return t.lifeCycle(o)
}

func (t *thread) fcntl(o *op) (int, unix.Errno) {
	arg := uintptr(o.n)
	dup := o.flags == unix.F_DUPFD || o.flags == unix.F_DUPFD_CLOEXEC
	if dup {
		arg = t.fd(int(o.n))
	}
	n, e := sys(unix.SYS_FCNTL, t.fd(o.fd), uintptr(o.flags), arg)
	switch {
	case dup:
		return t.opened(n, e)
	case o.flags == unix.F_GETFL && e == 0:
		n &^= largeFile
	}
	return n, e
}

func (t *thread) vector(o *op, s *scratch) (int, unix.Errno) {
	s.iovecs(o)
	iov := make([]unix.Iovec, len(s.iov)+1)
	for i, p := range s.iov {
		iov[i] = unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	}
	nr := uintptr(unix.SYS_READV)
	if o.call == callWritev {
		nr = unix.SYS_WRITEV
	}
	n, _, e := unix.RawSyscall(nr, t.fd(o.fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(s.iov)))
	return int(n), e
}

// mount mounts tmpfs where the library OS is asked for ramfs.
func (t *thread) mount(o *op) unix.Errno {
	var err error
	if o.call == callUmount2 {
		err = unix.Unmount(o.path.s, o.flags)
	} else {
		fstype, data := o.text, ""
		if fstype == "ramfs" {
			fstype, data = "tmpfs", "mode=1777"
			if t.kernel.target.is(onImages) {
				data = "mode=755" // as the root of a new image
			}
		}
		err = unix.Mount("none", o.path.s, fstype, uintptr(o.flags), data)
	}
	if err != nil {
		return err.(unix.Errno)
	}
	return 0
}

// lifeCycle does what is not one system call here. That it fails is no
// difference, but the end of the test.
func (t *thread) lifeCycle(o *op) (int, unix.Errno) {
	var err error
	switch o.call {
	case callFork:
		err = t.fork(t.kernel.threads[o.n])
	case callExec:
		t.closeAll(func(fd int) bool {
			flags, _ := sys(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD)
			return flags == unix.FD_CLOEXEC
		})
	case callExit:
		err = t.restart(t.kernel.root)
	case callSync: // would be of the whole machine
	case callSyncfs:
		return sys(unix.SYS_SYNCFS, t.fd(o.fd))
	case callRemount, callCrash:
		err = t.kernel.rebuild(t, nil)
	case callLayer:
		err = t.kernel.rebuild(t, t.kernel.nextLayer)
	case callStack:
		err = t.kernel.rebuild(t, t.kernel.stack)
	}
	if err != nil {
		panic(err)
	}
	return 0, 0
}
