package vfs

import (
	"context"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// holder is who has a record lock: a process or, for an open file description lock, that.
type holder struct {
	process *LockOwner
	file    *File
}

// recordLock is one lock of fcntl(2), on the bytes from start to end, both included.
type recordLock struct {
	holder
	write      bool
	start, end int64 // math.MaxInt64 stands for the end of file, wherever that is
}

func (l *recordLock) overlaps(r *recordLock) bool { return l.start <= r.end && r.start <= l.end }

// touches reports whether l and r overlap or are neighbours.
func (l *recordLock) touches(r *recordLock) bool { return l.start-1 <= r.end && r.start-1 <= l.end }

// Getlk looks for a lock in the way of lk and puts it into lk, or F_UNLCK if there is none (F_GETLK). owner is
// the process that asks; nil asks for the open file description (F_OFD_GETLK), where F_UNLCK
// looks for its own locks.
//
// Errors: EBADF for an O_PATH file; EINVAL for a bad type, whence or range, and for Pid != 0 without owner; EOVERFLOW.
func (f *File) Getlk(ctx context.Context, owner *LockOwner, lk *unix.Flock_t) error {
	if f.isPath() {
		return unix.EBADF
	}
	if owner != nil && lk.Type != unix.F_RDLCK && lk.Type != unix.F_WRLCK {
		return unix.EINVAL
	}
	want, err := f.recordLock(ctx, owner, lk)
	if err != nil {
		return err
	}
	if owner == nil && lk.Pid != 0 {
		return unix.EINVAL
	}
	found := f.findLock(&want, lk.Type == unix.F_UNLCK)
	if found == nil {
		lk.Type = unix.F_UNLCK
		return nil
	}
	*lk = unix.Flock_t{Type: unix.F_RDLCK, Whence: unix.SEEK_SET, Start: found.start, Pid: -1}
	if found.write {
		lk.Type = unix.F_WRLCK
	}
	if found.end != math.MaxInt64 {
		lk.Len = found.end - found.start + 1
	}
	if found.process != nil {
		lk.Pid = int32(found.process.id)
	}
	return nil
}

// findLock returns a copy of a lock in the way of want, or with own of one of its holder there.
func (f *File) findLock(want *recordLock, own bool) *recordLock {
	t := f.lockTable()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !own {
		return t.conflictLocked(want)
	}
	for _, l := range t.records {
		if l.holder == want.holder && l.overlaps(want) {
			return &l
		}
	}
	return nil
}

// Setlk sets or, with F_UNLCK, drops a record lock. owner is the process that gets it (F_SETLK, F_SETLKW); nil locks for the
// open file description (F_OFD_SETLK, F_OFD_SETLKW). Deadlocks are found among processes only.
//
// Errors: EBADF for an O_PATH file, for a read lock unless it is open for reading and a write lock unless for writing; EINVAL
// for a bad type, whence or range, and for Pid != 0 without owner; EOVERFLOW; EAGAIN with LockTry; EDEADLK; EINTR when ctx ends.
func (f *File) Setlk(ctx context.Context, owner *LockOwner, lk *unix.Flock_t, mode LockMode) error {
	if f.isPath() {
		return unix.EBADF
	}
	want, err := f.recordLock(ctx, owner, lk)
	if err != nil {
		return err
	}
	switch {
	case lk.Type == unix.F_RDLCK && !f.Readable(), lk.Type == unix.F_WRLCK && !f.Writable():
		return unix.EBADF
	case owner == nil && lk.Pid != 0:
		return unix.EINVAL
	}
	if lk.Type == unix.F_UNLCK {
		if t := f.lockTable(); t != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.replaceLocked(want, false)
		}
		return nil
	}
	t := f.makeLockTable()
	return t.lock(ctx, mode, owner, func() (bool, *LockOwner) {
		if other := t.conflictLocked(&want); other != nil {
			return false, other.process
		}
		t.replaceLocked(want, true)
		return true, nil
	})
}

// DropLocks drops the record locks that a process has on the file, as each close(2) of one of its
// descriptors does (fs/locks.c: locks_remove_posix).
func (f *File) DropLocks(owner *LockOwner) {
	if t := f.lockTable(); t != nil && !f.isPath() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.dropLocked(holder{process: owner})
	}
}

// recordLock reads what lk says (fs/locks.c: flock_to_posix_lock).
func (f *File) recordLock(ctx context.Context, owner *LockOwner, lk *unix.Flock_t) (recordLock, error) {
	l := recordLock{holder: holder{process: owner}, write: lk.Type == unix.F_WRLCK}
	if owner == nil {
		l.file = f
	}
	base, err := f.lockBase(ctx, lk.Whence)
	switch {
	case err != nil:
		return l, err
	case lk.Start > math.MaxInt64-base:
		return l, unix.EOVERFLOW
	}
	l.start, l.end = base+lk.Start, math.MaxInt64
	switch {
	case l.start < 0:
		return l, unix.EINVAL
	case lk.Len > 0 && lk.Len-1 > math.MaxInt64-l.start:
		return l, unix.EOVERFLOW
	case lk.Len > 0:
		l.end = l.start + lk.Len - 1
	case lk.Len < 0 && l.start+lk.Len < 0:
		return l, unix.EINVAL
	case lk.Len < 0:
		l.start, l.end = l.start+lk.Len, l.start-1
	}
	switch lk.Type {
	case unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK:
		return l, nil
	}
	return l, unix.EINVAL
}

// lockBase returns the offset in bytes that l_start counts from.
func (f *File) lockBase(ctx context.Context, whence int16) (int64, error) {
	switch whence {
	case unix.SEEK_SET:
		return 0, nil
	case unix.SEEK_CUR:
		f.posMu.Lock()
		defer f.posMu.Unlock()
		return f.pos, nil
	case unix.SEEK_END:
		a, err := f.path.dentry.inode.Getattr(ctx, unix.STATX_SIZE)
		return a.Size, err
	}
	return 0, unix.EINVAL
}

// conflictLocked returns a copy of the first lock of another holder in the way of want.
//
// Preconditions:
//   - t.mu is held.
func (t *lockTable) conflictLocked(want *recordLock) *recordLock {
	for _, l := range t.records {
		if l.holder != want.holder && (l.write || want.write) && l.overlaps(want) {
			return &l
		}
	}
	return nil
}

// replaceLocked makes r what its holder has on that range: a lock, or with set false none. Locks of one
// type that touch become one (fs/locks.c: posix_lock_inode).
//
// Preconditions:
//   - t.mu is held.
//   - No lock of another holder is in the way.
func (t *lockTable) replaceLocked(r recordLock, set bool) {
	out := make([]recordLock, 0, len(t.records)+2)
	placed, freed := !set, false
	place := func() {
		if !placed {
			out, placed = append(out, r), true
		}
	}
	inGroup := false
	for _, l := range t.records {
		switch {
		case l.holder != r.holder:
			if inGroup {
				place()
			}
			out = append(out, l)
			continue
		case set && l.write == r.write && l.touches(&r):
			r.start, r.end = min(l.start, r.start), max(l.end, r.end)
		case l.end < r.start:
			out = append(out, l)
		case l.start > r.end:
			place()
			out = append(out, l)
		default:
			freed = true
			if l.start < r.start {
				left := l
				left.end = r.start - 1
				out = append(out, left)
			}
			if l.end > r.end {
				place()
				l.start = r.end + 1
				out = append(out, l)
			}
		}
		inGroup = true
	}
	place()
	t.records = out
	if freed {
		t.wakeLocked()
	}
}

// dropLocked drops all record locks of h.
//
// Preconditions:
//   - t.mu is held.
func (t *lockTable) dropLocked(h holder) {
	n := len(t.records)
	t.records = slices.DeleteFunc(t.records, func(l recordLock) bool { return l.holder == h })
	if len(t.records) < n {
		t.wakeLocked()
	}
}
