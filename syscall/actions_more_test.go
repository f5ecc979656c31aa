package syscall_test

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func (w *world) doOpenat2(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	how := unix.OpenHow{
		Flags: uint64(rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR | unix.O_CREAT, unix.O_PATH, unix.O_PATH | unix.O_RDWR, 1 << 30}).Draw(t, "flags") |
			drawFlags(t, "flag", unix.O_EXCL, unix.O_DIRECTORY, unix.O_NOFOLLOW, unix.O_TRUNC)),
		Resolve: uint64(drawFlags(t, "resolve", unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_NO_MAGICLINKS) |
			rapid.SampledFrom([]int{0, 0, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, 0x80, unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT}).Draw(t, "scope")),
	}
	if how.Flags&unix.O_CREAT != 0 || rapid.IntRange(0, 9).Draw(t, "odd mode") == 0 {
		how.Mode = uint64(drawMode(t))
	}
	size := rapid.SampledFrom([]int{24, 24, 24, 24, 24, 24, 24, 24, 32, 23, 5000}).Draw(t, "size")
	w.open(t, fmt.Sprintf("openat2(%v, %.20q, %+v, %d)", at, p, how, size), func(c caller, fd func(fdPair) int) (int, error) {
		return c.Openat2(fd(at), p, &how, size)
	})
}

func (w *world) doStatx(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH, unix.AT_STATX_DONT_SYNC, unix.AT_STATX_FORCE_SYNC, 1)
	mask := rapid.SampledFrom([]uint32{unix.STATX_BASIC_STATS, unix.STATX_ALL, unix.STATX__RESERVED}).Draw(t, "mask")
	w.both(t, fmt.Sprintf("statx(%v, %.20q, %#x, %#x)", at, p, flags, mask), func(c caller, fd func(fdPair) int) (any, error) {
		var x unix.Statx_t
		err := c.Statx(fd(at), p, flags, mask, &x)
		st := unix.Stat_t{Mode: uint32(x.Mode), Nlink: uint64(x.Nlink), Uid: x.Uid, Gid: x.Gid, Size: int64(x.Size),
			Rdev: unix.Mkdev(x.Rdev_major, x.Rdev_minor), Atim: timespec(x.Atime), Mtim: timespec(x.Mtime)}
		return fmt.Sprintf("%s root=%v", w.statText(&st), x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0), err
	})
}

func (w *world) doVector2(t *rapid.T) {
	f := w.drawFd(t)
	off := rapid.SampledFrom([]int64{0, 3, -1, -2}).Draw(t, "off")
	flags := rapid.SampledFrom([]int{0, unix.RWF_APPEND, unix.RWF_NOAPPEND, unix.RWF_APPEND | unix.RWF_NOAPPEND, unix.RWF_SYNC, unix.RWF_HIPRI, 1 << 12}).Draw(t, "flags")
	write, n := rapid.Bool().Draw(t, "write"), rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "n")
	w.both(t, fmt.Sprintf("vector2(%v, %d, %d, %#x, %v)", f, n, off, flags, write), func(c caller, fd func(fdPair) int) (any, error) {
		iov := [][]byte{[]byte("xyz")[:n], []byte("0")}
		if write {
			return c.Pwritev2(fd(f), iov, off, flags)
		}
		n, err := c.Preadv2(fd(f), iov, off, flags)
		return fmt.Sprintf("%d %q", n, iov), err
	})
}

func (w *world) doCopy(t *rapid.T) {
	in, out := w.drawFd(t), w.drawFd(t)
	offsets := rapid.SampledFrom([]int64{0, 1, 5, 4096, -1, -2})
	inOff, outOff := offsets.Draw(t, "in off"), offsets.Draw(t, "out off")
	n, send := rapid.SampledFrom([]int{0, 1, 3, 9000}).Draw(t, "n"), rapid.Bool().Draw(t, "sendfile")
	var from, to unix.Stat_t
	if w.linux.Fstat(in.linux, &from) == nil && w.linux.Fstat(out.linux, &to) == nil && from.Ino == to.Ino && from.Dev == to.Dev {
		send = false // overlapping parts of one file are anybody's guess
	}
	if send {
		n = max(n, 1) // whether reading 0 bytes is an access is the file system's
	}
	w.both(t, fmt.Sprintf("copy(%v, %d, %v, %d, %d, %v)", in, inOff, out, outOff, n, send), func(c caller, fd func(fdPair) int) (any, error) {
		from, to := ptr(inOff), ptr(outOff)
		if inOff == -2 {
			from = nil
		}
		if outOff == -2 {
			to = nil
		}
		var moved int
		var err error
		if send {
			moved, err = c.Sendfile(fd(out), fd(in), from, n)
		} else {
			moved, err = c.CopyFileRange(fd(in), from, fd(out), to, n, 0)
		}
		result := fmt.Sprint(moved)
		for _, off := range []*int64{from, to} {
			if off != nil {
				result += fmt.Sprint(" ", *off)
			}
		}
		return result, err
	})
}

var (
	xattrName  = rapid.SampledFrom([]string{"user.a", "user.a", "user.b", "trusted.a", "user.", "", "a", "foo.a", "user." + strings.Repeat("n", 251)})
	xattrFlags = rapid.SampledFrom([]int{0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE, 4})
)

func (w *world) doSetxattr(t *rapid.T) {
	p, f, name, flags := drawPath(t, "path"), w.drawFd(t), xattrName.Draw(t, "name"), xattrFlags.Draw(t, "flags")
	value := []byte(rapid.SampledFrom([]string{"", "v", "long value"}).Draw(t, "value"))
	how := rapid.IntRange(0, 4).Draw(t, "how")
	w.both(t, fmt.Sprintf("setxattr(%.20q, %v, %.20q, %q, %d, %d)", p, f, name, value, flags, how), func(c caller, fd func(fdPair) int) (any, error) {
		switch how {
		case 0:
			return 0, c.Fsetxattr(fd(f), name, value, flags)
		case 1:
			return 0, c.Lsetxattr(p, name, value, flags)
		case 2:
			return 0, c.Removexattr(p, name)
		case 3:
			return 0, c.Fremovexattr(fd(f), name)
		}
		return 0, c.Setxattr(p, name, value, flags)
	})
}

func (w *world) doGetxattr(t *rapid.T) {
	p, f, name := drawPath(t, "path"), w.drawFd(t), xattrName.Draw(t, "name")
	size, how := rapid.SampledFrom([]int{0, 1, 1000}).Draw(t, "size"), rapid.IntRange(0, 3).Draw(t, "how")
	w.both(t, fmt.Sprintf("getxattr(%.20q, %v, %.20q, %d, %d)", p, f, name, size, how), func(c caller, fd func(fdPair) int) (any, error) {
		buf := make([]byte, size)
		var n int
		var err error
		switch how {
		case 0:
			n, err = c.Fgetxattr(fd(f), name, buf)
		case 1:
			n, err = c.Lgetxattr(p, name, buf)
		case 2:
			n, err = c.Listxattr(p, buf)
			list := strings.Split(string(buf[:min(max(n, 0), size)]), "\x00")
			slices.Sort(list)
			return fmt.Sprint(n, list), err
		default:
			n, err = c.Getxattr(p, name, buf)
		}
		return fmt.Sprintf("%d %q", n, buf), err
	})
}

func (w *world) doUtimes(t *rapid.T) {
	p, f := drawPath(t, "path"), w.drawFd(t)
	usec := rapid.SampledFrom([]int64{0, 5, 999999, 1000000, -1}).Draw(t, "usec")
	byFd, now := rapid.Bool().Draw(t, "by fd"), rapid.IntRange(0, 3).Draw(t, "now") == 0
	w.both(t, fmt.Sprintf("utimes(%.20q, %v, %d, %v, %v)", p, f, usec, byFd, now), func(c caller, fd func(fdPair) int) (any, error) {
		tv := &[2]unix.Timeval{{Sec: 3}, {Sec: 4, Usec: usec}}
		if now {
			tv = nil
		}
		if byFd {
			return 0, c.Futimes(fd(f), tv)
		}
		return 0, c.Utimes(p, tv)
	})
}

func (w *world) doAdvise(t *rapid.T) {
	f := w.drawFd(t)
	off, n := rapid.SampledFrom([]int64{0, 5, -1}).Draw(t, "off"), rapid.SampledFrom([]int64{0, 9, -1}).Draw(t, "n")
	how, advice := rapid.IntRange(0, 2).Draw(t, "how"), rapid.IntRange(-1, 8).Draw(t, "advice")
	w.both(t, fmt.Sprintf("advise(%v, %d, %d, %d, %d)", f, off, n, advice, how), func(c caller, fd func(fdPair) int) (any, error) {
		switch how {
		case 0:
			return 0, c.Fadvise64(fd(f), off, n, advice)
		case 1:
			return 0, c.Readahead(fd(f), off, int(n))
		}
		return 0, c.SyncFileRange(fd(f), off, n, advice)
	})
}

func (w *world) doQuery(t *rapid.T) {
	f, other := w.drawFd(t), w.drawFd(t)
	cmd := rapid.SampledFrom([]int{unix.F_DUPFD_QUERY, unix.F_CREATED_QUERY, unix.F_GETPIPE_SZ, unix.F_GETLEASE}).Draw(t, "cmd")
	req := rapid.SampledFrom([]uint{fioclex, fionclex, fionbio, fionread, unix.TCGETS}).Draw(t, "req")
	ioctl := rapid.Bool().Draw(t, "ioctl")
	w.both(t, fmt.Sprintf("query(%v, %v, %d, %#x, %v)", f, other, cmd, req, ioctl), func(c caller, fd func(fdPair) int) (any, error) {
		if ioctl {
			arg := int32(1)
			err := c.Ioctl(fd(f), req, &arg)
			return arg, err
		}
		return c.Fcntl(fd(f), cmd, fd(other))
	})
}

func (w *world) doFlock(t *rapid.T) {
	f, how := w.drawFd(t), rapid.SampledFrom([]int{unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN, 0}).Draw(t, "how")
	w.both(t, fmt.Sprintf("flock(%v, %d)", f, how), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Flock(fd(f), how|unix.LOCK_NB)
	})
}
