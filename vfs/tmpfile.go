package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Tmpfile makes a regular file without a name in the file system of dir (vfs_tmpfile). Link can
// name it.
//
// Errors: EROFS, EACCES, ENOENT, ENOTDIR; EOPNOTSUPP where the driver cannot.
func Tmpfile(ctx context.Context, cred *Cred, dir Path, mode uint32, opt CreateOptions) (Path, error) {
	d := dir.dentry
	if !d.isDir() {
		return Path{}, unix.ENOTDIR
	}
	if err := dir.mnt.writable(); err != nil {
		return Path{}, err
	}
	c := &creation{kind: unix.S_IFREG, mode: mode, opt: opt}
	made, err := dir.tmpfileIn(ctx, cred, c)
	if err != nil {
		return Path{}, err
	}
	dir.mnt.refs.Add(1)
	return Path{mnt: dir.mnt, dentry: made}, nil
}

func (p Path) tmpfileIn(ctx context.Context, cred *Cred, c *creation) (*Dentry, error) {
	d := p.dentry
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	if d.dir.removed.Load() {
		return nil, unix.ENOENT
	}
	attr, err := p.newAttr(ctx, cred, c)
	if err != nil {
		return nil, err
	}
	inode, err := d.dir.Tmpfile(ctx, attr)
	if err != nil {
		return nil, err
	}
	if c.opt.Times != nil {
		if err := c.setTimes(ctx, inode); err != nil {
			d.sb.evicted(UnpinInode(ctx, inode))
			return nil, err
		}
	}
	inode.state().linkable.Store(true)
	return newDentry(d.sb, d, "#unnamed", inode, unix.S_IFREG), nil
}
