package syscall

import (
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Fcntl does the commands of fcntl(2) that take a number or nothing: F_DUPFD,
// F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_SETFD, F_GETFL, F_SETFL and
// F_CREATED_QUERY. Those on locks are FcntlFlock's. F_GETLEASE, F_GETOWN and
// F_GETSIG answer that nothing is set.
//
// Errors: EBADF, for O_PATH descriptors with other commands than the first
// eight, too, and for the commands on pipes; EINVAL for commands that are not offered, and for
// F_DUPFD from a negative number or one at or above RLIMIT_NOFILE; EMFILE;
// EPERM for O_NOATIME on another's file; EFAULT for the commands on locks.
func (t *Task) Fcntl(fd, cmd, arg int) (int, error) {
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		return t.fds.dupfd(fd, arg, cmd == unix.F_DUPFD_CLOEXEC)
	case unix.F_GETFD:
		return t.fds.getfd(fd)
	case unix.F_SETFD:
		return 0, t.fds.setfd(fd, arg)
	}
	f, err := t.fds.getRaw(fd)
	if err != nil {
		return -1, err
	}
	defer putFile(f)
	switch cmd {
	case unix.F_GETFL:
		return f.Flags(), nil
	case unix.F_DUPFD_QUERY:
		return t.fds.dupQuery(f, arg)
	case unix.F_CREATED_QUERY:
		if f.Created() {
			return 1, nil
		}
		return 0, nil
	}
	if f.Flags()&unix.O_PATH != 0 {
		return -1, unix.EBADF
	}
	switch cmd {
	case unix.F_SETFL:
		if err := t.use(f).SetFlags(arg); err != nil {
			return -1, err
		}
		return 0, nil
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW,
		unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return -1, unix.EFAULT
	case unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ:
		return -1, unix.EBADF
	case unix.F_GETLEASE:
		return unix.F_UNLCK, nil
	case unix.F_GETOWN, unix.F_GETSIG:
		return 0, nil
	}
	return -1, unix.EINVAL
}

// dupQuery says 1 if fd stands for f.
func (t *fdTable) dupQuery(f *vfs.File, fd int) (int, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch t.fileLocked(fd) {
	case nil:
		return -1, unix.EBADF
	case f:
		return 1, nil
	}
	return 0, nil
}

func (t *fdTable) dupfd(fd, least int, cloexec bool) (int, error) {
	t.mu.RLock()
	open, limit := t.fileLocked(fd) != nil, t.nofile.Cur
	t.mu.RUnlock()
	if !open {
		return -1, unix.EBADF
	}
	if least < 0 || uint64(least) >= limit {
		return -1, unix.EINVAL
	}
	return t.dup(fd, least, cloexec)
}

func (t *fdTable) getfd(fd int) (int, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch {
	case t.fileLocked(fd) == nil:
		return -1, unix.EBADF
	case t.slots[fd].cloexec:
		return unix.FD_CLOEXEC, nil
	}
	return 0, nil
}

func (t *fdTable) setfd(fd, flags int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fileLocked(fd) == nil {
		return unix.EBADF
	}
	t.slots[fd].cloexec = flags&unix.FD_CLOEXEC != 0
	return nil
}
