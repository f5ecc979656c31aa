package syscall

import "golang.org/x/sys/unix"

// Getrlimit puts a resource limit into lim, as getrlimit(2) does. The one
// resource is RLIMIT_NOFILE, the lowest descriptor that cannot be had.
//
// Errors: EINVAL for other resources.
func (t *Task) Getrlimit(resource int, lim *unix.Rlimit) error {
	if resource != unix.RLIMIT_NOFILE {
		return unix.EINVAL
	}
	t.fds.mu.RLock()
	defer t.fds.mu.RUnlock()
	*lim = t.fds.nofile
	return nil
}

// Setrlimit sets a resource limit, as setrlimit(2) does. Open descriptors at or
// above a new RLIMIT_NOFILE stay open.
//
// Errors: EINVAL for other resources than RLIMIT_NOFILE and for a soft limit
// above the hard one; EPERM for raising the hard limit unless root, and above
// 1048576 for anybody.
func (t *Task) Setrlimit(resource int, lim *unix.Rlimit) error {
	if resource != unix.RLIMIT_NOFILE || lim.Cur > lim.Max {
		return unix.EINVAL
	}
	if lim.Max > nrOpen {
		return unix.EPERM
	}
	root := t.Geteuid() == 0
	t.fds.mu.Lock()
	defer t.fds.mu.Unlock()
	if lim.Max > t.fds.nofile.Max && !root {
		return unix.EPERM
	}
	if !t.fds.dead {
		t.fds.nofile = *lim
	}
	return nil
}
