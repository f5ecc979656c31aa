package treecopy

import (
	"errors"
	"fmt"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// regular copies a regular file to the host, holes as holes.
func (x *extractor) regular(p vfs.Path, size int64, dst place, name string, m *meta) error {
	path := Join(dst.path, name)
	f, err := x.open(p, path)
	if err != nil {
		return err
	}
	defer f.Close(x.ctx)
	fd := -1
	err = x.put(dst.host, name, func(name string) (err error) {
		const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if fd, err = unix.Openat(dst.host.fd(), name, flags, 0o600); err != nil {
			return &Error{"create", dst.host.at(name), err}
		}
		return nil
	}, func(name string) error {
		at := dst.host.at(name)
		err := x.contents(f, path, size, fd, at)
		if err == nil {
			err = x.finish(fd, at, m)
		}
		if e := unix.Close(fd); e != nil && err == nil {
			err = &Error{"write", at, e}
		}
		if err != nil {
			return err
		}
		return setTimesAt(dst.host, name, m)
	})
	if err == nil {
		x.done(&x.totals.Files)
	}
	return err
}

// contents copies the data of a file to the host.
func (x *extractor) contents(f *vfs.File, path string, size int64, fd int, at string) error {
	if x.Unreadable != nil {
		return x.salvage(f, path, size, fd, at)
	}
	end := int64(0)
	err := x.runs(f, path, size, func(piece run) error {
		end = piece.end
		return x.read(f, path, piece, func(data []byte, off int64) error {
			if err := pwriteAll(fd, data, off); err != nil {
				return &Error{"write", at, err}
			}
			x.totals.Bytes += int64(len(data))
			x.progress(0, int64(len(data)))
			return nil
		})
	})
	if err != nil {
		return err
	}
	if end < size { // it ends with a hole
		if err := unix.Ftruncate(fd, size); err != nil {
			return &Error{"truncate", at, err}
		}
	}
	return nil
}

func pwriteAll(fd int, data []byte, off int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// finishDir gives a directory its attributes, when its entries are there.
func (x *extractor) finishDir(dir *hostDir, m *meta) error {
	if err := x.finish(dir.fd(), dir.path, m); err != nil {
		return err
	}
	return setTimesAt(dir, ".", m)
}

// finish sets owner, extended attributes and mode of an open file. A change of owner takes
// capabilities and set-id bits away; with the mode, the right to set attributes may go.
func (x *extractor) finish(fd int, at string, m *meta) error {
	kept, err := x.chown(at, m, func() error { return unix.Fchown(fd, int(m.owner.UID), int(m.owner.GID)) })
	if err != nil {
		return err
	}
	for name, value := range m.xattrs {
		err := unix.Fsetxattr(fd, name, value, 0)
		if x.Skipped != nil && notTaken(err) {
			x.Skipped(at+": attribute "+name, err)
			continue
		}
		if err != nil {
			return &Error{"set attribute of", at, err}
		}
	}
	if err := unix.Fchmod(fd, m.permFor(kept)); err != nil {
		return &Error{"chmod", at, err}
	}
	return nil
}

// notTaken reports whether an error of setting an attribute is about the attribute: its
// namespace, value or size is not for the caller or the file system.
func notTaken(err error) bool {
	for _, errno := range []unix.Errno{unix.EPERM, unix.EOPNOTSUPP, unix.EINVAL, unix.ERANGE, unix.E2BIG, unix.ENOSPC} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// permFor returns the permission bits: without its owner a file has no set-id bits.
func (m *meta) permFor(ownerKept bool) uint32 {
	if !ownerKept && m.kind() != unix.S_IFDIR {
		return m.perm() &^ (unix.S_ISUID | unix.S_ISGID)
	}
	return m.perm()
}

func (x *extractor) chownAt(dir *hostDir, name string, m *meta) (kept bool, err error) {
	return x.chown(dir.at(name), m, func() error {
		return unix.Fchownat(dir.fd(), name, int(m.owner.UID), int(m.owner.GID), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// chown changes an owner, if the caller may.
func (x *extractor) chown(at string, m *meta, chown func() error) (kept bool, err error) {
	err = chown()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL): // no privilege; no such id in a user namespace
		x.totals.Foreign++
		return false, nil
	}
	return false, &Error{"chown", at, err}
}

func setTimesAt(dir *hostDir, name string, m *meta) error {
	times := []unix.Timespec{m.times.Atime, m.times.Mtime}
	if err := unix.UtimesNanoAt(dir.fd(), name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{"set times of", dir.at(name), err}
	}
	return nil
}

// chmodAt changes the mode of what cannot be opened. chmod(2) of a name would follow a symbolic link.
func chmodAt(dir *hostDir, name string, perm uint32) error {
	fd, err := unix.Openat(dir.fd(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &Error{"open", dir.at(name), err}
	}
	defer unix.Close(fd)
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), perm); err != nil {
		return &Error{"chmod", dir.at(name), err}
	}
	return nil
}
