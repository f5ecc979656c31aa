package fuseserver

import (
	"context"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const attrMask = unix.STATX_BASIC_STATS

// setAttr converts to the protocol's attributes.
func setAttr(out *fuse.Attr, a *vfs.Attr) {
	*out = fuse.Attr{
		Ino:       a.Ino,
		Size:      uint64(a.Size),
		Blocks:    uint64(a.Blocks),
		Atime:     uint64(a.Atime.Sec),
		Mtime:     uint64(a.Mtime.Sec),
		Ctime:     uint64(a.Ctime.Sec),
		Atimensec: uint32(a.Atime.Nsec),
		Mtimensec: uint32(a.Mtime.Nsec),
		Ctimensec: uint32(a.Ctime.Nsec),
		Mode:      a.Mode,
		Nlink:     a.Nlink,
		Owner:     fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:      encodeDev(a.Rdev),
		Blksize:   a.Blksize,
	}
}

// encodeDev makes a device number as the kernel passes it to user space
// (include/linux/kdev_t.h: new_encode_dev).
func encodeDev(dev uint64) uint32 {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return minor&0xff | major<<8 | minor&^0xff<<12
}

// decodeDev is the reverse of encodeDev (new_decode_dev).
func decodeDev(dev uint32) uint64 {
	return unix.Mkdev(dev&0xfff00>>8, dev&0xff|dev>>12&0xfff00)
}

// GetAttr does stat(2).
func (fs *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	return fs.attrOut(n, out)
}

func (fs *fileSystem) attrOut(n *node, out *fuse.AttrOut) fuse.Status {
	a, err := vfs.Getattr(context.Background(), n.path, attrMask)
	if err != nil {
		return fs.status("getattr", err)
	}
	out.SetTimeout(fs.timeout)
	setAttr(&out.Attr, &a)
	return fuse.OK
}

// Access does access(2) and chdir(2) of root where the kernel does not check modes: root may do everything
// but execute what nobody may (fs/namei.c: generic_permission).
func (fs *fileSystem) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	if in.Mask&unix.X_OK == 0 {
		return fuse.OK
	}
	a, err := vfs.Getattr(context.Background(), n.path, unix.STATX_TYPE|unix.STATX_MODE)
	switch {
	case err != nil:
		return fs.status("access", err)
	case a.Mode&unix.S_IFMT != unix.S_IFDIR && a.Mode&0o111 == 0:
		return fuse.EACCES
	}
	return fuse.OK
}

// Statx does statx(2); the kernel asks for it when a birth time is wanted.
func (fs *fileSystem) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	a, err := vfs.Getattr(context.Background(), n.path, attrMask|unix.STATX_BTIME)
	if err != nil {
		return fs.status("statx", err)
	}
	out.SetTimeout(fs.timeout)
	out.Statx = fuse.Statx{
		Mask:      attrMask | a.Mask&unix.STATX_BTIME,
		Blksize:   a.Blksize,
		Nlink:     a.Nlink,
		Uid:       a.UID,
		Gid:       a.GID,
		Mode:      uint16(a.Mode),
		Ino:       a.Ino,
		Size:      uint64(a.Size),
		Blocks:    uint64(a.Blocks),
		Atime:     sxTime(a.Atime),
		Btime:     sxTime(a.Btime),
		Ctime:     sxTime(a.Ctime),
		Mtime:     sxTime(a.Mtime),
		RdevMajor: unix.Major(a.Rdev),
		RdevMinor: unix.Minor(a.Rdev),
	}
	return fuse.OK
}

func sxTime(t unix.Timespec) fuse.SxTime {
	return fuse.SxTime{Sec: uint64(t.Sec), Nsec: uint32(t.Nsec)}
}

// SetAttr does chmod(2), chown(2), truncate(2) and utimensat(2). The kernel has
// done setattr_prepare.
func (fs *fileSystem) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx := context.Background()
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	if in.Valid&fuse.FATTR_SIZE != 0 && in.Size > maxOffset {
		return fuse.Status(unix.EFBIG)
	}
	if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 {
		if err := fs.killPriv(ctx, n.path); err != nil {
			return fs.status("setattr", err)
		}
	}
	// A chown(2) that changes neither id asks for nothing.
	if in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) == 0 {
		if err := fs.chownNothing(ctx, n.path, in.Caller.Uid); err != nil {
			return fs.status("setattr", err)
		}
	}
	req := setAttrRequest(in)
	if req.Mask != 0 {
		if err := vfs.Setattr(ctx, fs.cred, n.path, req); err != nil {
			return fs.status("setattr", err)
		}
	}
	return fs.attrOut(n, out)
}

func setAttrRequest(in *fuse.SetAttrIn) (req vfs.SetAttrRequest) {
	for _, b := range [...]struct{ fattr, statx uint32 }{
		{fuse.FATTR_MODE, unix.STATX_MODE},
		{fuse.FATTR_UID, unix.STATX_UID},
		{fuse.FATTR_GID, unix.STATX_GID},
		{fuse.FATTR_SIZE, unix.STATX_SIZE},
		{fuse.FATTR_ATIME, unix.STATX_ATIME},
		{fuse.FATTR_MTIME, unix.STATX_MTIME},
	} {
		if in.Valid&b.fattr != 0 {
			req.Mask |= b.statx
		}
	}
	req.Mode = in.Mode & 07777
	req.UID, req.GID = in.Uid, in.Gid
	req.Size = int64(in.Size)
	req.Atime = unix.Timespec{Sec: int64(in.Atime), Nsec: int64(in.Atimensec)}
	req.Mtime = unix.Timespec{Sec: int64(in.Mtime), Nsec: int64(in.Mtimensec)}
	req.AtimeNow = in.Valid&fuse.FATTR_ATIME_NOW != 0
	req.MtimeNow = in.Valid&fuse.FATTR_MTIME_NOW != 0
	return req
}

// chownNothing is a chown(2) by uid that changes neither id, but ctime and, as the
// owner's or root's, the set-id bits; with HANDLE_KILLPRIV_V2 the kernel leaves that
// to us. It also asks so for others just before a write, which then says by itself that
// the bits have to go (fs/inode.c: file_remove_privs). So another's chown(2) of such
// a file does nothing, but is not the EPERM that it should be.
func (fs *fileSystem) chownNothing(ctx context.Context, p vfs.Path, uid uint32) error {
	a, err := vfs.Getattr(ctx, p, unix.STATX_TYPE|unix.STATX_MODE|unix.STATX_UID)
	if err != nil {
		return err
	}
	const groupExec = unix.S_ISGID | unix.S_IXGRP
	switch {
	case a.Mode&unix.S_IFMT == unix.S_IFDIR || a.Mode&unix.S_ISUID == 0 && a.Mode&groupExec != groupExec:
		return vfs.Setattr(ctx, fs.cred, p, vfs.SetAttrRequest{})
	case uid != 0 && uid != a.UID:
		return nil
	}
	return fs.killPriv(ctx, p)
}

// killPriv drops the set-id bits before a write or truncation by someone without
// CAP_FSETID; the kernel has left that to us (fs/attr.c: setattr_should_drop_suidgid).
func (fs *fileSystem) killPriv(ctx context.Context, p vfs.Path) error {
	a, err := vfs.Getattr(ctx, p, unix.STATX_MODE)
	if err != nil {
		return err
	}
	mode := a.Mode & 07777 &^ unix.S_ISUID
	if a.Mode&unix.S_IXGRP != 0 {
		mode &^= unix.S_ISGID
	}
	if mode == a.Mode&07777 {
		return nil
	}
	var req vfs.SetAttrRequest
	req.Mask, req.Mode = unix.STATX_MODE, mode
	return vfs.Setattr(ctx, fs.cred, p, req)
}
