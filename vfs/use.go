package vfs

import (
	"context"
	"math"

	"golang.org/x/sys/unix"
)

// Use is an open file in the hands of a caller, who need not be its opener. What Linux decides by
// the rights of the caller goes by Cred: which set-id bits a change of content clears, and who may set O_NOATIME.
type Use struct {
	File  *File
	Cred  *Cred // nil: the opener's
	Flags int   // RWF_APPEND, RWF_NOAPPEND, RWF_DSYNC, RWF_SYNC of pwritev2(2), for the writing methods
}

// Write is File.Write by this caller.
func (u Use) Write(ctx context.Context, p []byte) (n int, err error) {
	f := u.File
	f.posMu.Lock()
	defer f.posMu.Unlock()
	n, end, err := u.write(ctx, p, f.pos)
	if n > 0 {
		f.pos = end
	}
	return n, err
}

// WriteAt is File.WriteAt by this caller.
func (u Use) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	n, _, err = u.write(ctx, p, off)
	return n, err
}

func (u Use) write(ctx context.Context, p []byte, off int64) (n int, end int64, err error) {
	f := u.File
	if !f.Writable() {
		return 0, 0, unix.EBADF
	}
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, 0, unix.EINVAL
	}
	if len(p) == 0 {
		return 0, off, nil
	}
	p = p[:min(len(p), maxRW)]
	if err := u.killSetID(ctx); err != nil {
		return 0, 0, err
	}
	flags := u.flags()
	if flags&unix.O_APPEND != 0 {
		n, end, err = f.handle.Append(ctx, p)
	} else {
		n, err = f.handle.WriteAt(ctx, p, off)
		end = off + int64(n)
	}
	if n == 0 {
		return 0, 0, f.path.blame("write", err)
	}
	if err := f.syncWrite(ctx, flags); err != nil {
		return 0, 0, err
	}
	return n, end, nil
}

// flags returns the file's status flags as this use changes them (kiocb_set_rw_flags).
func (u Use) flags() int {
	flags := u.File.Flags()
	if u.Flags == 0 {
		return flags
	}
	if u.Flags&unix.RWF_APPEND != 0 {
		flags |= unix.O_APPEND
	}
	if u.Flags&unix.RWF_NOAPPEND != 0 {
		flags &^= unix.O_APPEND
	}
	if u.Flags&unix.RWF_DSYNC != 0 {
		flags |= unix.O_DSYNC
	}
	if u.Flags&unix.RWF_SYNC != 0 {
		flags |= unix.O_SYNC
	}
	return flags
}

func (u Use) cred() *Cred {
	if u.Cred != nil {
		return u.Cred
	}
	return u.File.cred
}

// Truncate is File.Truncate by this caller.
func (u Use) Truncate(ctx context.Context, size int64) error {
	f := u.File
	if f.isPath() {
		return unix.EBADF
	}
	if size < 0 || f.handle == nil || !f.Writable() {
		return unix.EINVAL
	}
	return Setattr(ctx, u.cred(), f.path, SetAttrRequest{
		SetAttr: SetAttr{Mask: unix.STATX_SIZE, Size: size},
		Force:   true,
	})
}

// Fallocate is File.Fallocate by this caller.
func (u Use) Fallocate(ctx context.Context, mode uint32, off, n int64) error {
	f := u.File
	if f.isPath() {
		return unix.EBADF
	}
	if off < 0 || n <= 0 {
		return unix.EINVAL
	}
	if err := checkFallocate(mode); err != nil {
		return err
	}
	if !f.Writable() {
		return unix.EBADF
	}
	if off > math.MaxInt64-n {
		return unix.EFBIG
	}
	if err := u.killSetID(ctx); err != nil {
		return err
	}
	if err := f.handle.Fallocate(ctx, mode, off, n); err != nil {
		return f.path.blame("fallocate", err)
	}
	return f.syncWrite(ctx, f.Flags())
}

// SetFlags is File.SetFlags by this caller.
func (u Use) SetFlags(flags int) error {
	f := u.File
	if f.isPath() {
		return unix.EBADF
	}
	if flags&unix.O_NOATIME != 0 && f.Flags()&unix.O_NOATIME == 0 && !u.cred().privileged() {
		a, err := f.path.dentry.inode.Getattr(context.Background(), permMask)
		if err != nil {
			return err
		}
		if !owns(u.cred(), &a) {
			return unix.EPERM
		}
	}
	for {
		old := f.flags.Load()
		if f.flags.CompareAndSwap(old, old&^setflMask|int64(flags)&setflMask) {
			return nil
		}
	}
}

// killSetID clears the set-id bits before the content changes (file_remove_privs). Privileged
// writers leave them.
func (u Use) killSetID(ctx context.Context) error {
	cred := u.cred()
	if cred.privileged() {
		return nil
	}
	inode := u.File.path.dentry.inode
	a, err := inode.Getattr(ctx, permMask)
	if err != nil || a.Mode&killedBits(cred, &a) == 0 {
		return err
	}
	st := inode.state()
	st.attrMu.Lock()
	defer st.attrMu.Unlock()
	if a, err = inode.Getattr(ctx, permMask); err != nil {
		return err
	}
	return inode.Setattr(ctx, SetAttr{
		Mask:  unix.STATX_MODE | unix.STATX_CTIME,
		Mode:  a.Mode &^ killedBits(cred, &a) & 0o7777,
		Ctime: u.File.path.dentry.sb.time(),
	})
}
