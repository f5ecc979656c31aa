package vfs

import "sync/atomic"

// children are the cached children of a directory: a hash table whose chains run through the dentries
// (like dentry_hashtable, but one per directory). Changes are made under directory.mu, lookups without it.
//
// A lookup that meets a change may miss a child that is there, since the change relinks chains under
// it; it never finds a wrong one. So a miss is a reason to look again under the lock.
type children struct {
	table atomic.Pointer[[]link] // length a power of two; nil without children
	n     int                    // guarded by directory.mu
}

// link is the head of a chain, or its continuation.
type link = atomic.Pointer[Dentry]

const minChains = 4

// child returns the cached child name, nil if there is none.
func (d *Dentry) child(name string) *Dentry {
	table := d.dir.children.table.Load()
	if table == nil {
		return nil
	}
	hash := d.sb.cache.names.sum(name)
	for c := (*table)[hash&uint32(len(*table)-1)].Load(); c != nil; c = c.next.Load() {
		if at := c.loc.Load(); at.hash == hash && at.parent == d && at.name == name {
			return c
		}
	}
	return nil
}

// insertLocked links d, which is in no table, under its hash.
func (c *children) insertLocked(d *Dentry) {
	c.n++
	table := c.table.Load()
	if table == nil || c.n > 2*len(*table) {
		table = c.resizeLocked()
	}
	chain := c.chain(table, d)
	d.next.Store(chain.Load())
	chain.Store(d)
}

// removeLocked unlinks d and reports whether it was there.
func (c *children) removeLocked(d *Dentry) bool {
	table := c.table.Load()
	if table == nil {
		return false
	}
	for at := c.chain(table, d); at.Load() != nil; at = &at.Load().next {
		if at.Load() != d {
			continue
		}
		at.Store(d.next.Load())
		c.n--
		if c.n < len(*table)/8 || c.n == 0 {
			c.resizeLocked()
		}
		return true
	}
	return false
}

func (c *children) chain(table *[]link, d *Dentry) *link {
	return &(*table)[d.loc.Load().hash&uint32(len(*table)-1)]
}

// resizeLocked makes a table that fits c.n children and links them anew.
func (c *children) resizeLocked() *[]link {
	all := c.all()
	if c.n == 0 {
		c.table.Store(nil)
		return nil
	}
	size := minChains
	for size < c.n {
		size *= 2
	}
	made := make([]link, size)
	for _, d := range all {
		chain := c.chain(&made, d)
		d.next.Store(chain.Load())
		chain.Store(d)
	}
	c.table.Store(&made)
	return &made
}

// all returns the children. Without directory.mu some may be missing.
func (c *children) all() []*Dentry {
	table := c.table.Load()
	if table == nil {
		return nil
	}
	var all []*Dentry
	for i := range *table {
		for d := (*table)[i].Load(); d != nil; d = d.next.Load() {
			all = append(all, d)
		}
	}
	return all
}
