package difftest

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls that are not on names or on content alone: openat2, copies, extended attributes, locks.

var (
	resolveNames = []bit{
		{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"}, {unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"}, {unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
		{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"}, {unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
	}
	writeNames = []bit{{unix.RWF_HIPRI, "RWF_HIPRI"}, {unix.RWF_DSYNC, "RWF_DSYNC"}, {unix.RWF_APPEND, "RWF_APPEND"}, {unix.RWF_NOAPPEND, "RWF_NOAPPEND"}}
	xattrNames = []bit{{unix.XATTR_CREATE, "XATTR_CREATE"}, {unix.XATTR_REPLACE, "XATTR_REPLACE"}}
	lockNames  = map[int]string{
		unix.F_GETLK: "F_GETLK", unix.F_SETLK: "F_SETLK", unix.F_OFD_GETLK: "F_OFD_GETLK", unix.F_OFD_SETLK: "F_OFD_SETLK",
	}
)

// noOffset stands for a NULL pointer to an offset.
const noOffset = -77

// xattrs are names of extended attributes.
var xattrs = func() (names []*pathname) {
	for _, s := range []string{"user.a", "user.a", "user.b", "user.c", "trusted.a", "user.", "user", "", "bad.a", "user." + strings.Repeat("n", 250), "user." + strings.Repeat("n", 251)} {
		names = append(names, newPathname(s))
	}
	return names
}()

// moreOp draws the arguments; false means that it is another call.
func (g *generator) moreOp(o *op) bool {
	switch o.call {
	case callOpenat2:
		o.fd, o.path, o.flags = g.at(), g.path(), g.openFlags()&^(1<<30)
		if o.flags&(unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY) != 0 || g.one(20) {
			o.mode = g.mode()
		}
		o.n = int64(pick(g, 0, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, unix.RESOLVE_IN_ROOT, unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT) |
			g.some(unix.RESOLVE_NO_XDEV, unix.RESOLVE_NO_MAGICLINKS) | g.some(unix.RESOLVE_NO_SYMLINKS)&-g.IntN(2))
	case callCopyRange, callSendfile:
		o.fd, o.fd2, o.off, o.off2, o.n = g.fd(), g.fd(), g.offset(), g.offset(), g.size()
		if g.one(2) {
			o.off = noOffset
		}
		if g.one(2) {
			o.off2 = noOffset
		}
		if o.call == callCopyRange && g.one(30) {
			o.flags = 1
		}
	case callPwritev2:
		o.fd, o.iov, o.flags, o.off = g.fd(), pick(g, vectors...), g.IntN(4000), g.offset()
		o.n = int64(pick(g, 0, 0, unix.RWF_APPEND, unix.RWF_NOAPPEND, unix.RWF_APPEND|unix.RWF_NOAPPEND, unix.RWF_HIPRI, 1<<20))
	case callSetxattr, callGetxattr, callListxattr, callRemovexattr:
		o.fd, o.path, o.path2 = unix.AT_FDCWD, g.path(), pick(g, xattrs...)
		if g.one(3) {
			o.fd, o.path = g.fd(), nil
		}
		o.fd2 = g.IntN(2) // 1: of a link itself
		o.n, o.flags = pick(g, int64(0), 1, 3, 10, 100, 4000), pick(g, 0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE, unix.XATTR_CREATE|unix.XATTR_REPLACE, 8)
		if g.target.is(hostFS) {
			o.call, o.path2, o.flags = callFstatat, nil, 0 // what there is depends on the host
			if o.path == nil {
				o.call = callFstat
			}
		}
	case callFlock:
		o.fd, o.flags = g.fd(), pick(g, unix.LOCK_SH, unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN, unix.LOCK_SH|unix.LOCK_EX, 0)|unix.LOCK_NB
	case callLock:
		o.fd, o.flags = g.fd(), pick(g, unix.F_GETLK, unix.F_SETLK, unix.F_SETLK, unix.F_OFD_GETLK, unix.F_OFD_SETLK)
		o.mode, o.fd2 = pick(g, uint32(unix.F_RDLCK), unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK, 7), pick(g, unix.SEEK_SET, unix.SEEK_SET, unix.SEEK_CUR, unix.SEEK_END, 9)
		o.off, o.n = pick(g, int64(0), 0, 5, 10, 20, -3, -1, 1<<62), pick(g, int64(0), 0, 1, 5, 10, -5, -1, 1<<62)
	default:
		return false
	}
	return true
}

func (o *op) moreArgs() (name string, args []string) {
	num := func(n int64) string { return fmt.Sprint(n) }
	offset := func(n int64) string {
		if n == noOffset {
			return "NULL"
		}
		return fmt.Sprintf("[%d]", n)
	}
	switch o.call {
	case callOpenat2:
		return "openat2", []string{fdText(o.fd), fmt.Sprint(o.path), fmt.Sprintf("{flags=%s, mode=%#o, resolve=%s}", openText(o.flags), o.mode, bitsText(int(o.n), resolveNames)), "24"}
	case callCopyRange:
		return "copy_file_range", []string{fdText(o.fd), offset(o.off), fdText(o.fd2), offset(o.off2), num(o.n), num(int64(o.flags))}
	case callSendfile:
		return "sendfile", []string{fdText(o.fd2), fdText(o.fd), offset(o.off), num(o.n)}
	case callPwritev2:
		return "pwritev2", []string{fdText(o.fd), fmt.Sprint(o.iov), num(o.off), bitsText(int(o.n), writeNames)}
	case callSetxattr, callGetxattr, callListxattr, callRemovexattr:
		file, prefix := fmt.Sprint(o.path), [...]string{"", "l"}[o.fd2]
		if o.path == nil {
			file, prefix = fdText(o.fd), "f"
		}
		attr := fmt.Sprint(o.path2)
		switch o.call {
		case callSetxattr:
			return prefix + "setxattr", []string{file, attr, dataText(o), num(o.n), bitsText(o.flags, xattrNames)}
		case callGetxattr:
			return prefix + "getxattr", []string{file, attr, "", num(o.n)}
		case callListxattr:
			return prefix + "listxattr", []string{file, "", num(o.n)}
		}
		return prefix + "removexattr", []string{file, attr}
	case callFlock:
		return "flock", []string{fdText(o.fd), num(int64(o.flags))}
	case callLock:
		return "fcntl", []string{fdText(o.fd), lockNames[o.flags], fmt.Sprintf("{l_type=%d, l_whence=%d, l_start=%d, l_len=%d}", o.mode, o.fd2, o.off, o.n)}
	}
	return "", nil
}

// more fills in what the calls get through pointers.
func (s *scratch) more(o *op) {
	*s.how = unix.OpenHow{Flags: uint64(o.flags), Mode: uint64(o.mode), Resolve: uint64(o.n)}
	*s.off1, *s.off2 = o.off, o.off2
	*s.lock = unix.Flock_t{Type: int16(o.mode), Whence: int16(o.fd2), Start: o.off, Len: o.n}
}

// offsets returns the pointers to offsets, nil for NULL.
func (s *scratch) offsets(o *op) (off1, off2 *int64) {
	if o.off != noOffset {
		off1 = s.off1
	}
	if o.off2 != noOffset {
		off2 = s.off2
	}
	return off1, off2
}

// more makes one of these calls on the kernel.
func (t *thread) more(o *op, s *scratch) (n int, e unix.Errno, ok bool) {
	s.more(o)
	off1, off2 := s.offsets(o)
	p := func(v unsafe.Pointer) uintptr { return uintptr(v) }
	fd, fd2, flags, size := t.fd(o.fd), t.fd(o.fd2), uintptr(o.flags), uintptr(o.n)
	switch o.call {
	case callOpenat2:
		n, e = t.opened(t.openat2(o, s.how))
	case callCopyRange:
		n, e = sys(unix.SYS_COPY_FILE_RANGE, fd, p(unsafe.Pointer(off1)), fd2, p(unsafe.Pointer(off2)), size, flags)
	case callSendfile:
		n, e = sys(unix.SYS_SENDFILE, fd2, fd, p(unsafe.Pointer(off1)), size)
	case callPwritev2:
		s.iovecs(&op{call: callWritev, iov: o.iov, flags: o.flags})
		n, e = t.pwritev2(o, s)
	case callSetxattr, callGetxattr, callListxattr, callRemovexattr:
		n, e = t.xattr(o, s)
	case callFlock:
		n, e = sys(unix.SYS_FLOCK, fd, flags)
	case callLock:
		n, e = sys(unix.SYS_FCNTL, fd, flags, p(unsafe.Pointer(s.lock)))
	default:
		return 0, 0, false
	}
	return n, e, true
}

func (t *thread) openat2(o *op, how *unix.OpenHow) (fd int, e unix.Errno) {
	const scoped = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT
	for range 1000 {
		fd, e = sys(unix.SYS_OPENAT2, t.fd(o.fd), z(o.path), uintptr(unsafe.Pointer(how)), unsafe.Sizeof(*how))
		if e != unix.EAGAIN || how.Resolve&scoped == 0 {
			break
		}
		// Any rename on the machine interrupts a scoped walk.
	}
	return fd, e
}

// statIn fills t.st for the path of an openat2.
func (t *thread) statIn(o *op) unix.Errno {
	t.how = unix.OpenHow{Flags: uint64(unix.O_PATH | o.flags&unix.O_NOFOLLOW), Resolve: uint64(o.n)}
	fd, e := t.openat2(o, &t.how)
	if e != 0 {
		return e
	}
	defer unix.Close(fd)
	_, e = sys(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&t.st)))
	return e
}

func (t *thread) pwritev2(o *op, s *scratch) (int, unix.Errno) {
	iov := make([]unix.Iovec, len(s.iov)+1)
	for i, p := range s.iov {
		iov[i] = unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	}
	n, _, e := unix.RawSyscall6(unix.SYS_PWRITEV2, t.fd(o.fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(s.iov)), uintptr(o.off), 0, uintptr(o.n))
	return int(n), e
}

func (t *thread) xattr(o *op, s *scratch) (int, unix.Errno) {
	variant := 2 // of a descriptor
	file := t.fd(o.fd)
	if o.path != nil {
		variant, file = o.fd2, z(o.path)
	}
	attr, size := z(o.path2), uintptr(o.n)
	switch o.call {
	case callSetxattr:
		nr := [...]uintptr{unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR}[variant]
		return sys(nr, file, attr, uintptr(unsafe.Pointer(&pattern[o.n])), size, uintptr(o.flags))
	case callGetxattr:
		nr := [...]uintptr{unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_FGETXATTR}[variant]
		return sys(nr, file, attr, uintptr(unsafe.Pointer(&s.buf[0])), size)
	case callListxattr:
		nr := [...]uintptr{unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_FLISTXATTR}[variant]
		return sys(nr, file, uintptr(unsafe.Pointer(&s.buf[0])), size)
	}
	nr := [...]uintptr{unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR}[variant]
	return sys(nr, file, attr)
}

// more makes one of these calls on the library OS.
func (t *task) more(o *op, s *scratch, path string) (n int, err error, ok bool) {
	s.more(o)
	off1, off2 := s.offsets(o)
	switch o.call {
	case callOpenat2:
		n, err = t.Openat2(o.fd, path, s.how, 24)
	case callCopyRange:
		n, err = t.CopyFileRange(o.fd, off1, o.fd2, off2, int(o.n), o.flags)
	case callSendfile:
		n, err = t.Sendfile(o.fd2, o.fd, off1, int(o.n))
	case callPwritev2:
		s.iovecs(&op{call: callWritev, iov: o.iov, flags: o.flags})
		n, err = t.Pwritev2(o.fd, s.iov, o.off, int(o.n))
	case callSetxattr, callGetxattr, callListxattr, callRemovexattr:
		n, err = t.xattr(o, s, path, o.path2.s)
	case callFlock:
		err = t.Flock(o.fd, o.flags)
	case callLock:
		err = t.FcntlFlock(o.fd, o.flags, s.lock)
	default:
		return 0, nil, false
	}
	return n, err, true
}

func (t *task) xattr(o *op, s *scratch, path, attr string) (int, error) {
	byFd, ofLink := o.path == nil, o.fd2 == 1
	buf, value := s.buf[:o.n], pattern[o.n:][:o.n]
	switch o.call {
	case callSetxattr:
		switch {
		case byFd:
			return 0, t.Fsetxattr(o.fd, attr, value, o.flags)
		case ofLink:
			return 0, t.Lsetxattr(path, attr, value, o.flags)
		}
		return 0, t.Setxattr(path, attr, value, o.flags)
	case callGetxattr:
		switch {
		case byFd:
			return t.Fgetxattr(o.fd, attr, buf)
		case ofLink:
			return t.Lgetxattr(path, attr, buf)
		}
		return t.Getxattr(path, attr, buf)
	case callListxattr:
		switch {
		case byFd:
			return t.Flistxattr(o.fd, buf)
		case ofLink:
			return t.Llistxattr(path, buf)
		}
		return t.Listxattr(path, buf)
	}
	switch {
	case byFd:
		return 0, t.Fremovexattr(o.fd, attr)
	case ofLink:
		return 0, t.Lremovexattr(path, attr)
	}
	return 0, t.Removexattr(path, attr)
}

// noteMore keeps what came through pointers.
func (r *record) noteMore(o *op, ret int) {
	switch o.call {
	case callCopyRange, callSendfile:
		r.buf = fmt.Appendf(r.buf, "[%d] [%d]", *r.s.off1, *r.s.off2)
	case callGetxattr:
		if o.n > 0 {
			r.buf = append(r.buf, r.s.buf[:ret]...)
		}
	case callListxattr:
		if o.n > 0 { // in any order
			names := strings.Split(string(r.s.buf[:ret]), "\x00")
			slices.Sort(names)
			r.buf = append(r.buf, strings.Join(names, " ")...)
		}
	case callLock:
		l := r.s.lock
		r.buf = fmt.Appendf(r.buf, "{l_type=%d, l_whence=%d, l_start=%d, l_len=%d}", l.Type, l.Whence, l.Start, l.Len)
	}
}
