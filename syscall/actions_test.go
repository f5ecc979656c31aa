package syscall_test

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// actions are the calls of a random run. Files that block (FIFOs) and calls
// that differ on purpose (mounting on the root, RENAME_WHITEOUT) are left out.
func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"open": w.doOpen, "open2": w.doOpen, "close": w.doClose, "dup": w.doDup, "fcntl": w.doFcntl,
		"read": w.doRead, "write": w.doWrite, "vector": w.doVector, "lseek": w.doLseek,
		"truncate": w.doTruncate, "fallocate": w.doFallocate,
		"mkdir": w.doMkdir, "mkdir2": w.doMkdir, "mknod": w.doMknod, "symlink": w.doSymlink,
		"link": w.doLink, "unlink": w.doUnlink, "rename": w.doRename, "rename2": w.doRename,
		"stat": w.doStat, "stat2": w.doStat, "fstat": w.doFstat, "readlink": w.doReadlink, "getdents": w.doGetdents,
		"chmod": w.doChmod, "chown": w.doChown, "utimens": w.doUtimens, "access": w.doAccess,
		"chdir": w.doChdir, "getcwd": w.doGetcwd, "umask": w.doUmask, "setresuid": w.doSetresuid,
		"mount": w.doMount, "umount": w.doUmount,
		"openat2": w.doOpenat2, "statx": w.doStatx, "vector2": w.doVector2, "copy": w.doCopy, "setxattr": w.doSetxattr,
		"getxattr": w.doGetxattr, "utimes": w.doUtimes, "advise": w.doAdvise, "query": w.doQuery, "flock": w.doFlock,
	}
}

func (w *world) doOpen(t *rapid.T) {
	at, p, mode := w.drawAt(t), drawPath(t, "path"), drawMode(t)
	flags := rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR, unix.O_ACCMODE}).Draw(t, "access") |
		drawFlags(t, "flag", unix.O_CREAT, unix.O_CREAT, unix.O_EXCL, unix.O_TRUNC, unix.O_APPEND, unix.O_DIRECTORY, unix.O_NOFOLLOW)
	if rapid.IntRange(0, 9).Draw(t, "special") == 0 {
		flags |= rapid.SampledFrom([]int{unix.O_PATH, unix.O_TMPFILE, unix.O_NOATIME, unix.O_CLOEXEC, 1 << 30}).Draw(t, "special flag")
	}
	w.open(t, fmt.Sprintf("openat(%v, %.20q, %#x, %#o)", at, p, flags, mode), func(c caller, fd func(fdPair) int) (int, error) {
		return c.Openat(fd(at), p, flags, mode)
	})
}

func (w *world) doClose(t *rapid.T) {
	f := w.drawFd(t)
	w.both(t, fmt.Sprintf("close(%v)", f), func(c caller, fd func(fdPair) int) (any, error) { return 0, c.Close(fd(f)) })
	w.fds = slices.DeleteFunc(w.fds, func(p fdPair) bool { return p == f })
}

func (w *world) doDup(t *rapid.T) {
	f := w.drawFd(t)
	w.open(t, fmt.Sprintf("dup(%v)", f), func(c caller, fd func(fdPair) int) (int, error) { return c.Dup(fd(f)) })
}

func (w *world) doFcntl(t *rapid.T) {
	f := w.drawFd(t)
	cmd := rapid.SampledFrom([]int{unix.F_GETFL, unix.F_SETFL, unix.F_GETFD, unix.F_SETFD, 9999}).Draw(t, "cmd")
	arg := 0
	switch cmd {
	case unix.F_SETFL:
		arg = drawFlags(t, "flag", unix.O_APPEND, unix.O_NONBLOCK, unix.O_WRONLY, unix.O_CREAT)
	case unix.F_SETFD:
		arg = rapid.IntRange(0, 3).Draw(t, "arg")
	}
	w.both(t, fmt.Sprintf("fcntl(%v, %d, %#x)", f, cmd, arg), func(c caller, fd func(fdPair) int) (any, error) {
		n, err := c.Fcntl(fd(f), cmd, arg)
		if cmd == unix.F_GETFL {
			n &^= 0x8000 // O_LARGEFILE, which only the kernel shows
		}
		return n, err
	})
}

func (w *world) doRead(t *rapid.T) {
	f := w.drawFd(t)
	n := rapid.SampledFrom([]int{1, 3, 100, 5000}).Draw(t, "n") // whether reading 0 bytes is an access is the file system's
	off := rapid.SampledFrom([]int64{0, 1, 4095, 4096, -1}).Draw(t, "off")
	positional := rapid.Bool().Draw(t, "positional")
	w.both(t, fmt.Sprintf("read(%v, %d, %d, %v)", f, n, off, positional), func(c caller, fd func(fdPair) int) (any, error) {
		buf := make([]byte, n)
		read := func() (int, error) { return c.Read(fd(f), buf) }
		if positional {
			read = func() (int, error) { return c.Pread64(fd(f), buf, off) }
		}
		n, err := read()
		return fmt.Sprintf("%q", buf[:max(n, 0)]), err
	})
}

func (w *world) doWrite(t *rapid.T) {
	f := w.drawFd(t)
	data := []byte(rapid.StringMatching("[a-z]{0,8}").Draw(t, "data"))
	off := rapid.SampledFrom([]int64{0, 1, 4095, 9000, -1}).Draw(t, "off")
	positional := rapid.Bool().Draw(t, "positional")
	w.both(t, fmt.Sprintf("write(%v, %q, %d, %v)", f, data, off, positional), func(c caller, fd func(fdPair) int) (any, error) {
		if positional {
			return c.Pwrite64(fd(f), data, off)
		}
		return c.Write(fd(f), data)
	})
}

func (w *world) doVector(t *rapid.T) {
	f := w.drawFd(t)
	sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 5}), 0, 3).Draw(t, "sizes")
	write := rapid.Bool().Draw(t, "write")
	w.both(t, fmt.Sprintf("vector(%v, %v, %v)", f, sizes, write), func(c caller, fd func(fdPair) int) (any, error) {
		iov := make([][]byte, len(sizes))
		for i, n := range sizes {
			iov[i] = make([]byte, n)
			if write {
				copy(iov[i], "ABCDE")
			}
		}
		if write {
			return c.Writev(fd(f), iov)
		}
		n, err := c.Readv(fd(f), iov)
		return fmt.Sprintf("%d %q", n, iov), err
	})
}

func (w *world) doLseek(t *rapid.T) {
	f := w.drawFd(t)
	off := rapid.SampledFrom([]int64{0, 1, 5, 4096, -1, -5, 1 << 62}).Draw(t, "off")
	whence := rapid.SampledFrom([]int{unix.SEEK_SET, unix.SEEK_CUR, unix.SEEK_END, 77}).Draw(t, "whence")
	w.both(t, fmt.Sprintf("lseek(%v, %d, %d)", f, off, whence), func(c caller, fd func(fdPair) int) (any, error) {
		var st unix.Stat_t
		if c.Fstat(fd(f), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && (off != 0 || whence != unix.SEEK_SET) {
			return "positions in directories are the file system's", nil
		}
		return c.Lseek(fd(f), off, whence)
	})
}

func (w *world) doTruncate(t *rapid.T) {
	f, p := w.drawFd(t), drawPath(t, "path")
	size := rapid.SampledFrom([]int64{0, 1, 10, 5000, -1}).Draw(t, "size")
	byFd := rapid.Bool().Draw(t, "by fd")
	var st unix.Stat_t
	if !byFd && w.linux.Newfstatat(unix.AT_FDCWD, p, &st, 0) == nil && st.Size == size {
		size++ // whether times change if the size does not is the file system's
	}
	w.both(t, fmt.Sprintf("truncate(%v, %.20q, %d, %v)", f, p, size, byFd), func(c caller, fd func(fdPair) int) (any, error) {
		if byFd {
			return 0, c.Ftruncate(fd(f), size)
		}
		return 0, c.Truncate(p, size)
	})
}

func (w *world) doFallocate(t *rapid.T) {
	f := w.drawFd(t)
	mode := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE,
		unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, 1 << 20}).Draw(t, "mode")
	off := rapid.SampledFrom([]int64{0, 3, 4096, -1}).Draw(t, "off")
	n := rapid.SampledFrom([]int64{0, 2, 5000, -1}).Draw(t, "n")
	w.both(t, fmt.Sprintf("fallocate(%v, %#x, %d, %d)", f, mode, off, n), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Fallocate(fd(f), mode, off, n)
	})
}

func (w *world) doMkdir(t *rapid.T) {
	at, p, mode := w.drawAt(t), drawPath(t, "path"), drawMode(t)
	w.both(t, fmt.Sprintf("mkdirat(%v, %.20q, %#o)", at, p, mode), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Mkdirat(fd(at), p, mode)
	})
}

func (w *world) doMknod(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	mode := drawMode(t) | rapid.SampledFrom([]uint32{0, unix.S_IFREG, unix.S_IFSOCK, unix.S_IFSOCK, unix.S_IFDIR, unix.S_IFLNK, 0o110000}).Draw(t, "type")
	w.both(t, fmt.Sprintf("mknodat(%v, %.20q, %#o)", at, p, mode), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Mknodat(fd(at), p, mode, 0)
	})
}

func (w *world) doSymlink(t *rapid.T) {
	target, at, p := drawPath(t, "target"), w.drawAt(t), drawPath(t, "path")
	w.both(t, fmt.Sprintf("symlinkat(%.20q, %v, %.20q)", target, at, p), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Symlinkat(target, fd(at), p)
	})
}

func (w *world) doLink(t *rapid.T) {
	at, p, at2, p2 := w.drawAt(t), drawPath(t, "path"), w.drawAt(t), drawPath(t, "path2")
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_FOLLOW, unix.AT_EMPTY_PATH)
	w.both(t, fmt.Sprintf("linkat(%v, %.20q, %v, %.20q, %#x)", at, p, at2, p2, flags), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Linkat(fd(at), p, fd(at2), p2, flags)
	})
}

func (w *world) doUnlink(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	flags := rapid.SampledFrom([]int{0, unix.AT_REMOVEDIR, unix.AT_REMOVEDIR, 1}).Draw(t, "flags")
	w.both(t, fmt.Sprintf("unlinkat(%v, %.20q, %#x)", at, p, flags), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Unlinkat(fd(at), p, flags)
	})
}

func (w *world) doRename(t *rapid.T) {
	at, p, at2, p2 := w.drawAt(t), drawPath(t, "path"), w.drawAt(t), drawPath(t, "path2")
	flags := rapid.SampledFrom([]uint32{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, 3, 64}).Draw(t, "flags")
	w.both(t, fmt.Sprintf("renameat2(%v, %.20q, %v, %.20q, %#x)", at, p, at2, p2, flags), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Renameat2(fd(at), p, fd(at2), p2, flags)
	})
}

func (w *world) doStat(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	w.both(t, fmt.Sprintf("newfstatat(%v, %.20q, %#x)", at, p, flags), func(c caller, fd func(fdPair) int) (any, error) {
		var st unix.Stat_t
		err := c.Newfstatat(fd(at), p, &st, flags)
		return w.statText(&st), err
	})
}

func (w *world) doFstat(t *rapid.T) {
	f := w.drawFd(t)
	w.both(t, fmt.Sprintf("fstat(%v)", f), func(c caller, fd func(fdPair) int) (any, error) {
		var st unix.Stat_t
		err := c.Fstat(fd(f), &st)
		return w.statText(&st), err
	})
}

func (w *world) doReadlink(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	n := rapid.SampledFrom([]int{1, 3, 5000}).Draw(t, "n")
	w.both(t, fmt.Sprintf("readlinkat(%v, %.20q, %d)", at, p, n), func(c caller, fd func(fdPair) int) (any, error) {
		buf := make([]byte, n)
		n, err := c.Readlinkat(fd(at), p, buf)
		return fmt.Sprintf("%q", buf[:max(n, 0)]), err
	})
}

func (w *world) doGetdents(t *rapid.T) {
	f := w.drawFd(t)
	size := rapid.SampledFrom([]int{4, 24, 32, 300, 4000}).Draw(t, "size")
	w.both(t, fmt.Sprintf("getdents64(%v, %d)", f, size), func(c caller, fd func(fdPair) int) (any, error) {
		// Whether entries made since show up past the position is nobody's promise.
		if _, err := c.Lseek(fd(f), 0, unix.SEEK_SET); err != nil {
			return "", err
		}
		names, err := readDir(c, fd(f), size)
		if size < 300 && err == nil {
			slices.Sort(names)
			return names, nil
		}
		if size < 300 {
			return "", err // how far it came depends on the order of the entries
		}
		slices.Sort(names)
		return names, err
	})
}

func (w *world) doChmod(t *rapid.T) {
	at, p, f, mode := w.drawAt(t), drawPath(t, "path"), w.drawFd(t), drawMode(t)
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	byFd := rapid.IntRange(0, 3).Draw(t, "by fd") == 0
	w.both(t, fmt.Sprintf("chmod(%v, %.20q, %v, %v, %#o, %#x)", at, p, byFd, f, mode, flags), func(c caller, fd func(fdPair) int) (any, error) {
		if byFd {
			return 0, c.Fchmod(fd(f), mode)
		}
		return 0, c.Fchmodat2(fd(at), p, mode, flags)
	})
}

func (w *world) doChown(t *rapid.T) {
	at, p, f, uid, gid := w.drawAt(t), drawPath(t, "path"), w.drawFd(t), drawID(t), drawID(t)
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH, 1)
	byFd := rapid.IntRange(0, 3).Draw(t, "by fd") == 0
	w.both(t, fmt.Sprintf("chown(%v, %.20q, %v, %v, %d, %d, %#x)", at, p, byFd, f, uid, gid, flags), func(c caller, fd func(fdPair) int) (any, error) {
		if byFd {
			return 0, c.Fchown(fd(f), uid, gid)
		}
		return 0, c.Fchownat(fd(at), p, uid, gid, flags)
	})
}

func (w *world) doUtimens(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	stamp := rapid.SampledFrom([]unix.Timespec{{Sec: 1e6, Nsec: 123456789}, {Sec: 2e6}, {Nsec: unix.UTIME_NOW},
		{Nsec: unix.UTIME_OMIT}, {Nsec: 1e9}, {Sec: -5}})
	ts := &[2]unix.Timespec{stamp.Draw(t, "atime"), stamp.Draw(t, "mtime")}
	if rapid.IntRange(0, 4).Draw(t, "now") == 0 {
		ts = nil
	}
	w.both(t, fmt.Sprintf("utimensat(%v, %.20q, %v, %#x)", at, p, ts, flags), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Utimensat(fd(at), p, ts, flags)
	})
}

func (w *world) doAccess(t *rapid.T) {
	at, p := w.drawAt(t), drawPath(t, "path")
	mode := uint32(rapid.IntRange(0, 8).Draw(t, "mode"))
	flags := drawFlags(t, "flag", unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH, unix.AT_EACCESS)
	w.both(t, fmt.Sprintf("faccessat2(%v, %.20q, %d, %#x)", at, p, mode, flags), func(c caller, fd func(fdPair) int) (any, error) {
		return 0, c.Faccessat2(fd(at), p, mode, flags)
	})
}

func (w *world) doChdir(t *rapid.T) {
	p, f := drawPath(t, "path"), w.drawFd(t)
	byFd := rapid.IntRange(0, 3).Draw(t, "by fd") == 0
	w.both(t, fmt.Sprintf("chdir(%.20q, %v, %v)", p, byFd, f), func(c caller, fd func(fdPair) int) (any, error) {
		if byFd {
			return 0, c.Fchdir(fd(f))
		}
		return 0, c.Chdir(p)
	})
}

func (w *world) doGetcwd(t *rapid.T) {
	n := rapid.SampledFrom([]int{1, 2, 3, 4096}).Draw(t, "n")
	w.both(t, fmt.Sprintf("getcwd(%d)", n), func(c caller, fd func(fdPair) int) (any, error) {
		buf := make([]byte, n)
		n, err := c.Getcwd(buf)
		return fmt.Sprintf("%q", buf[:max(n, 0)]), err
	})
}

func (w *world) doUmask(t *rapid.T) {
	mask := rapid.SampledFrom([]uint32{0, 0o22, 0o77, 0o7777}).Draw(t, "mask")
	w.both(t, fmt.Sprintf("umask(%#o)", mask), func(c caller, _ func(fdPair) int) (any, error) {
		return c.Umask(mask), nil
	})
}

func (w *world) doSetresuid(t *rapid.T) {
	ruid := rapid.SampledFrom([]int{-1, 0, 1000}).Draw(t, "ruid")
	euid := rapid.SampledFrom([]int{0, 0, 1000}).Draw(t, "euid")
	w.both(t, fmt.Sprintf("setresuid(%d, %d, -1)", ruid, euid), func(c caller, _ func(fdPair) int) (any, error) {
		return 0, c.Setresuid(ruid, euid, -1)
	})
}

func (w *world) doMount(t *rapid.T) {
	p := drawPath(t, "path")
	flags := uintptr(rapid.SampledFrom([]int{0, 0, unix.MS_RDONLY, unix.MS_NOSYMFOLLOW, unix.MS_NOATIME, unix.MS_NOUSER}).Draw(t, "flags"))
	fstype := rapid.SampledFrom([]string{"ramfs", "ramfs", "ramfs", "nosuchfs", ""}).Draw(t, "type")
	if w.isRoot(p) {
		t.Skip("mounting on the root is allowed on Linux and EPERM here")
	}
	w.both(t, fmt.Sprintf("mount(%.20q, %s, %#x)", p, fstype, flags), func(c caller, _ func(fdPair) int) (any, error) {
		return 0, c.Mount("none", p, fstype, flags, "")
	})
}

func (w *world) doUmount(t *rapid.T) {
	p := drawPath(t, "path")
	flags := rapid.SampledFrom([]int{0, 0, unix.MNT_DETACH, unix.MNT_FORCE, unix.MNT_EXPIRE, unix.UMOUNT_NOFOLLOW,
		unix.MNT_EXPIRE | unix.MNT_DETACH, 1 << 10}).Draw(t, "flags")
	if w.isRoot(p) {
		t.Skip("unmounting the root is EPERM here")
	}
	w.both(t, fmt.Sprintf("umount2(%.20q, %#x)", p, flags), func(c caller, _ func(fdPair) int) (any, error) {
		return 0, c.Umount2(p, flags)
	})
}

// isRoot reports whether p leads to the kernel's root directory.
func (w *world) isRoot(p string) bool {
	var st, root unix.Stat_t
	return w.linux.Newfstatat(unix.AT_FDCWD, p, &st, 0) == nil &&
		w.linux.Newfstatat(unix.AT_FDCWD, "/", &root, 0) == nil &&
		st.Dev == root.Dev && st.Ino == root.Ino
}
