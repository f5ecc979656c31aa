package vfs

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// LockMode says what a lock call does while another lock is in the way.
type LockMode int

const (
	LockTry  LockMode = iota // fail with EAGAIN
	LockWait                 // wait
)

// lockTable holds the advisory locks of one inode, and who waits for one. It corresponds to
// struct file_lock_context. An inode has one from its first lock on.
type lockTable struct {
	mu      sync.Mutex
	flocks  []flock      // one per open file at most
	records []recordLock // those of one holder stand together, in the order of their offsets
	waiting []*lockWait
}

// lockWait is one call that waits.
type lockWait struct {
	owner, blocker *LockOwner // of record locks of processes, nil for others
	woken          chan struct{}
}

// lockTable returns the locks of f's inode, nil if it never had one.
func (f *File) lockTable() *lockTable { return f.path.dentry.inode.state().locks.Load() }

// makeLockTable returns the locks of f's inode.
func (f *File) makeLockTable() *lockTable {
	st := f.path.dentry.inode.state()
	if t := st.locks.Load(); t != nil {
		return t
	}
	st.locks.CompareAndSwap(nil, new(lockTable))
	return st.locks.Load()
}

// dropOwnLocks gives up the locks that belong to the open file description
// (fs/locks.c: locks_remove_file).
func (f *File) dropOwnLocks() {
	t := f.lockTable()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unflockLocked(f)
	t.dropLocked(holder{file: f})
}

// lock calls try under t.mu until that says that nothing is in the way any more.
// blocker is the process in the way, if it is one.
//
// Errors: EAGAIN with LockTry; EDEADLK if blocker waits for owner; EINTR when ctx ends.
func (t *lockTable) lock(ctx context.Context, mode LockMode, owner *LockOwner, try func() (done bool, blocker *LockOwner)) error {
	for {
		w, err := t.attempt(mode, owner, try)
		if w == nil {
			return err
		}
		select {
		case <-w.woken:
		case <-ctx.Done():
			t.forget(w)
			return unix.EINTR
		}
	}
}

// attempt calls try. If the caller has to wait, the result says for what.
func (t *lockTable) attempt(mode LockMode, owner *LockOwner, try func() (bool, *LockOwner)) (*lockWait, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	done, blocker := try()
	if done {
		return nil, nil
	}
	if mode == LockTry {
		return nil, unix.EAGAIN
	}
	w := &lockWait{owner: owner, blocker: blocker, woken: make(chan struct{})}
	if err := w.enter(); err != nil {
		return nil, err
	}
	t.waiting = append(t.waiting, w)
	return w, nil
}

// forget takes out a call that waits no longer.
func (t *lockTable) forget(w *lockWait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, w); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		w.leave()
	}
}

// wakeLocked makes all that wait try again, after a lock has gone or become weaker.
//
// Preconditions:
//   - t.mu is held.
func (t *lockTable) wakeLocked() {
	for _, w := range t.waiting {
		w.leave() // now, lest others see a cycle that is none any more
		close(w.woken)
	}
	t.waiting = nil
}
