package hostfs_test

import (
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
)

// hookHost is a host with some calls failing, some answers replaced, and its open descriptors counted.
type hookHost struct {
	hostfs.Host

	call     func(name string) error // before each call; it is not made if this fails, but Close is
	openFD   func() error            // before each call that opens
	stat     func(fd hostfs.FD, name string, st *unix.Statx_t) error
	beneath  func(path string, st *unix.Statx_t) error
	statfs   func(st *unix.Statfs_t)
	getdents func(buf []byte) (int, error)
	readlink func(buf []byte) (int, error)
	pread    func(p []byte) (int, error)
	pwrite   func(p []byte) (int, error)
	append   func(p []byte) (int, int64, error)
	seek     func(off int64) (int64, error)
	close    func(fd hostfs.FD) error
	fsync    func(fd hostfs.FD) error
	unlink   func() error
	getxattr func(buf []byte) (int, error)
	name     func(string) // sees every name that is sent

	opened, most atomic.Int64 // descriptors: now, and the most at one time
	mu           sync.Mutex
}

func newHook() *hookHost { return &hookHost{Host: hostfs.Linux()} }

func (h *hookHost) sent(name string) {
	if h.name != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.name(name)
	}
}

func (h *hookHost) fails(call string) error {
	if h.call == nil {
		return nil
	}
	return h.call(call)
}

func (h *hookHost) open(call, name string, f func() (hostfs.FD, error)) (hostfs.FD, error) {
	h.sent(name)
	if err := h.fails(call); err != nil {
		return -1, err
	}
	if h.openFD != nil {
		if err := h.openFD(); err != nil {
			return -1, err
		}
	}
	fd, err := f()
	if err == nil {
		n := h.opened.Add(1)
		for m := h.most.Load(); n > m && !h.most.CompareAndSwap(m, n); m = h.most.Load() {
		}
	}
	return fd, err
}

func (h *hookHost) OpenRoot(dir string) (hostfs.FD, error) {
	return h.open("OpenRoot", ".", func() (hostfs.FD, error) { return h.Host.OpenRoot(dir) })
}

func (h *hookHost) OpenPath(dir hostfs.FD, name string) (hostfs.FD, error) {
	return h.open("OpenPath", name, func() (hostfs.FD, error) { return h.Host.OpenPath(dir, name) })
}

func (h *hookHost) OpenFile(dir hostfs.FD, name string, flags int) (hostfs.FD, error) {
	return h.open("OpenFile", name, func() (hostfs.FD, error) { return h.Host.OpenFile(dir, name, flags) })
}

func (h *hookHost) OpenDir(dir hostfs.FD) (hostfs.FD, error) {
	return h.open("OpenDir", ".", func() (hostfs.FD, error) { return h.Host.OpenDir(dir) })
}

func (h *hookHost) Reopen(fd hostfs.FD, flags int) (hostfs.FD, error) {
	return h.open("Reopen", ".", func() (hostfs.FD, error) { return h.Host.Reopen(fd, flags) })
}

func (h *hookHost) Create(dir hostfs.FD, name string, mode uint32) (hostfs.FD, error) {
	return h.open("Create", name, func() (hostfs.FD, error) { return h.Host.Create(dir, name, mode) })
}

func (h *hookHost) Close(fd hostfs.FD) error {
	h.opened.Add(-1)
	err := h.Host.Close(fd)
	if err := h.fails("Close"); err != nil {
		return err
	}
	if h.close != nil {
		return h.close(fd)
	}
	return err
}

func (h *hookHost) Stat(fd hostfs.FD, name string) (unix.Statx_t, error) {
	if err := h.fails("Stat"); err != nil {
		return unix.Statx_t{}, err
	}
	h.sent(name)
	st, err := h.Host.Stat(fd, name)
	if err == nil && h.stat != nil {
		err = h.stat(fd, name, &st)
	}
	return st, err
}

func (h *hookHost) StatBeneath(dir hostfs.FD, path string) (unix.Statx_t, error) {
	if err := h.fails("StatBeneath"); err != nil {
		return unix.Statx_t{}, err
	}
	for name := range strings.SplitSeq(path, "/") {
		h.sent(name)
	}
	st, err := h.Host.StatBeneath(dir, path)
	if err == nil && h.beneath != nil {
		err = h.beneath(path, &st)
	}
	return st, err
}

func (h *hookHost) Statfs(fd hostfs.FD) (unix.Statfs_t, error) {
	if err := h.fails("Statfs"); err != nil {
		return unix.Statfs_t{}, err
	}
	st, err := h.Host.Statfs(fd)
	if err == nil && h.statfs != nil {
		h.statfs(&st)
	}
	return st, err
}

func (h *hookHost) Getdents(fd hostfs.FD, buf []byte) (int, error) {
	if err := h.fails("Getdents"); err != nil {
		return 0, err
	}
	if h.getdents != nil {
		return h.getdents(buf)
	}
	return h.Host.Getdents(fd, buf)
}

func (h *hookHost) Readlink(dir hostfs.FD, name string, buf []byte) (int, error) {
	if err := h.fails("Readlink"); err != nil {
		return 0, err
	}
	h.sent(name)
	if h.readlink != nil {
		return h.readlink(buf)
	}
	return h.Host.Readlink(dir, name, buf)
}

func (h *hookHost) Mkdir(dir hostfs.FD, name string, mode uint32) error {
	if err := h.fails("Mkdir"); err != nil {
		return err
	}
	h.sent(name)
	return h.Host.Mkdir(dir, name, mode)
}

func (h *hookHost) Unlink(dir hostfs.FD, name string) error {
	if err := h.fails("Unlink"); err != nil {
		return err
	}
	h.sent(name)
	if h.unlink != nil {
		return h.unlink()
	}
	return h.Host.Unlink(dir, name)
}

func (h *hookHost) Rename(oldDir hostfs.FD, oldName string, dir hostfs.FD, name string, flags uint32) error {
	if err := h.fails("Rename"); err != nil {
		return err
	}
	h.sent(oldName)
	h.sent(name)
	return h.Host.Rename(oldDir, oldName, dir, name, flags)
}

func (h *hookHost) Pread(fd hostfs.FD, p []byte, off int64) (int, error) {
	if err := h.fails("Pread"); err != nil {
		return 0, err
	}
	if h.pread != nil {
		return h.pread(p)
	}
	return h.Host.Pread(fd, p, off)
}

func (h *hookHost) Pwrite(fd hostfs.FD, p []byte, off int64) (int, error) {
	if err := h.fails("Pwrite"); err != nil {
		return 0, err
	}
	if h.pwrite != nil {
		return h.pwrite(p)
	}
	return h.Host.Pwrite(fd, p, off)
}

func (h *hookHost) Append(fd hostfs.FD, p []byte) (int, int64, error) {
	if err := h.fails("Append"); err != nil {
		return 0, 0, err
	}
	if h.append != nil {
		return h.append(p)
	}
	return h.Host.Append(fd, p)
}

func (h *hookHost) Seek(fd hostfs.FD, off int64, whence int) (int64, error) {
	if err := h.fails("Seek"); err != nil {
		return 0, err
	}
	if h.seek != nil {
		return h.seek(off)
	}
	return h.Host.Seek(fd, off, whence)
}

func (h *hookHost) Fsync(fd hostfs.FD, datasync bool) error {
	if err := h.fails("Fsync"); err != nil {
		return err
	}
	if h.fsync != nil {
		if err := h.fsync(fd); err != nil {
			return err
		}
	}
	return h.Host.Fsync(fd, datasync)
}

func (h *hookHost) Getxattr(fd hostfs.FD, name string, buf []byte) (int, error) {
	if err := h.fails("Getxattr"); err != nil {
		return 0, err
	}
	if h.getxattr != nil {
		return h.getxattr(buf)
	}
	return h.Host.Getxattr(fd, name, buf)
}

func (h *hookHost) Symlink(target string, dir hostfs.FD, name string) error {
	if err := h.fails("Symlink"); err != nil {
		return err
	}
	h.sent(name)
	return h.Host.Symlink(target, dir, name)
}

func (h *hookHost) Link(oldDir hostfs.FD, oldName string, dir hostfs.FD, name string) error {
	if err := h.fails("Link"); err != nil {
		return err
	}
	h.sent(oldName)
	h.sent(name)
	return h.Host.Link(oldDir, oldName, dir, name)
}

func (h *hookHost) Rmdir(dir hostfs.FD, name string) error {
	if err := h.fails("Rmdir"); err != nil {
		return err
	}
	h.sent(name)
	return h.Host.Rmdir(dir, name)
}

func (h *hookHost) Truncate(fd hostfs.FD, size int64) error {
	if err := h.fails("Truncate"); err != nil {
		return err
	}
	return h.Host.Truncate(fd, size)
}

func (h *hookHost) Fallocate(fd hostfs.FD, mode uint32, off, n int64) error {
	if err := h.fails("Fallocate"); err != nil {
		return err
	}
	return h.Host.Fallocate(fd, mode, off, n)
}

func (h *hookHost) Chmod(fd hostfs.FD, mode uint32) error {
	if err := h.fails("Chmod"); err != nil {
		return err
	}
	return h.Host.Chmod(fd, mode)
}

func (h *hookHost) Chown(fd hostfs.FD, uid, gid int) error {
	if err := h.fails("Chown"); err != nil {
		return err
	}
	return h.Host.Chown(fd, uid, gid)
}

func (h *hookHost) Utimes(fd hostfs.FD, ts [2]unix.Timespec) error {
	if err := h.fails("Utimes"); err != nil {
		return err
	}
	return h.Host.Utimes(fd, ts)
}

func (h *hookHost) Setxattr(fd hostfs.FD, name string, value []byte, flags int) error {
	if err := h.fails("Setxattr"); err != nil {
		return err
	}
	return h.Host.Setxattr(fd, name, value, flags)
}

func (h *hookHost) Listxattr(fd hostfs.FD, buf []byte) (int, error) {
	if err := h.fails("Listxattr"); err != nil {
		return 0, err
	}
	return h.Host.Listxattr(fd, buf)
}

func (h *hookHost) Removexattr(fd hostfs.FD, name string) error {
	if err := h.fails("Removexattr"); err != nil {
		return err
	}
	return h.Host.Removexattr(fd, name)
}
