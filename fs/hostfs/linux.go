package hostfs

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// linuxHost is the Host of a Linux kernel.
type linuxHost struct {
	caps    Caps
	openat2 bool // the kernel, and whatever filters system calls, has openat2(2)
}

var _ Host = (*linuxHost)(nil)

// beneath keeps a name inside of its directory, whatever it has become there.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// openTries bounds how often an open is repeated because a rename at the same time kept openat2(2)
// from being sure that it stayed beneath: EAGAIN, or EXDEV if what it found has left the directory
// (fs/namei.c: complete_walk).
const openTries = 64

func newLinuxHost() *linuxHost {
	h := &linuxHost{
		caps: CanChmod | CanUtimes | CanLink | CanSymlink | CanExchange | CanFallocate | CanSeekData | CanStatfs,
	}
	if hasCapChown() {
		h.caps |= CanChown
	}
	if unix.Access("/proc/self/fd", unix.X_OK) == nil {
		h.caps |= CanXattr | CanReopen // there is no other way from an O_PATH descriptor
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: beneath})
	if err == nil {
		unix.Close(fd)
		h.openat2 = true
		h.caps |= CanStatBeneath
	}
	return h
}

// hasCapChown tells whether this process may give files away.
func hasCapChown() bool {
	var data [2]unix.CapUserData
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&hdr, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_CHOWN) != 0
}

func (h *linuxHost) Caps() Caps { return h.caps }

func (h *linuxHost) OpenRoot(dir string) (FD, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return FD(fd), err
}

func (h *linuxHost) OpenPath(dir FD, name string) (FD, error) {
	return h.open(dir, name, unix.O_PATH, 0)
}

func (h *linuxHost) OpenFile(dir FD, name string, flags int) (FD, error) {
	return h.open(dir, name, flags, 0)
}

func (h *linuxHost) Reopen(fd FD, flags int) (FD, error) {
	n, err := unix.Open(magicLink(fd), flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	return FD(n), err
}

func (h *linuxHost) OpenDir(dir FD) (FD, error) {
	return h.open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

func (h *linuxHost) Create(dir FD, name string, mode uint32) (FD, error) {
	return h.open(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, mode)
}

func (h *linuxHost) open(dir FD, name string, flags int, mode uint32) (FD, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK | unix.O_NOCTTY
	}
	if !h.openat2 {
		fd, err := unix.Openat(int(dir), name, flags, mode)
		return FD(fd), err
	}
	how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode), Resolve: beneath}
	for try := 1; ; try++ {
		fd, err := unix.Openat2(int(dir), name, &how)
		if err != unix.EAGAIN && err != unix.EXDEV {
			return FD(fd), err
		}
		if try == openTries {
			return -1, unix.ESTALE
		}
	}
}

func (h *linuxHost) Close(fd FD) error { return unix.Close(int(fd)) }

func (h *linuxHost) Stat(fd FD, name string) (st unix.Statx_t, err error) {
	err = statx(fd, name, &st)
	return st, err
}

func (h *linuxHost) StatBeneath(dir FD, path string) (st unix.Statx_t, err error) {
	err = statBeneath(dir, path, &st)
	return st, err
}

func (h *linuxHost) Statfs(fd FD) (st unix.Statfs_t, err error) {
	err = unix.Fstatfs(int(fd), &st)
	return st, err
}

func (h *linuxHost) Readlink(dir FD, name string, buf []byte) (int, error) {
	return unix.Readlinkat(int(dir), name, buf)
}

func (h *linuxHost) Getdents(fd FD, buf []byte) (int, error) { return unix.Getdents(int(fd), buf) }

func (h *linuxHost) Mkdir(dir FD, name string, mode uint32) error {
	return unix.Mkdirat(int(dir), name, mode)
}

func (h *linuxHost) Symlink(target string, dir FD, name string) error {
	return unix.Symlinkat(target, int(dir), name)
}

func (h *linuxHost) Link(oldDir FD, oldName string, dir FD, name string) error {
	return unix.Linkat(int(oldDir), oldName, int(dir), name, 0)
}

func (h *linuxHost) Unlink(dir FD, name string) error { return unix.Unlinkat(int(dir), name, 0) }

func (h *linuxHost) Rmdir(dir FD, name string) error {
	return unix.Unlinkat(int(dir), name, unix.AT_REMOVEDIR)
}

func (h *linuxHost) Rename(oldDir FD, oldName string, dir FD, name string, flags uint32) error {
	return unix.Renameat2(int(oldDir), oldName, int(dir), name, uint(flags))
}

func (h *linuxHost) Pread(fd FD, p []byte, off int64) (int, error) {
	return unix.Pread(int(fd), p, off)
}

func (h *linuxHost) Pwrite(fd FD, p []byte, off int64) (int, error) {
	return unix.Pwrite(int(fd), p, off)
}

// Append does not need a descriptor with O_APPEND. One would make Pwrite append,
// too (pwrite(2), BUGS), and a file may be written both ways: fcntl(2), F_SETFL.
func (h *linuxHost) Append(fd FD, p []byte) (n int, end int64, err error) {
	n, err = unix.Pwritev2(int(fd), [][]byte{p}, -1, unix.RWF_APPEND)
	if err != nil {
		return 0, 0, err
	}
	// Offset -1 made the call move the file position, which nothing else uses.
	end, err = unix.Seek(int(fd), 0, unix.SEEK_CUR)
	return n, end, err
}

func (h *linuxHost) Seek(fd FD, off int64, whence int) (int64, error) {
	return unix.Seek(int(fd), off, whence)
}

func (h *linuxHost) Truncate(fd FD, size int64) error { return unix.Ftruncate(int(fd), size) }

func (h *linuxHost) Fallocate(fd FD, mode uint32, off, n int64) error {
	return unix.Fallocate(int(fd), mode, off, n)
}

func (h *linuxHost) Fsync(fd FD, datasync bool) error {
	if datasync {
		return unix.Fdatasync(int(fd))
	}
	return unix.Fsync(int(fd))
}

// Chmod, Utimes and the calls on extended attributes work on O_PATH descriptors
// by the newest call that can, or by the descriptor's magic link.

func (h *linuxHost) Chmod(fd FD, mode uint32) error {
	err := unix.Fchmodat(int(fd), "", mode, unix.AT_EMPTY_PATH)
	if err == unix.EOPNOTSUPP || err == unix.EPERM {
		// No fchmodat2(2) here; a filter of system calls may say EPERM.
		return unix.Chmod(magicLink(fd), mode)
	}
	return err
}

func (h *linuxHost) Chown(fd FD, uid, gid int) error {
	return unix.Fchownat(int(fd), "", uid, gid, unix.AT_EMPTY_PATH)
}

func (h *linuxHost) Utimes(fd FD, ts [2]unix.Timespec) error {
	err := unix.UtimesNanoAt(int(fd), "", ts[:], unix.AT_EMPTY_PATH)
	if err == unix.EINVAL {
		return unix.UtimesNanoAt(unix.AT_FDCWD, magicLink(fd), ts[:], 0) // before Linux 5.8
	}
	return err
}

func (h *linuxHost) Getxattr(fd FD, name string, buf []byte) (int, error) {
	return unix.Getxattr(magicLink(fd), name, buf)
}

func (h *linuxHost) Setxattr(fd FD, name string, value []byte, flags int) error {
	return unix.Setxattr(magicLink(fd), name, value, flags)
}

func (h *linuxHost) Listxattr(fd FD, buf []byte) (int, error) {
	return unix.Listxattr(magicLink(fd), buf)
}

func (h *linuxHost) Removexattr(fd FD, name string) error {
	return unix.Removexattr(magicLink(fd), name)
}

// magicLink names the open file itself: the kernel goes straight to it.
func magicLink(fd FD) string { return "/proc/self/fd/" + strconv.Itoa(int(fd)) }
