package vfs

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Flags of statfs(2) that x/sys lacks (include/linux/statfs.h).
const (
	stValid       = 0x0020
	stNoSymfollow = 0x2000
)

// Getattr returns the attributes of p; mask holds the STATX_* bits that the caller
// reads (vfs_getattr).
func Getattr(ctx context.Context, p Path, mask uint32) (Attr, error) {
	a, err := p.dentry.inode.Getattr(ctx, mask)
	return a, p.blame("stat", err)
}

// Readlink returns the target of a symlink (vfs_readlink).
//
// Errors: EINVAL for anything else.
func Readlink(ctx context.Context, p Path) (string, error) {
	if p.dentry.kind != unix.S_IFLNK {
		return "", unix.EINVAL
	}
	return readlink(ctx, p)
}

// readlink reads the symlink p and checks what the driver says.
func readlink(ctx context.Context, p Path) (string, error) {
	target, err := p.dentry.inode.(Symlink).Readlink(ctx)
	if err == nil && (target == "" || len(target) >= unix.PathMax) {
		err = fmt.Errorf("vfs: symlink target of %d bytes: %w", len(target), unix.EIO)
	}
	if err != nil {
		return "", p.blame("readlink", err)
	}
	touchAtime(ctx, p)
	return target, nil
}

// Statfs describes the file system of p, with the ST_* flags of its mount (statfs(2)).
func Statfs(ctx context.Context, p Path) (unix.Statfs_t, error) {
	st, err := p.mnt.sb.fs.Statfs(ctx)
	if err != nil {
		return unix.Statfs_t{}, err
	}
	st.Flags = stValid
	for _, f := range [...]struct {
		mount uintptr
		st    int64
	}{
		{unix.MS_RDONLY, unix.ST_RDONLY},
		{unix.MS_NOSUID, unix.ST_NOSUID},
		{unix.MS_NODEV, unix.ST_NODEV},
		{unix.MS_NOEXEC, unix.ST_NOEXEC},
		{unix.MS_SYNCHRONOUS, unix.ST_SYNCHRONOUS},
		{unix.MS_MANDLOCK, unix.ST_MANDLOCK},
		{unix.MS_NOATIME, unix.ST_NOATIME},
		{unix.MS_NODIRATIME, unix.ST_NODIRATIME},
		{unix.MS_RELATIME, unix.ST_RELATIME},
		{unix.MS_NOSYMFOLLOW, stNoSymfollow},
	} {
		if p.mnt.flags&f.mount != 0 {
			st.Flags |= f.st
		}
	}
	return st, nil
}

// touchAtime updates the access time of p after a read, as the mount wants it
// (fs/inode.c: touch_atime). A failure is nobody's concern. Where names change behind the VFS
// attributes cost the driver a call, so it is asked for them at most once in a second.
func touchAtime(ctx context.Context, p Path) {
	const never = unix.MS_NOATIME | unix.MS_RDONLY
	if p.mnt.flags&never != 0 || p.mnt.flags&unix.MS_NODIRATIME != 0 && p.dentry.isDir() {
		return
	}
	inode := p.dentry.inode
	if p.dentry.sb.live {
		asked, now := &inode.state().atimeAsked, p.dentry.sb.now().Unix()
		if asked.Load() == now {
			return
		}
		asked.Store(now)
	}
	a, err := inode.Getattr(ctx, unix.STATX_ATIME|unix.STATX_MTIME|unix.STATX_CTIME)
	if err != nil {
		return
	}
	if p.mnt.flags&unix.MS_STRICTATIME == 0 && later(a.Atime, a.Mtime) && later(a.Atime, a.Ctime) && !p.dentry.sb.dayAfter(a.Atime) {
		return
	}
	_ = inode.Setattr(ctx, SetAttr{Mask: unix.STATX_ATIME, Atime: p.dentry.sb.time()})
}

// later reports whether a is after b.
func later(a, b unix.Timespec) bool {
	return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec
}

// dayAfter reports whether t is a day or more ago.
func (sb *superblock) dayAfter(t unix.Timespec) bool {
	const day = 24 * 60 * 60 // seconds
	return t.Sec <= math.MaxInt64-day && sb.now().Unix() >= t.Sec+day
}
