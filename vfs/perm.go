package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Permission masks, as R_OK, W_OK and X_OK of access(2).
const (
	mayExec  = unix.X_OK
	mayWrite = unix.W_OK
	mayRead  = unix.R_OK
)

// permMask is what permission checks read of the attributes.
const permMask = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_UID | unix.STATX_GID

// genericPermission decides by owner, group and mode (fs/namei.c: generic_permission).
func genericPermission(cred *Cred, a *Attr, mask uint32) error {
	bits := a.Mode
	switch {
	case cred.EUID == a.UID:
		bits >>= 6
	case cred.InGroup(a.GID):
		bits >>= 3
	}
	if mask&^bits&7 == 0 {
		return nil
	}
	// CAP_DAC_OVERRIDE: all but executing what nobody may execute.
	if cred.privileged() && (a.Mode&unix.S_IFMT == unix.S_IFDIR || mask&mayExec == 0 || a.Mode&0o111 != 0) {
		return nil
	}
	return unix.EACCES
}

// permission decides whether cred may access p as mask says (fs/namei.c: inode_permission).
//
// Errors: EROFS for writing on a read-only file system; EACCES.
func permission(ctx context.Context, cred *Cred, p Path, mask uint32) error {
	if mask&mayWrite != 0 && p.mnt.readOnly() {
		switch p.dentry.kind {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
			return unix.EROFS
		}
	}
	if cred.privileged() && (p.dentry.isDir() || mask&mayExec == 0) {
		return nil
	}
	a, err := p.dentry.inode.Getattr(ctx, permMask)
	if err != nil {
		return err
	}
	return genericPermission(cred, &a, mask)
}

// searchable decides whether cred may walk through d.
//
// Errors: ENOTDIR; EACCES.
func searchable(ctx context.Context, cred *Cred, d *Dentry) error {
	if d.dir == nil {
		return unix.ENOTDIR
	}
	if cred.privileged() {
		return nil
	}
	a, err := d.dir.Getattr(ctx, permMask)
	if err != nil {
		return err
	}
	return genericPermission(cred, &a, mayExec)
}

// Access decides whether cred may access p; mode holds R_OK, W_OK and X_OK. It corresponds to faccessat2(2)
// after the walk; for access(2) cred carries the real ids as effective ones.
//
// Errors: EACCES; EROFS for W_OK on a read-only mount.
func Access(ctx context.Context, cred *Cred, p Path, mode uint32) error {
	if mode&mayExec != 0 && p.dentry.kind == unix.S_IFREG && p.mnt.flags&unix.MS_NOEXEC != 0 {
		return unix.EACCES
	}
	return permission(ctx, cred, p, mode&7)
}

// owns reports whether cred is the owner of a or may act as such (inode_owner_or_capable).
func owns(cred *Cred, a *Attr) bool { return cred.EUID == a.UID || cred.privileged() }

// mayCreate decides whether cred may add a name to dir (fs/namei.c: may_create).
func mayCreate(cred *Cred, dir *Attr) error {
	return genericPermission(cred, dir, mayWrite|mayExec)
}

// mayDelete decides whether cred may remove child, which is a directory or not as
// isDir says, from dir (fs/namei.c: may_delete).
//
// Errors: EACCES; EPERM in a sticky directory; ENOTDIR, EISDIR.
func mayDelete(ctx context.Context, cred *Cred, dir *Attr, child *Dentry, isDir bool) error {
	if err := genericPermission(cred, dir, mayWrite|mayExec); err != nil {
		return err
	}
	if dir.Mode&unix.S_ISVTX != 0 && !owns(cred, dir) {
		a, err := child.inode.Getattr(ctx, permMask)
		if err != nil {
			return err
		}
		if cred.EUID != a.UID {
			return unix.EPERM
		}
	}
	switch {
	case isDir && !child.isDir():
		return unix.ENOTDIR
	case !isDir && child.isDir():
		return unix.EISDIR
	}
	return nil
}

// mayLink decides whether cred may make a hard link to a file that it does not own
// (fs/namei.c: may_linkat, as with fs.protected_hardlinks=1).
func mayLink(cred *Cred, a *Attr) error {
	const guarded = unix.S_ISGID | unix.S_IXGRP
	safe := a.Mode&unix.S_IFMT == unix.S_IFREG && a.Mode&unix.S_ISUID == 0 && a.Mode&guarded != guarded &&
		genericPermission(cred, a, mayRead|mayWrite) == nil
	if safe || owns(cred, a) {
		return nil
	}
	return unix.EPERM
}

// killedBits returns the set-id bits that a change of owner, or of content by cred, takes
// away (fs/attr.c: setattr_should_drop_suidgid).
func killedBits(cred *Cred, a *Attr) uint32 {
	killed := a.Mode & unix.S_ISUID
	if a.Mode&unix.S_ISGID != 0 && (a.Mode&unix.S_IXGRP != 0 || !cred.InGroup(a.GID) && !cred.privileged()) {
		killed |= unix.S_ISGID
	}
	return killed
}
