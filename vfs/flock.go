package vfs

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"
)

// flock is one lock of flock(2), on the whole file.
type flock struct {
	file      *File
	exclusive bool
}

// Flock sets, changes or drops the lock of the open file description, as flock(2) does; how is LOCK_SH, LOCK_EX or
// LOCK_UN, without LOCK_NB: mode says that. Changing a lock drops the old one first, so that another may get in
// between, and with LockTry it is lost if that happens.
//
// Errors: EINVAL for other operations; EBADF for an O_PATH file, and to lock with a file that can neither read
// nor write; EAGAIN (EWOULDBLOCK) with LockTry; EINTR when ctx ends.
func (f *File) Flock(ctx context.Context, how int, mode LockMode) error {
	switch how {
	case unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN:
	default:
		return unix.EINVAL
	}
	if f.isPath() || how != unix.LOCK_UN && !f.Readable() && !f.Writable() {
		return unix.EBADF
	}
	if how == unix.LOCK_UN {
		if t := f.lockTable(); t != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.unflockLocked(f)
		}
		return nil
	}
	t, want := f.makeLockTable(), flock{file: f, exclusive: how == unix.LOCK_EX}
	return t.lock(ctx, mode, nil, func() (bool, *LockOwner) {
		return t.flockLocked(want), nil
	})
}

// flockLocked sets want, in place of the lock that its file has; false if another is in the
// way (fs/locks.c: flock_lock_inode).
//
// Preconditions:
//   - t.mu is held.
func (t *lockTable) flockLocked(want flock) bool {
	if slices.Contains(t.flocks, want) {
		return true
	}
	t.unflockLocked(want.file)
	if slices.ContainsFunc(t.flocks, func(l flock) bool { return l.exclusive || want.exclusive }) {
		return false
	}
	t.flocks = append(t.flocks, want)
	return true
}

// unflockLocked drops the lock that f has, if any.
//
// Preconditions:
//   - t.mu is held.
func (t *lockTable) unflockLocked(f *File) {
	if i := slices.IndexFunc(t.flocks, func(l flock) bool { return l.file == f }); i >= 0 {
		t.flocks = slices.Delete(t.flocks, i, i+1)
		t.wakeLocked()
	}
}
