package vfs

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of xattr(7) (include/uapi/linux/limits.h).
const (
	maxXattrName = 255   // bytes
	maxXattrSize = 65536 // bytes
)

// xattrPermission decides whether cred may use the attribute name of p, to write it as mask says
// (fs/xattr.c: xattr_permission).
//
// Errors: ERANGE, EOPNOTSUPP for the name; EROFS; EPERM, or ENODATA for reading what is hidden; EACCES.
func xattrPermission(ctx context.Context, cred *Cred, p Path, name string, mask uint32) error {
	if name == "" || len(name) > maxXattrName {
		return unix.ERANGE
	}
	if mask&mayWrite != 0 {
		if err := p.mnt.writable(); err != nil {
			return err
		}
	}
	denied := unix.EPERM
	if mask&mayWrite == 0 {
		denied = unix.ENODATA
	}
	space, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		space = "" // "user" is in no namespace
	}
	switch space {
	case "trusted":
		if !cred.privileged() {
			return denied
		}
	case "security":
		if mask&mayWrite != 0 && !cred.privileged() {
			return unix.EPERM
		}
	case "user":
		if p.dentry.kind != unix.S_IFREG && !p.dentry.isDir() {
			return denied
		}
		a, err := p.dentry.inode.Getattr(ctx, permMask)
		if err != nil {
			return err
		}
		if p.dentry.isDir() && a.Mode&unix.S_ISVTX != 0 && mask&mayWrite != 0 && !owns(cred, &a) {
			return unix.EPERM
		}
		if err := permission(ctx, cred, p, mask); err != nil {
			return err
		}
	case "system":
		return unix.EOPNOTSUPP
	default:
		if err := permission(ctx, cred, p, mask); err != nil {
			return err
		}
		return unix.EOPNOTSUPP
	}
	if rest == "" {
		return unix.EINVAL
	}
	return nil
}

// xattrs returns the attributes of p.
//
// Errors: EOPNOTSUPP where the driver keeps none.
func (p Path) xattrs() (Xattrs, error) {
	if x := p.dentry.inode.Xattrs(); x != nil {
		return x, nil
	}
	return nil, unix.EOPNOTSUPP
}

// Getxattr returns an extended attribute (getxattr(2)). The names that stacking drivers
// use are neither shown nor accepted here and below; see Xattrs.
//
// Errors: ENODATA; EOPNOTSUPP, ERANGE, EINVAL for the name; EACCES, EPERM.
func Getxattr(ctx context.Context, cred *Cred, p Path, name string) ([]byte, error) {
	if err := xattrPermission(ctx, cred, p, name, mayRead); err != nil {
		return nil, err
	}
	x, err := p.xattrs()
	if err != nil {
		return nil, err
	}
	value, err := x.Getxattr(ctx, name)
	return value, p.blame("getxattr", err)
}

// Setxattr sets an extended attribute; flags is 0, XATTR_CREATE or XATTR_REPLACE (setxattr(2)).
//
// Errors: as Getxattr; EEXIST, ENODATA as flags say; E2BIG above 65536 bytes; EROFS, ENOSPC.
func Setxattr(ctx context.Context, cred *Cred, p Path, name string, value []byte, flags int) error {
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return unix.EINVAL
	}
	if len(value) > maxXattrSize {
		return unix.E2BIG
	}
	if err := xattrPermission(ctx, cred, p, name, mayWrite); err != nil {
		return err
	}
	x, err := p.xattrs()
	if err != nil {
		return err
	}
	if err := x.Setxattr(ctx, name, value, flags); err != nil {
		return p.blame("setxattr", err)
	}
	return p.syncChange(ctx, false)
}

// Removexattr removes an extended attribute (removexattr(2)).
//
// Errors: as Setxattr.
func Removexattr(ctx context.Context, cred *Cred, p Path, name string) error {
	if err := xattrPermission(ctx, cred, p, name, mayWrite); err != nil {
		return err
	}
	x, err := p.xattrs()
	if err != nil {
		return err
	}
	if err := x.Removexattr(ctx, name); err != nil {
		return p.blame("removexattr", err)
	}
	return p.syncChange(ctx, false)
}

// Listxattr returns the names of the extended attributes that cred may see
// (listxattr(2)).
func Listxattr(ctx context.Context, cred *Cred, p Path) ([]string, error) {
	x := p.dentry.inode.Xattrs()
	if x == nil {
		return nil, nil
	}
	names, err := x.Listxattr(ctx)
	if err != nil {
		return nil, p.blame("listxattr", err)
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		space, _, _ := strings.Cut(name, ".")
		switch space {
		case "user", "security":
			return false
		case "trusted":
			return !cred.privileged()
		}
		return true
	}), nil
}
