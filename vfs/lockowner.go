package vfs

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// LockOwner is a process as the owner of record locks. It corresponds to the struct files_struct that
// fl_owner points to.
type LockOwner struct {
	id    int
	graph *lockGraph
	waits []*lockWait // of its threads; guarded by graph.mu
}

// lockGraph says which processes wait for which (fs/locks.c: blocked_hash).
type lockGraph struct {
	mu     sync.Mutex
	lastID int
}

// NewLockOwner returns the lock owner of a new process.
func (ns *Namespace) NewLockOwner() *LockOwner {
	ns.waits.mu.Lock()
	defer ns.waits.mu.Unlock()
	ns.waits.lastID++
	return &LockOwner{id: ns.waits.lastID, graph: &ns.waits}
}

// ID returns the process number that F_GETLK shows: 1 for the first of the namespace.
func (o *LockOwner) ID() int { return o.id }

// enter notes that w waits, if it does so for a process.
//
// Errors: EDEADLK if that process waits for w's, directly or by way of others.
func (w *lockWait) enter() error {
	if w.owner == nil || w.blocker == nil {
		return nil
	}
	g := w.owner.graph
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.blocker.waitsForLocked(w.owner, map[*LockOwner]bool{}) {
		return unix.EDEADLK
	}
	w.owner.waits = append(w.owner.waits, w)
	return nil
}

func (w *lockWait) leave() {
	if w.owner == nil || w.blocker == nil {
		return
	}
	g := w.owner.graph
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(w.owner.waits, w); i >= 0 {
		w.owner.waits = slices.Delete(w.owner.waits, i, i+1)
	}
}

// waitsForLocked reports whether o is target or waits for it. It leaves out those in seen.
//
// Preconditions:
//   - graph.mu is held.
func (o *LockOwner) waitsForLocked(target *LockOwner, seen map[*LockOwner]bool) bool {
	if o == target {
		return true
	}
	if seen[o] {
		return false
	}
	seen[o] = true
	return slices.ContainsFunc(o.waits, func(w *lockWait) bool {
		return w.blocker.waitsForLocked(target, seen)
	})
}
