package vfs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// sight is what a driver has just said of a dentry of which it was asked whether it still holds.
type sight struct {
	of   *Dentry
	attr Attr
}

// lookup finds the child name and returns it with a reference. seen, unless nil, is set if the driver
// had to look at the child.
//
// Preconditions: the caller has a reference on d, a directory on mnt, and holds no directory.mu.
//
// Errors: ENOENT for a missing name.
func (d *Dentry) lookup(ctx context.Context, mnt *Mount, name string, seen *sight) (*Dentry, error) {
	d.revalidate(ctx, mnt, name, seen)
	if c := d.child(name); c != nil {
		if c.negative() {
			c.lru.touch()
			return nil, unix.ENOENT
		}
		if c.tryGet() {
			return c, nil
		}
	}
	c, err := d.lookupSlow(ctx, name)
	d.sb.cache.balance()
	return c, err
}

func (d *Dentry) lookupSlow(ctx context.Context, name string) (*Dentry, error) {
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	return d.lookupLocked(ctx, name)
}

// lookupLocked is lookup in a locked directory. That the directory has been removed comes before
// the length of the name (fs/namei.c: lookup_one_qstr_excl).
//
// Errors: ENOENT; ENAMETOOLONG above 255 bytes.
//
// Preconditions: d.dir.mu is held for writing; revalidate has been called.
func (d *Dentry) lookupLocked(ctx context.Context, name string) (*Dentry, error) {
	if d.dir.removed.Load() {
		return nil, unix.ENOENT
	}
	if len(name) > unix.NAME_MAX {
		return nil, unix.ENAMETOOLONG
	}
	if c := d.child(name); c != nil {
		if c.negative() {
			return nil, unix.ENOENT
		}
		return c.get0(), nil
	}
	inode, err := d.dir.Lookup(ctx, name)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			d.addNegativeLocked(name)
		}
		return nil, err
	}
	return d.adoptLocked(ctx, name, inode)
}

// adoptLocked enters inode, with its pin, under name and returns the dentry with a reference.
//
// Preconditions: d.dir.mu is held for writing.
func (d *Dentry) adoptLocked(ctx context.Context, name string, inode Inode) (*Dentry, error) {
	kind, err := inodeKind(ctx, inode)
	if err != nil {
		d.sb.evicted(UnpinInode(ctx, inode))
		return nil, fmt.Errorf("vfs: type of a new inode: %w", err)
	}
	c := newDentry(d.sb, d, name, inode, kind)
	d.hashLocked(c)
	return c, nil
}

// get0 takes a reference on a dentry that is in the cache and may be unused.
//
// Preconditions: the parent's directory.mu is held for writing, so nothing evicts it.
func (d *Dentry) get0() *Dentry {
	if !d.tryGet() {
		panic("vfs: dead dentry in the cache")
	}
	return d
}

// touch marks the dentry as used for the clock.
func (e *lruEntry) touch() {
	if !e.used.Load() {
		e.used.Store(true)
	}
}

// revalidate asks a driver whose directories change behind the VFS whether the cached
// entry name still holds, and drops it if not. What leads to a mount point stays.
//
// Preconditions: the caller has a reference on d and holds no directory.mu.
func (d *Dentry) revalidate(ctx context.Context, mnt *Mount, name string, seen *sight) {
	if d.dir.reval == nil {
		return
	}
	c := d.child(name)
	if c == nil || !c.tryGet() {
		return
	}
	defer c.put()
	attr, ok := d.dir.reval.Revalidate(ctx, name, c.inode)
	if ok && seen != nil && attr.Mask != 0 {
		seen.of, seen.attr = c, attr
	}
	if ok || mnt.mountedBelow(c) {
		return
	}
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	if d.child(name) == c { // else renamed meanwhile
		d.unhashLocked(c)
	}
}

// mountedBelow reports whether something is mounted on d or below it.
func (m *Mount) mountedBelow(d *Dentry) bool {
	if d.mounted.Load() != nil {
		return true
	}
	if m.ns == nil || !d.isDir() {
		return false
	}
	m.ns.mu.Lock()
	defer m.ns.mu.Unlock()
	for _, c := range m.children {
		if at := c.at.Load(); at != nil && at.point.hasAncestor(d) {
			return true
		}
	}
	return false
}
