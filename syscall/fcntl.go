package syscall

import "golang.org/x/sys/unix"

// Fcntl does the commands F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL
// and F_SETFL of fcntl(2).
//
// There are no file locks: the lock commands fail with ENOLCK.
//
// Errors: EBADF, for O_PATH descriptors with F_SETFL and locks, too; EINVAL
// for other commands, and for F_DUPFD from a negative number or one at or
// above RLIMIT_NOFILE; EMFILE; EPERM for O_NOATIME on another's file.
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
	if cmd == unix.F_GETFL {
		return f.Flags(), nil
	}
	if f.Flags()&unix.O_PATH != 0 {
		return -1, unix.EBADF
	}
	switch cmd {
	case unix.F_SETFL:
		if err := f.SetFlags(arg); err != nil {
			return -1, err
		}
		return 0, nil
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW,
		unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return -1, unix.ENOLCK
	}
	return -1, unix.EINVAL
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
