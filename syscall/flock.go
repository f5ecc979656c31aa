package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// lockMand is asm-generic/fcntl.h: LOCK_MAND, the mark of mandatory locks, which
// never worked. Since Linux 5.15 they are a silent no-op.
const lockMand = 32

// Flock sets or drops the lock of fd's open file description, as flock(2) does;
// how is LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB or without. Exit and
// Interrupt end a wait.
//
// Errors: EINVAL for other operations; EBADF, also for O_PATH descriptors;
// EWOULDBLOCK with LOCK_NB; EINTR.
func (t *Task) Flock(fd, how int) error {
	if how&lockMand != 0 {
		return nil
	}
	op, mode := how&^unix.LOCK_NB, vfs.LockWait
	if how&unix.LOCK_NB != 0 {
		mode = vfs.LockTry
	}
	switch op {
	case unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN:
	default:
		return unix.EINVAL
	}
	f, err := t.fds.get(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	return t.waitLock(mode, func(ctx context.Context) error { return f.Flock(ctx, op, mode) })
}

// FcntlFlock does the commands of fcntl(2) that take a struct flock: F_GETLK,
// F_SETLK and F_SETLKW for the record locks of the process, F_OFD_GETLK,
// F_OFD_SETLK and F_OFD_SETLKW for those of the open file description. A
// process loses its locks on a file when it closes any descriptor of it. Exit and
// Interrupt end a wait. Pid is the number that Getpid returns.
//
// Errors: EBADF, also for O_PATH descriptors, and for locks that the access
// mode does not permit; EINVAL for other commands, a bad type, whence or range,
// and for OFD locks with Pid other than 0; EOVERFLOW; EAGAIN for F_SETLK and
// F_OFD_SETLK; EDEADLK for F_SETLKW; EINTR.
func (t *Task) FcntlFlock(fd, cmd int, lk *unix.Flock_t) error {
	f, err := t.fds.get(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	owner, mode := t.locks, vfs.LockTry
	switch cmd {
	case unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		owner = nil
	}
	switch cmd {
	case unix.F_GETLK, unix.F_OFD_GETLK:
		return f.Getlk(context.Background(), owner, lk)
	case unix.F_SETLKW, unix.F_OFD_SETLKW:
		mode = vfs.LockWait
	case unix.F_SETLK, unix.F_OFD_SETLK:
	default:
		return unix.EINVAL
	}
	err = t.waitLock(mode, func(ctx context.Context) error { return f.Setlk(ctx, owner, lk, mode) })
	if err == nil && owner != nil && lk.Type != unix.F_UNLCK && !t.fds.has(fd, f) {
		// Another thread has closed fd meanwhile and, maybe before the lock was set,
		// dropped the locks of the process (fs/locks.c: fcntl_setlk).
		f.DropLocks(owner)
		return unix.EBADF
	}
	return err
}

// waitLock calls lock with a context that Exit and Interrupt end, if it may
// wait.
func (t *Task) waitLock(mode vfs.LockMode, lock func(ctx context.Context) error) error {
	if mode == vfs.LockTry {
		return lock(context.Background())
	}
	ctx, done := t.waits.begin()
	defer done()
	return lock(ctx)
}

// closeFile drops the table's reference on f, which a descriptor stood for, and
// with it the record locks of the process (fs/open.c: filp_close).
func (t *Task) closeFile(f *vfs.File) error {
	f.DropLocks(t.locks)
	return f.Close(context.Background())
}

// has reports whether fd stands for f.
func (t *fdTable) has(fd int, f *vfs.File) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.fileLocked(fd) == f
}
