package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Tmpfile makes a regular file without a name in the file system of dir (vfs_tmpfile). Link can
// name it. That dir has been removed does not matter to Linux, but may to the driver.
//
// Errors: EROFS, EACCES, ENOTDIR; EOPNOTSUPP where the driver cannot; ENOENT where it can not in a removed
// directory.
func Tmpfile(ctx context.Context, cred *Cred, dir Path, mode uint32, opt CreateOptions) (Path, error) {
	return dir.tmpfile(ctx, cred, creation{kind: unix.S_IFREG, mode: mode, opt: opt})
}

func (p Path) tmpfile(ctx context.Context, cred *Cred, c creation) (Path, error) {
	if !p.dentry.isDir() {
		return Path{}, unix.ENOTDIR
	}
	if err := p.mnt.writable(); err != nil {
		return Path{}, err
	}
	made, err := p.tmpfileIn(ctx, cred, &c)
	if err != nil {
		return Path{}, err
	}
	p.mnt.refs.Add(1)
	return Path{mnt: p.mnt, dentry: made}, nil
}

func (p Path) tmpfileIn(ctx context.Context, cred *Cred, c *creation) (*Dentry, error) {
	d := p.dentry
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	attr, err := p.newAttr(ctx, cred, c)
	if err != nil {
		return nil, err
	}
	inode, err := d.dir.Tmpfile(ctx, attr)
	if err != nil {
		return nil, p.blame("create", err)
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
