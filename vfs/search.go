package vfs

import (
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// searchNote says whether everybody may search a directory, so that walks need not ask the driver for its mode each time. Where names
// change behind the VFS that holds for the rest of the second in which it was seen: what the host does to
// the mode is seen a second later, what Setattr does at once.
type searchNote struct {
	// 0: not known; always; n > 0: in second n; -n: changed in second n, so that what was seen then, or before, may be from before.
	v atomic.Int64
}

const always = math.MaxInt64

func (s *searchNote) always() bool { return s.v.Load() == always }

func (s *searchNote) during(second int64) bool { return second > 0 && s.v.Load() == second }

// learn notes a mode that was asked for in or after the given second, which is none before 1970.
func (s *searchNote) learn(mode uint32, second int64) {
	const all = unix.S_IXUSR | unix.S_IXGRP | unix.S_IXOTH
	if mode&all != all {
		return
	}
	for old := s.v.Load(); second > max(old, -old); old = s.v.Load() {
		if s.v.CompareAndSwap(old, second) {
			return
		}
	}
}

// learnSearch notes the mode that a walk has been told. Unless that is forgotten in time, it asks again, when nobody changes it.
func (d *directory) learnSearch(w *walker, mode uint32) {
	if d.reval != nil {
		d.searchAll.learn(mode, w.second)
		return
	}
	st := d.Dir.state()
	if !st.attrMu.TryLock() {
		return // being changed
	}
	defer st.attrMu.Unlock()
	if a, err := d.Getattr(w.ctx, permMask); err == nil {
		d.searchAll.learn(a.Mode, always)
	}
}

// forgetSearch follows a change of the attributes of d, a directory.
//
// Preconditions: InodeState.attrMu is held.
func (d *Dentry) forgetSearch() {
	note := int64(0)
	if d.sb.live {
		note = min(0, -d.sb.now().Unix())
	}
	d.dir.searchAll.v.Store(note)
}
