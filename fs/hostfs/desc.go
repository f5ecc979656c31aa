package hostfs

import (
	"sync"
	"sync/atomic"
)

// desc is an open host descriptor. It is closed when its last user puts it.
type desc struct {
	fd   FD
	gate *gate
	refs atomic.Int64
	used atomic.Bool // since the cache's clock last passed

	writable bool // open for writing
	fresh    bool // of Create, for the first Open

	posMu sync.Mutex // held during calls that move the host's file position
	slot  int        // in the cache, guarded by cache.mu; -1: not there
}

// newDesc returns a descriptor with one user.
func newDesc(g *gate, fd FD) *desc {
	d := &desc{fd: fd, gate: g, slot: -1}
	d.refs.Store(1)
	return d
}

// get adds a user, unless the last one has gone.
func (d *desc) get() bool {
	for {
		n := d.refs.Load()
		if n == 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// put ends a use. The last one returns what closing says.
func (d *desc) put() error {
	if d.refs.Add(-1) == 0 {
		return d.gate.close(d.fd)
	}
	return nil
}

// cacheSize is the largest number of descriptors that one mount keeps only because
// they may be needed again.
const cacheSize = 256

// cache holds the descriptors that inodes have in inode.cached, each of which counts
// the cache as one user. When it is full a descriptor that was not used lately is dropped
// (the clock algorithm).
type cache struct {
	mu      sync.Mutex
	entries []cacheEntry
	hand    int
}

type cacheEntry struct {
	inode *inode
	desc  *desc
}

// add makes d, in use by the caller, the cached descriptor of i. If there is one already, add
// puts d and returns that, in use by the caller.
func (c *cache) add(i *inode, d *desc) *desc {
	for {
		if old := i.cached.Load(); old != nil && old.get() {
			_ = d.put() // nothing was done with it
			return old
		}
		if dropped, ok := c.insert(i, d); ok {
			if dropped != nil {
				_ = dropped.put() // refers to a file, wrote nothing
			}
			return d
		}
	}
}

func (c *cache) insert(i *inode, d *desc) (dropped *desc, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !i.cached.CompareAndSwap(nil, d) {
		return nil, false
	}
	d.refs.Add(1)
	d.used.Store(true)
	if len(c.entries) < cacheSize {
		d.slot = len(c.entries)
		c.entries = append(c.entries, cacheEntry{i, d})
		return nil, true
	}
	for {
		c.hand = (c.hand + 1) % len(c.entries)
		e := c.entries[c.hand]
		if e.desc.used.Swap(false) {
			continue
		}
		e.inode.cached.Store(nil)
		e.desc.slot = -1
		d.slot = c.hand
		c.entries[c.hand] = cacheEntry{i, d}
		return e.desc, true
	}
}

// take removes the cached descriptor of i and returns it, with the cache's use of it; nil
// if there is none.
func (c *cache) take(i *inode) *desc {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := i.cached.Load()
	if d == nil {
		return nil
	}
	i.cached.Store(nil)
	last := len(c.entries) - 1
	c.entries[d.slot] = c.entries[last]
	c.entries[d.slot].desc.slot = d.slot
	c.entries[last] = cacheEntry{}
	c.entries = c.entries[:last]
	d.slot = -1
	return d
}

// clear drops all descriptors.
func (c *cache) clear() {
	c.mu.Lock()
	entries := c.entries
	c.entries, c.hand = nil, 0
	for _, e := range entries {
		e.inode.cached.Store(nil)
		e.desc.slot = -1
	}
	c.mu.Unlock()
	for _, e := range entries {
		_ = e.desc.put() // refers to a file, wrote nothing
	}
}
