package vfs

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// CreateOptions refine a creation; the zero value is what a system call wants: owner and
// group come from the credentials and the directory's set-group-ID bit.
// All of them are for stacking drivers.
type CreateOptions struct {
	Owner     *Owner            // exactly this owner
	Times     *Times            // exactly these times
	Xattrs    map[string][]byte // set in the same step; EOPNOTSUPP where the driver keeps none
	ExactMode bool              // the mode as it is, set-id bits and all
}

// Owner is an owner and a group.
type Owner struct{ UID, GID uint32 }

// Times are an access and a modification time.
type Times struct{ Atime, Mtime unix.Timespec }

// creation is one request to create a name.
type creation struct {
	name   string // "" for an unnamed file
	kind   uint32 // S_IFMT bits
	mode   uint32 // permission bits
	umask  uint32 // applied to mode in the end
	rdev   uint64
	target string // of a symlink
	link   Inode  // existing inode for a hard link
	slash  bool   // the path ended in a slash: only a directory may be created
	opt    CreateOptions
}

// Create makes the regular file name in dir with the permission bits mode, umask
// applied, and returns it pinned (vfs_create). A whiteout counts as absent, here and below.
//
// Errors: EEXIST, EROFS, EACCES, ENOENT if dir has been removed, ENOTDIR; EINVAL,
// ENAMETOOLONG for a bad name; those of the driver.
func Create(ctx context.Context, cred *Cred, dir Path, name string, mode uint32, opt CreateOptions) (Path, error) {
	return dir.create(ctx, cred, creation{name: name, kind: unix.S_IFREG, mode: mode, opt: opt})
}

// Mkdir makes the directory name in dir (vfs_mkdir).
func Mkdir(ctx context.Context, cred *Cred, dir Path, name string, mode uint32, opt CreateOptions) (Path, error) {
	return dir.create(ctx, cred, creation{name: name, kind: unix.S_IFDIR, mode: mode, opt: opt})
}

// Mknod makes a file of the type in mode: a special file, or a regular one for S_IFREG and
// 0 (vfs_mknod).
//
// Errors: EPERM for a directory, and for a device without privilege; EINVAL for other types.
func Mknod(ctx context.Context, cred *Cred, dir Path, name string, mode uint32, rdev uint64, opt CreateOptions) (Path, error) {
	if err := mayMknod(mode); err != nil {
		return Path{}, err
	}
	kind := mode & unix.S_IFMT
	if kind == 0 {
		kind = unix.S_IFREG
	}
	return dir.create(ctx, cred, creation{name: name, kind: kind, mode: mode &^ unix.S_IFMT, rdev: rdev, opt: opt})
}

// mayMknod checks the type for mknod(2) (fs/namei.c: may_mknod).
func mayMknod(mode uint32) error {
	switch mode & unix.S_IFMT {
	case 0, unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		return nil
	case unix.S_IFDIR:
		return unix.EPERM
	}
	return unix.EINVAL
}

// Symlinkat makes the symlink name to target in dir (vfs_symlink).
//
// Errors: ENOENT for an empty target; ENAMETOOLONG from 4096 bytes.
func Symlinkat(ctx context.Context, cred *Cred, dir Path, name, target string, opt CreateOptions) (Path, error) {
	if err := checkTarget(target); err != nil {
		return Path{}, err
	}
	return dir.create(ctx, cred, creation{name: name, kind: unix.S_IFLNK, mode: 0o777, target: target, opt: opt})
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return unix.ENOENT
	case len(target) >= unix.PathMax:
		return unix.ENAMETOOLONG
	}
	return nil
}

// check judges what lookup has found at the name to create.
func (c *creation) check(dir Path, child *Dentry, err error) error {
	switch {
	case err != nil && Errno(err) != unix.ENOENT:
		return err
	case !child.vacant():
		return unix.EEXIST
	case dir.dentry.dir.removed.Load():
		return unix.ENOENT
	case c.slash && (c.kind != unix.S_IFDIR || c.link != nil):
		return unix.ENOENT
	}
	return dir.mnt.writable()
}

// create makes c in p.
func (p Path) create(ctx context.Context, cred *Cred, c creation) (Path, error) {
	if err := checkName(c.name); err != nil {
		return Path{}, err
	}
	if !p.dentry.isDir() {
		return Path{}, unix.ENOTDIR
	}
	p.dentry.revalidate(ctx, p.mnt, c.name, nil)
	made, old, err := p.createIn(ctx, cred, &c)
	if old != nil {
		old.put()
	}
	if err != nil {
		return Path{}, err
	}
	p.mnt.refs.Add(1)
	q := Path{mnt: p.mnt, dentry: made}
	if err := p.syncChange(ctx, true); err != nil {
		q.Put()
		return Path{}, err
	}
	return q, nil
}

// createIn is create under the directory's lock. old, if there is one, has to be
// put afterwards.
func (p Path) createIn(ctx context.Context, cred *Cred, c *creation) (made, old *Dentry, err error) {
	d := p.dentry
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	old, err = d.lookupLocked(ctx, c.name)
	if err := c.check(p, old, p.blameName("lookup", c.name, err)); err != nil {
		return nil, old, err
	}
	attr, err := p.mayMake(ctx, cred, c)
	if err != nil {
		return nil, old, err
	}
	inode, err := c.make(ctx, d.dir, attr)
	if err != nil {
		if Errno(err) == unix.EEXIST && d.child(c.name) != nil {
			d.unhashLocked(d.child(c.name)) // the cache was wrong
		}
		return nil, old, p.blameName("create", c.name, err)
	}
	if old != nil {
		d.unhashLocked(old)
	}
	if c.opt.Times != nil {
		if err := c.setTimes(ctx, inode); err != nil {
			return nil, old, d.undo(ctx, c, inode, err)
		}
	}
	made = newDentry(d.sb, d, c.name, inode, c.dentryKind())
	d.hashLocked(made)
	return made, old, nil
}

// dentryKind returns the Dentry.kind of what is made.
func (c *creation) dentryKind() uint32 {
	if c.kind == unix.S_IFCHR && c.rdev == 0 && c.link == nil {
		return kindWhiteout
	}
	return c.kind
}

// make calls the driver. The inode comes with a pin.
func (c *creation) make(ctx context.Context, dir Dir, a CreateAttr) (Inode, error) {
	switch {
	case c.link != nil:
		if err := dir.Link(ctx, c.name, c.link); err != nil {
			return nil, err
		}
		c.link.state().linkable.Store(false)
		c.link.state().Pin()
		return c.link, nil
	case c.kind == unix.S_IFREG:
		return dir.Create(ctx, c.name, a)
	case c.kind == unix.S_IFDIR:
		return dir.Mkdir(ctx, c.name, a)
	case c.kind == unix.S_IFLNK:
		return dir.Symlink(ctx, c.name, c.target, a)
	}
	a.Mode |= c.kind
	return dir.Mknod(ctx, c.name, c.rdev, a)
}

// mayMake makes the checks of permission, and returns the attributes of the new file.
func (p Path) mayMake(ctx context.Context, cred *Cred, c *creation) (CreateAttr, error) {
	if c.link == nil {
		return p.newAttr(ctx, cred, c)
	}
	target, err := c.link.Getattr(ctx, permMask|unix.STATX_NLINK)
	if err != nil {
		return CreateAttr{}, err
	}
	if err := mayLink(cred, &target); err != nil {
		return CreateAttr{}, err
	}
	attr, err := p.newAttr(ctx, cred, c)
	if err != nil {
		return CreateAttr{}, err
	}
	return attr, c.linkable(&target)
}

// newAttr checks that cred may add a name and returns the attributes of the new file.
func (p Path) newAttr(ctx context.Context, cred *Cred, c *creation) (CreateAttr, error) {
	dir, err := p.dentry.dir.Getattr(ctx, permMask)
	if err != nil {
		return CreateAttr{}, err
	}
	if err := mayCreate(cred, &dir); err != nil {
		return CreateAttr{}, err
	}
	device := c.kind == unix.S_IFBLK || c.kind == unix.S_IFCHR && c.rdev != 0
	if device && c.link == nil && !cred.privileged() {
		return CreateAttr{}, unix.EPERM
	}
	mode := c.mode & 0o7777
	if c.kind == unix.S_IFDIR && !c.opt.ExactMode {
		mode &^= unix.S_ISUID | unix.S_ISGID // fs/namei.c: vfs_mkdir
	}
	a := CreateAttr{
		Mode:   mode,
		UID:    cred.EUID,
		GID:    cred.EGID,
		Time:   p.dentry.sb.time(),
		Xattrs: c.opt.Xattrs,
	}
	inheritGroup(cred, &dir, &a, c)
	a.Mode &^= c.umask & 0o777 // after the set-group-ID bit (fs/namei.c: vfs_prepare_mode)
	if c.opt.Owner != nil {
		a.UID, a.GID = c.opt.Owner.UID, c.opt.Owner.GID
	}
	return a, nil
}

// inheritGroup applies the directory's set-group-ID bit (fs/inode.c: inode_init_owner,
// mode_strip_sgid).
func inheritGroup(cred *Cred, dir *Attr, a *CreateAttr, c *creation) {
	if dir.Mode&unix.S_ISGID == 0 {
		return
	}
	a.GID = dir.GID
	const groupExec = unix.S_ISGID | unix.S_IXGRP
	switch {
	case c.opt.ExactMode:
	case c.kind == unix.S_IFDIR:
		a.Mode |= unix.S_ISGID
	case a.Mode&groupExec == groupExec && !cred.InGroup(dir.GID) && !cred.privileged():
		a.Mode &^= unix.S_ISGID
	}
}

func (c *creation) setTimes(ctx context.Context, inode Inode) error {
	return inode.Setattr(ctx, SetAttr{
		Mask:  unix.STATX_ATIME | unix.STATX_MTIME,
		Atime: c.opt.Times.Atime,
		Mtime: c.opt.Times.Mtime,
	})
}

// undo removes what has just been made and returns why.
func (d *Dentry) undo(ctx context.Context, c *creation, inode Inode, why error) error {
	var err error
	if dir, ok := inode.(Dir); ok {
		err = d.dir.Rmdir(ctx, c.name, dir)
	} else {
		err = d.dir.Unlink(ctx, c.name, inode)
	}
	d.sb.evicted(UnpinInode(ctx, inode))
	if err != nil {
		return fmt.Errorf("vfs: undo a creation after an error: %w", err)
	}
	return why
}
