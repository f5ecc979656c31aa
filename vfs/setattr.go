package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// SetAttrRequest is a change of attributes as a system call asks for it (struct
// iattr as notify_change gets it).
type SetAttrRequest struct {
	SetAttr

	// AtimeNow and MtimeNow are UTIME_NOW of utimensat(2). With both, and no explicit time,
	// write permission is enough; otherwise ownership is needed.
	AtimeNow, MtimeNow bool

	// Chown says that chown(2) asks, even if it changes neither owner nor group:
	// set-id bits go all the same. Implied by STATX_UID and STATX_GID.
	Chown bool

	// Force leaves out the permission checks, for stacking drivers and for what an
	// open file descriptor permits. A Ctime with STATX_CTIME is then taken as it is.
	Force bool
}

// Setattr changes attributes with the checks of chmod(2), chown(2), truncate(2)
// and utimensat(2) (fs/attr.c: notify_change, setattr_prepare). It sets ctime, and mtime with
// the size; it clears set-id bits as Linux does.
//
// Errors: EISDIR, EINVAL for the size of what is not a regular file, or a negative one; EROFS;
// EACCES, EPERM; EOPNOTSUPP for the mode of a symlink; those of the driver.
func Setattr(ctx context.Context, cred *Cred, p Path, req SetAttrRequest) error {
	if err := checkResize(ctx, cred, p, &req); err != nil {
		return err
	}
	if err := p.mnt.writable(); err != nil {
		return err
	}
	if req.Mask&unix.STATX_MODE != 0 && p.dentry.kind == unix.S_IFLNK && !req.Force {
		return unix.EOPNOTSUPP
	}
	inode := p.dentry.inode
	st := inode.state()
	st.attrMu.Lock()
	defer st.attrMu.Unlock()
	a, err := inode.Getattr(ctx, permMask)
	if err != nil {
		return err
	}
	if err := checkOwnership(cred, p, &a, &req); err != nil {
		return err
	}
	settle(cred, p, &a, &req)
	err = inode.Setattr(ctx, req.SetAttr)
	if p.dentry.isDir() {
		p.dentry.forgetSearch()
	}
	if err != nil {
		return p.blame("setattr", err)
	}
	return p.syncChange(ctx, false)
}

// checkResize makes the checks of truncate(2) (fs/open.c: vfs_truncate).
func checkResize(ctx context.Context, cred *Cred, p Path, req *SetAttrRequest) error {
	if req.Mask&unix.STATX_SIZE == 0 {
		return nil
	}
	switch {
	case p.dentry.isDir():
		return unix.EISDIR
	case p.dentry.kind != unix.S_IFREG || req.Size < 0:
		return unix.EINVAL
	case req.Force:
		return nil
	}
	return permission(ctx, cred, p, mayWrite)
}

// checkOwnership makes the checks of setattr_prepare and may_setattr. It may take the
// set-group-ID bit out of req, as chmod(2) does for one outside of the group.
func checkOwnership(cred *Cred, p Path, a *Attr, req *SetAttrRequest) error {
	explicit := req.Mask & (unix.STATX_ATIME | unix.STATX_MTIME)
	switch {
	case req.Force || cred.privileged():
		return nil
	case req.Mask&unix.STATX_UID != 0 && (cred.EUID != a.UID || req.UID != a.UID):
		return unix.EPERM
	case req.Mask&unix.STATX_GID != 0 && (cred.EUID != a.UID || req.GID != a.GID && !cred.InGroup(req.GID)):
		return unix.EPERM
	case (req.Mask&unix.STATX_MODE != 0 || req.chownKills(cred, p, a) != 0) && !owns(cred, a):
		return unix.EPERM
	case explicit == 0 && req.AtimeNow && req.MtimeNow:
		if !owns(cred, a) {
			return genericPermission(cred, a, mayWrite)
		}
	case (explicit != 0 || req.AtimeNow || req.MtimeNow) && !owns(cred, a):
		return unix.EPERM
	}
	gid := a.GID
	if req.Mask&unix.STATX_GID != 0 {
		gid = req.GID
	}
	if !cred.InGroup(gid) {
		req.Mode &^= unix.S_ISGID
	}
	return nil
}

// chownKills returns the set-id bits that req takes away as a change of owner.
func (req *SetAttrRequest) chownKills(cred *Cred, p Path, a *Attr) uint32 {
	if p.dentry.isDir() || !req.Chown && req.Mask&(unix.STATX_UID|unix.STATX_GID) == 0 {
		return 0
	}
	return killedBits(cred, a)
}

// settle fills in what follows from the request: times and lost set-id bits.
func settle(cred *Cred, p Path, a *Attr, req *SetAttrRequest) {
	now := p.dentry.sb.time()
	resize := req.Mask&unix.STATX_SIZE != 0
	if !req.Force || req.Mask&unix.STATX_CTIME == 0 {
		req.Mask |= unix.STATX_CTIME
		req.Ctime = now
	}
	if req.AtimeNow {
		req.Mask |= unix.STATX_ATIME
		req.Atime = now
	}
	if req.MtimeNow || resize && req.Mask&unix.STATX_MTIME == 0 {
		req.Mask |= unix.STATX_MTIME
		req.Mtime = now
	}
	req.Mode &= 0o7777
	if req.Mask&unix.STATX_MODE != 0 || p.dentry.isDir() {
		return
	}
	killed := req.chownKills(cred, p, a)
	if resize && !cred.privileged() {
		killed = killedBits(cred, a)
	}
	if killed != 0 {
		req.Mask |= unix.STATX_MODE
		req.Mode = a.Mode &^ killed & 0o7777
	}
}

// syncChange makes a change durable on mounts that want it at once: MS_SYNCHRONOUS, and with
// names also MS_DIRSYNC.
func (p Path) syncChange(ctx context.Context, names bool) error {
	if p.mnt.flags&unix.MS_SYNCHRONOUS == 0 && (!names || p.mnt.flags&unix.MS_DIRSYNC == 0) {
		return nil
	}
	return p.mnt.sb.fs.Sync(ctx)
}
