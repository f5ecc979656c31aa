package vfs

import (
	"sync"
	"sync/atomic"
)

// DefaultMaxDentries is how many dentries without users are cached if a
// configuration says nothing else.
const DefaultMaxDentries = 16384

// dcache holds the dentries without users of a namespace, or of a private mount,
// on a ring that the clock algorithm goes round.
type dcache struct {
	max   int64
	names nameHash
	n     atomic.Int64 // length of the ring; written under mu

	renames atomic.Uint64 // changes whenever a directory has moved (rename_lock)

	mu   sync.Mutex
	ring Dentry // list head
}

// lruEntry is a dentry's place on the ring.
type lruEntry struct {
	listed     atomic.Bool // on the ring; written under dcache.mu
	used       atomic.Bool // used since the hand last came by
	prev, next *Dentry     // guarded by dcache.mu
}

func newDcache(limit int) *dcache {
	if limit <= 0 {
		limit = DefaultMaxDentries
	}
	c := &dcache{max: int64(limit), names: newNameHash()}
	c.ring.lru.prev, c.ring.lru.next = &c.ring, &c.ring
	return c
}

// add lists a dentry that has lost its last user. On the hot path it is on the ring
// already.
func (c *dcache) add(d *Dentry) {
	if d.lru.listed.Load() {
		if !d.lru.used.Load() {
			d.lru.used.Store(true)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !d.lru.listed.Load() && d.refs.Load() == 0 {
		c.linkLocked(d)
	}
}

// remove takes a dead dentry off the ring.
func (c *dcache) remove(d *Dentry) {
	if !d.lru.listed.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.lru.listed.Load() {
		c.unlinkLocked(d)
	}
}

// balance evicts a few dentries if there are too many. Whoever adds one comes by
// here, so a few are enough.
//
// Preconditions: no directory.mu is held.
func (c *dcache) balance() {
	for range 4 {
		if c.n.Load() <= c.max {
			return
		}
		d := c.victim()
		if d == nil {
			return
		}
		d.evict()
	}
}

// victim takes the next dentry to evict off the ring; nil if there is none.
func (c *dcache) victim() *Dentry {
	const maxSteps = 256 // the ring may be full of used ones
	c.mu.Lock()
	defer c.mu.Unlock()
	for range maxSteps {
		d := c.ring.lru.next
		if c.n.Load() <= c.max || d == &c.ring {
			return nil
		}
		c.unlinkLocked(d)
		switch refs := d.refs.Load(); {
		case refs < 0:
		case refs > 0:
			// Its last user may have gone before it was taken off: then that
			// user left it to us.
			if d.refs.Load() == 0 {
				c.linkLocked(d)
			}
		case d.lru.used.Swap(false):
			c.linkLocked(d)
		default:
			return d
		}
	}
	return nil
}

// take takes all dentries of sb off the ring.
func (c *dcache) take(sb *superblock) (taken []*Dentry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for d := c.ring.lru.next; d != &c.ring; {
		next := d.lru.next
		if d.sb == sb {
			c.unlinkLocked(d)
			taken = append(taken, d)
		}
		d = next
	}
	return taken
}

func (c *dcache) linkLocked(d *Dentry) {
	last := c.ring.lru.prev
	d.lru.prev, d.lru.next = last, &c.ring
	last.lru.next, c.ring.lru.prev = d, d
	d.lru.listed.Store(true)
	c.n.Add(1)
}

func (c *dcache) unlinkLocked(d *Dentry) {
	d.lru.prev.lru.next, d.lru.next.lru.prev = d.lru.next, d.lru.prev
	d.lru.prev, d.lru.next = nil, nil
	d.lru.listed.Store(false)
	c.n.Add(-1)
}

// evict drops an unused dentry from the cache. It never waits: a directory that is busy
// with a driver call, or a file system that is being unmounted, keeps its dentries.
func (d *Dentry) evict() {
	if !d.sb.teardown.TryRLock() {
		d.sb.cache.add(d) // unmounting drops it
		return
	}
	defer d.sb.teardown.RUnlock()
	parent, ok := d.tryKill()
	if !ok {
		d.sb.cache.add(d)
		return
	}
	d.finish()
	parent.release()
}

// tryKill takes d out of its directory if nothing uses it.
func (d *Dentry) tryKill() (parent *Dentry, ok bool) {
	at := d.loc.Load()
	if at.parent == nil || !at.parent.dir.mu.TryLock() {
		return nil, false
	}
	defer at.parent.dir.mu.Unlock()
	if d.loc.Load() != at || !d.refs.CompareAndSwap(0, deadRefs) {
		return nil, false
	}
	at.parent.dir.children.removeLocked(d)
	d.hashed.Store(false)
	return at.parent, true
}
