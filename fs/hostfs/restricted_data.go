package hostfs

import "golang.org/x/sys/unix"

// These are the calls of restrictedHost on descriptors of the host, and those that it has not got.

// Getdents hides which entries are links, because nothing else shows that.
func (h *restrictedHost) Getdents(fd FD, buf []byte) (int, error) {
	n, err := h.real(fd)
	if err != nil {
		return 0, err
	}
	n, err = unix.Getdents(n, buf)
	if err == nil {
		hideLinks(buf[:max(0, min(n, len(buf)))])
	}
	return n, err
}

// hideLinks makes the type of links unknown in records of getdents64(2). What makes no sense is left as it is.
func hideLinks(buf []byte) {
	for len(buf) > direntName {
		n := int(buf[direntLen]) | int(buf[direntLen+1])<<8
		if n <= direntName || n > len(buf) {
			return
		}
		if buf[direntType] == unix.DT_LNK {
			buf[direntType] = unix.DT_UNKNOWN
		}
		buf = buf[n:]
	}
}

func (h *restrictedHost) Pread(fd FD, p []byte, off int64) (int, error) {
	n, err := h.real(fd)
	if err != nil {
		return 0, err
	}
	return unix.Pread(n, p, off)
}

// Pwrite clears O_APPEND first, with which pwrite(2) would append, too.
func (h *restrictedHost) Pwrite(fd FD, p []byte, off int64) (int, error) {
	f, err := h.file(fd)
	if err != nil {
		return 0, err
	}
	f.appendMu.RLock()
	if !f.appends {
		defer f.appendMu.RUnlock()
		return unix.Pwrite(f.fd, p, off)
	}
	f.appendMu.RUnlock()
	f.appendMu.Lock()
	defer f.appendMu.Unlock()
	if err := f.setAppend(false); err != nil {
		return 0, err
	}
	return unix.Pwrite(f.fd, p, off)
}

// Append sets O_APPEND, and leaves it for the next time. The host moves the position, which nothing else
// uses, to where it has written.
func (h *restrictedHost) Append(fd FD, p []byte) (n int, end int64, err error) {
	f, err := h.file(fd)
	if err != nil {
		return 0, 0, err
	}
	f.appendMu.Lock()
	defer f.appendMu.Unlock()
	if err := f.setAppend(true); err != nil {
		return 0, 0, err
	}
	if n, err = unix.Write(f.fd, p); err != nil {
		return 0, 0, err
	}
	end, err = unix.Seek(f.fd, 0, unix.SEEK_CUR)
	return n, end, err
}

// setAppend sets or clears O_APPEND.
//
// Preconditions: f.appendMu is held for writing.
func (f *pathFile) setAppend(on bool) error {
	if f.appends == on {
		return nil
	}
	flags := unix.O_NONBLOCK // of those that F_SETFL sets, what open has set
	if on {
		flags |= unix.O_APPEND
	}
	_, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags)
	if err == nil {
		f.appends = on
	}
	return err
}

// Seek is for directories: there is no CanSeekData.
func (h *restrictedHost) Seek(fd FD, off int64, whence int) (int64, error) {
	n, err := h.real(fd)
	if err != nil {
		return 0, err
	}
	return unix.Seek(n, off, whence)
}

func (h *restrictedHost) Truncate(fd FD, size int64) error {
	n, err := h.real(fd)
	if err != nil {
		return err
	}
	return unix.Ftruncate(n, size)
}

// Fsync has no weaker form.
func (h *restrictedHost) Fsync(fd FD, datasync bool) error {
	n, err := h.real(fd)
	if err != nil {
		return err
	}
	return unix.Fsync(n)
}

func (h *restrictedHost) Reopen(FD, int) (FD, error) { return -1, unix.ESTALE }

func (h *restrictedHost) StatBeneath(FD, string) (unix.Statx_t, error) {
	return unix.Statx_t{}, unix.EOPNOTSUPP
}

func (h *restrictedHost) Statfs(FD) (unix.Statfs_t, error) {
	return unix.Statfs_t{}, unix.EOPNOTSUPP
}

func (h *restrictedHost) Readlink(FD, string, []byte) (int, error) { return 0, unix.EOPNOTSUPP }
func (h *restrictedHost) Symlink(string, FD, string) error         { return unix.EPERM }
func (h *restrictedHost) Fallocate(FD, uint32, int64, int64) error { return unix.EOPNOTSUPP }
func (h *restrictedHost) Chmod(FD, uint32) error                   { return unix.EPERM }
func (h *restrictedHost) Chown(FD, int, int) error                 { return unix.EPERM }
func (h *restrictedHost) Utimes(FD, [2]unix.Timespec) error        { return unix.EPERM }
func (h *restrictedHost) Getxattr(FD, string, []byte) (int, error) { return 0, unix.EOPNOTSUPP }
func (h *restrictedHost) Setxattr(FD, string, []byte, int) error   { return unix.EOPNOTSUPP }
func (h *restrictedHost) Listxattr(FD, []byte) (int, error)        { return 0, unix.EOPNOTSUPP }
func (h *restrictedHost) Removexattr(FD, string) error             { return unix.EOPNOTSUPP }
