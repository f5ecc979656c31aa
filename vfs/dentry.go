package vfs

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Dentry is one name in a directory and what it stands for. It corresponds to
// struct dentry. Its inode never changes: a name that comes to stand for something else gets
// a new Dentry.
type Dentry struct {
	sb      *superblock
	inode   Inode      // nil for a negative dentry: the name is known to be absent
	kind    uint32     // S_IFMT bits; 0 for a negative dentry
	dir     *directory // nil unless the inode is a directory
	loc     atomic.Pointer[location]
	mounted atomic.Pointer[Mount] // mounted here; written under Namespace.mu

	// refs counts users and cached children; it is far below zero once the
	// dentry is dead.
	refs   atomic.Int64
	hashed atomic.Bool // the parent's children hold it; written under the parent's directory.mu
	next   link        // in the parent's children; written under the parent's directory.mu

	lru lruEntry
}

// location is where a dentry hangs. parent is nil for the root of a file system.
type location struct {
	parent *Dentry
	name   string
	hash   uint32 // of name
}

// directory is the part of a dentry that only directories have.
type directory struct {
	Dir
	reval Revalidator // nil if the entries change only through the VFS

	mu        sync.RWMutex
	removed   atomic.Bool // the directory has been removed (S_DEAD); written under mu
	searchAll searchNote
	children  children // written under mu, looked up without it
}

// kindWhiteout marks a whiteout among the S_IFMT values of Dentry.kind.
const kindWhiteout = unix.S_IFCHR | 1

const deadRefs = -1 << 62

// newDentry returns a dentry with one reference for inode, whose pin it takes over.
// It takes a reference on parent.
func newDentry(sb *superblock, parent *Dentry, name string, inode Inode, kind uint32) *Dentry {
	var d *Dentry
	if dir, ok := inode.(Dir); ok {
		both := &struct {
			Dentry
			directory
		}{}
		d = &both.Dentry
		d.dir = &both.directory
		d.dir.Dir = dir
		d.dir.reval, _ = inode.(Revalidator)
	} else {
		d = &Dentry{}
	}
	d.sb, d.inode, d.kind = sb, inode, kind
	d.setLocation(parent, name)
	d.refs.Store(1)
	sb.dentries.Add(1)
	if parent != nil {
		parent.refs.Add(1)
	}
	return d
}

// setLocation records where d hangs. The name is copied: it may be part of a long path.
func (d *Dentry) setLocation(parent *Dentry, name string) {
	d.loc.Store(&location{parent: parent, name: strings.Clone(name), hash: d.sb.cache.names.sum(name)})
}

// inodeKind returns the Dentry.kind of inode.
func inodeKind(ctx context.Context, inode Inode) (uint32, error) {
	switch inode.(type) {
	case Dir:
		return unix.S_IFDIR, nil
	case Regular:
		return unix.S_IFREG, nil
	case Symlink:
		return unix.S_IFLNK, nil
	}
	attr, err := inode.Getattr(ctx, unix.STATX_TYPE|unix.STATX_MODE)
	if err != nil {
		return 0, err
	}
	if attr.IsWhiteout() {
		return kindWhiteout, nil
	}
	switch kind := attr.Mode & unix.S_IFMT; kind {
	case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		return kind, nil
	}
	return 0, unix.EIO
}

func (d *Dentry) negative() bool { return d.inode == nil }
func (d *Dentry) isDir() bool    { return d.dir != nil }
func (d *Dentry) parent() *Dentry {
	return d.loc.Load().parent
}

// vacant reports whether a name that leads to d may be created: nothing or a
// whiteout is there.
func (d *Dentry) vacant() bool { return d == nil || d.negative() || d.kind == kindWhiteout }

// tryGet takes a reference; false means that the dentry is dead.
func (d *Dentry) tryGet() bool {
	if d.refs.Add(1) > 0 {
		return true
	}
	d.refs.Add(-1)
	return false
}

// get takes a reference.
//
// Preconditions: the caller has a reference, or one that cannot go meanwhile.
func (d *Dentry) get() *Dentry {
	if d.refs.Add(1) <= 1 {
		panic("vfs: reference to an unused dentry")
	}
	return d
}

func (d *Dentry) dead() bool { return d.refs.Load() < 0 }

// put drops a reference and evicts what has become too much.
//
// Preconditions: no directory.mu is held, for the driver may be called.
func (d *Dentry) put() {
	d.release()
	d.sb.cache.balance()
}

// release drops a reference. A dentry that has lost its name goes with its last
// reference, and gives up its reference on its parent.
func (d *Dentry) release() {
	for d != nil {
		if d.refs.Add(-1) != 0 {
			return
		}
		if d.hashed.Load() {
			d.sb.cache.add(d)
			return
		}
		if !d.refs.CompareAndSwap(0, deadRefs) {
			return
		}
		d = d.finish()
	}
}

// finish ends a dead dentry and returns the parent, on which a reference has to
// be dropped.
func (d *Dentry) finish() *Dentry {
	d.sb.dentries.Add(-1)
	d.sb.cache.remove(d)
	if d.inode != nil {
		d.sb.evicted(UnpinInode(context.Background(), d.inode))
	}
	return d.parent()
}

// hashLocked enters c, whose location is d, in place of what was there.
//
// Preconditions: d.dir.mu is held for writing.
func (d *Dentry) hashLocked(c *Dentry) {
	if old := d.child(c.loc.Load().name); old != nil {
		d.unhashLocked(old)
	}
	d.dir.children.insertLocked(c)
	c.hashed.Store(true)
}

// unhashLocked takes c out of the children. With the last reference it goes.
//
// Preconditions: d.dir.mu is held for writing.
func (d *Dentry) unhashLocked(c *Dentry) {
	if d.dir.children.removeLocked(c) {
		d.forgetLocked(c)
	}
}

// forgetLocked marks c as no longer in the cache. A negative dentry, which has no
// users and no inode, ends at once.
func (d *Dentry) forgetLocked(c *Dentry) {
	c.hashed.Store(false)
	if c.negative() && c.refs.CompareAndSwap(0, deadRefs) {
		c.finish().release()
	}
}

// addNegativeLocked remembers that name is absent.
//
// Preconditions: d.dir.mu is held for writing.
func (d *Dentry) addNegativeLocked(name string) {
	if d.dir.reval != nil {
		return // the host may create the name at any time
	}
	c := newDentry(d.sb, d, name, nil, 0)
	d.hashLocked(c)
	c.release()
}

// takeChildrenLocked empties the cache of a directory that has been removed. It
// returns the dentries to put once the lock is given up.
//
// Preconditions: d.dir.mu is held for writing.
func (d *Dentry) takeChildrenLocked() (taken []*Dentry) {
	for _, c := range d.dir.children.all() {
		if c.tryGet() {
			d.unhashLocked(c)
			taken = append(taken, c)
		}
	}
	return taken
}

// hasAncestor reports whether a is d or above it.
//
// Preconditions: d.sb.renameMu is held, or the answer may be outdated.
func (d *Dentry) hasAncestor(a *Dentry) bool {
	for ; d != nil; d = d.parent() {
		if d == a {
			return true
		}
	}
	return false
}
