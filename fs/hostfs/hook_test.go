package hostfs_test

import (
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
)

// hookHost is the kernel with some answers replaced, and its open descriptors counted.
type hookHost struct {
	hostfs.Host

	openFD   func() error // before each call that opens
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

func (h *hookHost) open(name string, f func() (hostfs.FD, error)) (hostfs.FD, error) {
	h.sent(name)
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
	return h.open(".", func() (hostfs.FD, error) { return h.Host.OpenRoot(dir) })
}

func (h *hookHost) OpenPath(dir hostfs.FD, name string) (hostfs.FD, error) {
	return h.open(name, func() (hostfs.FD, error) { return h.Host.OpenPath(dir, name) })
}

func (h *hookHost) OpenFile(dir hostfs.FD, name string, flags int) (hostfs.FD, error) {
	return h.open(name, func() (hostfs.FD, error) { return h.Host.OpenFile(dir, name, flags) })
}

func (h *hookHost) OpenDir(dir hostfs.FD) (hostfs.FD, error) {
	return h.open(".", func() (hostfs.FD, error) { return h.Host.OpenDir(dir) })
}

func (h *hookHost) Reopen(fd hostfs.FD, flags int) (hostfs.FD, error) {
	return h.open(".", func() (hostfs.FD, error) { return h.Host.Reopen(fd, flags) })
}

func (h *hookHost) Create(dir hostfs.FD, name string, mode uint32) (hostfs.FD, error) {
	return h.open(name, func() (hostfs.FD, error) { return h.Host.Create(dir, name, mode) })
}

func (h *hookHost) Close(fd hostfs.FD) error {
	h.opened.Add(-1)
	err := h.Host.Close(fd)
	if h.close != nil {
		return h.close(fd)
	}
	return err
}

func (h *hookHost) Stat(fd hostfs.FD, name string) (unix.Statx_t, error) {
	h.sent(name)
	st, err := h.Host.Stat(fd, name)
	if err == nil && h.stat != nil {
		err = h.stat(fd, name, &st)
	}
	return st, err
}

func (h *hookHost) StatBeneath(dir hostfs.FD, path string) (unix.Statx_t, error) {
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
	st, err := h.Host.Statfs(fd)
	if err == nil && h.statfs != nil {
		h.statfs(&st)
	}
	return st, err
}

func (h *hookHost) Getdents(fd hostfs.FD, buf []byte) (int, error) {
	if h.getdents != nil {
		return h.getdents(buf)
	}
	return h.Host.Getdents(fd, buf)
}

func (h *hookHost) Readlink(dir hostfs.FD, name string, buf []byte) (int, error) {
	h.sent(name)
	if h.readlink != nil {
		return h.readlink(buf)
	}
	return h.Host.Readlink(dir, name, buf)
}

func (h *hookHost) Mkdir(dir hostfs.FD, name string, mode uint32) error {
	h.sent(name)
	return h.Host.Mkdir(dir, name, mode)
}

func (h *hookHost) Unlink(dir hostfs.FD, name string) error {
	h.sent(name)
	if h.unlink != nil {
		return h.unlink()
	}
	return h.Host.Unlink(dir, name)
}

func (h *hookHost) Rename(oldDir hostfs.FD, oldName string, dir hostfs.FD, name string, flags uint32) error {
	h.sent(oldName)
	h.sent(name)
	return h.Host.Rename(oldDir, oldName, dir, name, flags)
}

func (h *hookHost) Pread(fd hostfs.FD, p []byte, off int64) (int, error) {
	if h.pread != nil {
		return h.pread(p)
	}
	return h.Host.Pread(fd, p, off)
}

func (h *hookHost) Pwrite(fd hostfs.FD, p []byte, off int64) (int, error) {
	if h.pwrite != nil {
		return h.pwrite(p)
	}
	return h.Host.Pwrite(fd, p, off)
}

func (h *hookHost) Append(fd hostfs.FD, p []byte) (int, int64, error) {
	if h.append != nil {
		return h.append(p)
	}
	return h.Host.Append(fd, p)
}

func (h *hookHost) Seek(fd hostfs.FD, off int64, whence int) (int64, error) {
	if h.seek != nil {
		return h.seek(off)
	}
	return h.Host.Seek(fd, off, whence)
}

func (h *hookHost) Fsync(fd hostfs.FD, datasync bool) error {
	if h.fsync != nil {
		if err := h.fsync(fd); err != nil {
			return err
		}
	}
	return h.Host.Fsync(fd, datasync)
}

func (h *hookHost) Getxattr(fd hostfs.FD, name string, buf []byte) (int, error) {
	if h.getxattr != nil {
		return h.getxattr(buf)
	}
	return h.Host.Getxattr(fd, name, buf)
}
