package vfs

import (
	"context"
	"sync"
	"sync/atomic"
)

// InodeState is the VFS's own part of an inode; a driver embeds it by value. The
// zero value is an inode that nothing pins.
type InodeState struct {
	pins     atomic.Int64 // evicted once it has gone from 1 to evictedPins
	linkable atomic.Bool  // made by O_TMPFILE, not yet named (I_LINKABLE)

	// locks are the advisory locks, nil while there never was one.
	locks atomic.Pointer[lockTable]

	atimeAsked atomic.Int64 // Unix time of the last question of touchAtime; see there

	// attrMu makes reading the attributes, deciding and Setattr one step.
	attrMu sync.Mutex
}

// Only types that embed InodeState are inodes.
var _ interface{ state() *InodeState } = (*InodeState)(nil)

const evictedPins = -1 << 62

func (s *InodeState) state() *InodeState { return s }

// Pin pins a new inode, or one that the caller already has pinned.
func (s *InodeState) Pin() {
	if s.pins.Add(1) <= 0 {
		panic("vfs: pin of an evicted inode")
	}
}

// TryPin pins an inode found in the driver's table. It returns false if the inode
// is being evicted: the driver then makes a new one. A driver calls it under the
// lock of its table, and its Evict deletes the entry under the same lock (unless
// the entry already belongs to a newer inode).
func (s *InodeState) TryPin() bool {
	for {
		n := s.pins.Load()
		if n < 0 {
			return false
		}
		if s.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// UnpinInode drops a pin of i; the last one evicts the inode. Drivers need it for inodes
// that they got from Lookup or a creator outside of a dentry, and for pins of their own.
func UnpinInode(ctx context.Context, i Inode) error {
	s := i.state()
	for {
		n := s.pins.Load()
		if n <= 0 {
			panic("vfs: unpin of an inode that is not pinned")
		}
		next := n - 1
		if n == 1 {
			next = evictedPins
		}
		if !s.pins.CompareAndSwap(n, next) {
			continue
		}
		if n == 1 {
			return i.Evict(ctx)
		}
		return nil
	}
}
