package vfs

import (
	"cmp"
	"context"

	"golang.org/x/sys/unix"
)

// renameFlags are the flags that renameat2(2) knows.
const renameFlags = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT

// renaming is one request to rename.
type renaming struct {
	from, to         Path
	oldName, newName string
	oldSlash         bool // the old path ended in a slash
	newSlash         bool
	flags            uint32

	ancestor *Dentry // child of one directory that is, or is above, the other
}

// Renameat moves oldName in from to newName in to; flags hold RENAME_* bits
// (vfs_rename). Two names of one file are left alone.
//
// Errors, roughly in this order: EINVAL for flags; EXDEV; EROFS; ENOENT; EEXIST; EINVAL if a directory would
// move into itself; ENOTEMPTY; EACCES, EPERM; ENOTDIR, EISDIR; EBUSY for a mount point; those of the driver.
func Renameat(ctx context.Context, cred *Cred, from Path, oldName string, to Path, newName string, flags uint32) error {
	r := renaming{from: from, to: to, oldName: oldName, newName: newName, flags: flags}
	if err := checkRenameFlags(flags); err != nil {
		return err
	}
	return r.run(ctx, cred)
}

// checkRenameFlags corresponds to the first checks of do_renameat2.
func checkRenameFlags(flags uint32) error {
	if flags&^renameFlags != 0 || flags&unix.RENAME_EXCHANGE != 0 && flags != unix.RENAME_EXCHANGE {
		return unix.EINVAL
	}
	return nil
}

func (r *renaming) run(ctx context.Context, cred *Cred) error {
	if err := cmp.Or(checkName(r.oldName), checkName(r.newName)); err != nil {
		return err
	}
	switch {
	case r.from.mnt != r.to.mnt:
		return unix.EXDEV
	case !r.from.dentry.isDir() || !r.to.dentry.isDir():
		return unix.ENOTDIR
	case r.from.mnt.readOnly():
		return unix.EROFS
	}
	r.from.dentry.revalidate(ctx, r.from.mnt, r.oldName, nil)
	r.to.dentry.revalidate(ctx, r.to.mnt, r.newName, nil)
	used, err := r.locked(ctx, cred)
	for _, d := range used {
		d.put()
	}
	if err != nil {
		return err
	}
	return r.to.syncChange(ctx, true)
}

// locked takes the locks and renames. The dentries that it returns have to be put.
func (r *renaming) locked(ctx context.Context, cred *Cred) (used []*Dentry, err error) {
	unlock := r.lockDirs()
	defer unlock()
	source, err := r.from.dentry.lookupLocked(ctx, r.oldName)
	if err != nil {
		return nil, r.from.blameName("lookup", r.oldName, err)
	}
	used = append(used, source)
	target, err := r.to.dentry.lookupLocked(ctx, r.newName)
	if err != nil && (Errno(err) != unix.ENOENT || r.to.dentry.dir.removed.Load()) {
		return used, r.to.blameName("lookup", r.newName, err)
	}
	if target != nil {
		used = append(used, target)
	}
	if err := r.checkNames(source, target); err != nil {
		return used, err
	}
	if target != nil && source.inode == target.inode {
		return used, nil
	}
	if err := r.mayRename(ctx, cred, source, target); err != nil {
		return used, err
	}
	if target != nil && target.isDir() && r.flags&unix.RENAME_EXCHANGE == 0 {
		target.dir.mu.Lock()
		defer target.dir.mu.Unlock()
	}
	if source.mounted.Load() != nil || target != nil && target.mounted.Load() != nil {
		return used, unix.EBUSY
	}
	if err := r.callDriver(ctx, source, target); err != nil {
		return used, err
	}
	return append(used, r.moveLocked(source, target)...), nil
}

// lockDirs locks both directories, the ancestor first (fs/namei.c: lock_rename), and finds
// r.ancestor.
func (r *renaming) lockDirs() (unlock func()) {
	from, to := r.from.dentry, r.to.dentry
	if from == to {
		from.dir.mu.Lock()
		return from.dir.mu.Unlock
	}
	renameMu := &from.sb.renameMu
	renameMu.Lock()
	first, second := from, to
	if r.ancestor = childTowards(to, from); r.ancestor != nil {
		first, second = to, from
	} else {
		r.ancestor = childTowards(from, to)
	}
	first.dir.mu.Lock()
	second.dir.mu.Lock()
	return func() {
		second.dir.mu.Unlock()
		first.dir.mu.Unlock()
		renameMu.Unlock()
	}
}

// childTowards returns the child of a that is, or is above, d; nil if a is not above d.
func childTowards(a, d *Dentry) *Dentry {
	for {
		up := d.parent()
		if up == nil {
			return nil
		}
		if up == a {
			return d
		}
		d = up
	}
}

// checkNames makes the checks of do_renameat2 on what the names stand for.
func (r *renaming) checkNames(source, target *Dentry) error {
	exchange := r.flags&unix.RENAME_EXCHANGE != 0
	switch {
	case r.flags&unix.RENAME_NOREPLACE != 0 && !target.vacant():
		return unix.EEXIST
	case exchange && target == nil:
		return unix.ENOENT
	case exchange && r.newSlash && !target.isDir():
		return unix.ENOTDIR
	case !source.isDir() && (r.oldSlash || r.newSlash && !exchange):
		return unix.ENOTDIR
	case source == r.ancestor:
		return unix.EINVAL
	case target != nil && target == r.ancestor && exchange:
		return unix.EINVAL
	case target != nil && target == r.ancestor:
		return unix.ENOTEMPTY
	}
	return nil
}

// mayRename makes the permission checks of vfs_rename.
func (r *renaming) mayRename(ctx context.Context, cred *Cred, source, target *Dentry) error {
	exchange := r.flags&unix.RENAME_EXCHANGE != 0
	fromAttr, err := r.from.dentry.dir.Getattr(ctx, permMask)
	if err != nil {
		return err
	}
	toAttr, err := r.to.dentry.dir.Getattr(ctx, permMask)
	if err != nil {
		return err
	}
	if err := mayDelete(ctx, cred, &fromAttr, source, source.isDir()); err != nil {
		return err
	}
	switch {
	case exchange:
		err = mayDelete(ctx, cred, &toAttr, target, target.isDir())
	case target.vacant():
		err = mayCreate(cred, &toAttr)
	default:
		err = mayDelete(ctx, cred, &toAttr, target, source.isDir())
	}
	if err != nil || r.from.dentry == r.to.dentry {
		return err
	}
	// A directory that changes its parent has its ".." written.
	if source.isDir() {
		err = permission(ctx, cred, Path{mnt: r.from.mnt, dentry: source}, mayWrite)
	}
	if err == nil && exchange && target.isDir() {
		err = permission(ctx, cred, Path{mnt: r.to.mnt, dentry: target}, mayWrite)
	}
	return err
}

func (r *renaming) callDriver(ctx context.Context, source, target *Dentry) error {
	req := Rename{
		OldName: r.oldName,
		Child:   source.inode,
		NewDir:  r.to.dentry.dir.Dir,
		NewName: r.newName,
		Flags:   r.flags &^ unix.RENAME_NOREPLACE,
	}
	if target != nil && (!target.vacant() || r.flags&unix.RENAME_EXCHANGE != 0) {
		req.Target = target.inode
	}
	return r.from.blameName("rename", r.oldName, r.from.dentry.dir.Rename(ctx, req))
}

// moveLocked brings the cache up to date. It returns dentries to put.
//
// Preconditions: what locked has locked.
func (r *renaming) moveLocked(source, target *Dentry) (orphans []*Dentry) {
	from, to := r.from.dentry, r.to.dentry
	moved := source.isDir() || target != nil && target.isDir()
	if moved {
		from.sb.cache.renames.Add(1)
	}
	if r.flags&unix.RENAME_EXCHANGE != 0 {
		from.dir.children.removeLocked(source)
		to.dir.children.removeLocked(target)
		target.relocate(from, r.oldName)
		source.relocate(to, r.newName)
		from.hashLocked(target)
	} else {
		if target != nil {
			orphans = target.buryLocked()
			to.unhashLocked(target)
		}
		from.dir.children.removeLocked(source)
		source.relocate(to, r.newName)
		if r.flags&unix.RENAME_WHITEOUT == 0 {
			from.addNegativeLocked(r.oldName)
		}
	}
	to.hashLocked(source)
	if moved {
		from.sb.cache.renames.Add(1)
	}
	return orphans
}

// relocate changes where d hangs. Its reference moves from the old to the new parent.
//
// Preconditions: both directories are locked, and renameMu is held if they differ.
func (d *Dentry) relocate(parent *Dentry, name string) {
	old := d.parent()
	if old != parent {
		parent.refs.Add(1)
	}
	d.setLocation(parent, name)
	if old != parent {
		old.refs.Add(-1) // the caller of rename has it pinned
	}
}
