package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// removal is one request to remove a name.
type removal struct {
	name     string
	isDir    bool // rmdir(2)
	slash    bool // the path ended in a slash
	whiteout bool // leave a whiteout; the name may be absent
}

// Unlink removes a name that is no directory (vfs_unlink).
//
// Errors: EROFS, ENOENT, EACCES, EPERM in a sticky directory, EISDIR, EBUSY for a mount
// point; EINVAL, ENAMETOOLONG, ENOTDIR; those of the driver.
func Unlink(ctx context.Context, cred *Cred, dir Path, name string) error {
	return dir.remove(ctx, cred, removal{name: name})
}

// Rmdir removes an empty directory (vfs_rmdir).
//
// Errors: as Unlink, with ENOTDIR for EISDIR; ENOTEMPTY.
func Rmdir(ctx context.Context, cred *Cred, dir Path, name string) error {
	return dir.remove(ctx, cred, removal{name: name, isDir: true})
}

// Whiteout atomically replaces name, which may be absent, by a whiteout. It is for stacking
// drivers.
//
// Errors: EROFS, EACCES, EPERM; ENOTEMPTY for a directory that is not empty; EBUSY for a mount point;
// EINVAL where the driver has no whiteouts.
func Whiteout(ctx context.Context, cred *Cred, dir Path, name string) error {
	return dir.remove(ctx, cred, removal{name: name, whiteout: true})
}

func (p Path) remove(ctx context.Context, cred *Cred, r removal) error {
	if err := checkName(r.name); err != nil {
		return err
	}
	if !p.dentry.isDir() {
		return unix.ENOTDIR
	}
	if err := p.mnt.writable(); err != nil {
		return err
	}
	p.dentry.revalidate(ctx, p.mnt, r.name, nil)
	victim, orphans, err := p.removeIn(ctx, cred, &r)
	for _, o := range orphans {
		o.put()
	}
	if victim != nil {
		victim.put()
	}
	if err != nil {
		return err
	}
	return p.syncChange(ctx, true)
}

// removeIn is remove under the directory's lock. victim, if there is one, and
// orphans have to be put afterwards.
func (p Path) removeIn(ctx context.Context, cred *Cred, r *removal) (victim *Dentry, orphans []*Dentry, err error) {
	d := p.dentry
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	victim, err = d.lookupLocked(ctx, r.name)
	if err != nil && !(r.whiteout && Errno(err) == unix.ENOENT && !d.dir.removed.Load()) {
		return nil, nil, p.blameName("lookup", r.name, err)
	}
	if victim != nil && r.slash && !r.isDir {
		if victim.isDir() {
			return victim, nil, unix.EISDIR
		}
		return victim, nil, unix.ENOTDIR
	}
	if err := p.mayRemove(ctx, cred, r, victim); err != nil {
		return victim, nil, err
	}
	if victim != nil && victim.isDir() {
		victim.dir.mu.Lock()
		defer victim.dir.mu.Unlock()
	}
	if victim != nil && victim.mounted.Load() != nil {
		return victim, nil, unix.EBUSY
	}
	if err := r.remove(ctx, d.dir, victim); err != nil {
		return victim, nil, p.blameName("remove", r.name, err)
	}
	if victim != nil {
		orphans = victim.buryLocked()
		d.unhashLocked(victim)
	} else if c := d.child(r.name); c != nil {
		d.unhashLocked(c)
	}
	if !r.whiteout {
		d.addNegativeLocked(r.name)
	}
	return victim, orphans, nil
}

func (p Path) mayRemove(ctx context.Context, cred *Cred, r *removal, victim *Dentry) error {
	dir, err := p.dentry.dir.Getattr(ctx, permMask)
	if err != nil {
		return err
	}
	if victim == nil {
		return mayCreate(cred, &dir)
	}
	return mayDelete(ctx, cred, &dir, victim, r.isDir || r.whiteout && victim.isDir())
}

// remove calls the driver.
func (r *removal) remove(ctx context.Context, dir Dir, victim *Dentry) error {
	switch {
	case r.whiteout && victim == nil:
		return dir.Whiteout(ctx, r.name, nil)
	case r.whiteout:
		return dir.Whiteout(ctx, r.name, victim.inode)
	case r.isDir:
		return dir.Rmdir(ctx, r.name, victim.dir.Dir)
	}
	return dir.Unlink(ctx, r.name, victim.inode)
}

// buryLocked marks a directory as removed and returns what was cached in it, to be put.
//
// Preconditions: if d is a directory, d.dir.mu is held for writing.
func (d *Dentry) buryLocked() (orphans []*Dentry) {
	if !d.isDir() {
		return nil
	}
	d.dir.removed.Store(true)
	return d.takeChildrenLocked()
}
