package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Link makes name in dir one more name of target and returns it pinned (vfs_link).
//
// Errors: EEXIST, EXDEV, EROFS, EACCES; EPERM for a directory, and for a file that the caller neither
// owns nor may read and write; ENOENT if target has no name left; EMLINK.
func Link(ctx context.Context, cred *Cred, target Path, dir Path, name string) (Path, error) {
	return dir.link(ctx, cred, target, creation{name: name})
}

func (p Path) link(ctx context.Context, cred *Cred, target Path, c creation) (Path, error) {
	c.link, c.kind = target.dentry.inode, target.dentry.kind
	if p.mnt != target.mnt {
		// What exists is an error even then (fs/namei.c: do_linkat).
		if err := p.vacant(ctx, c); err != nil {
			return Path{}, err
		}
		return Path{}, unix.EXDEV
	}
	return p.create(ctx, cred, c)
}

// vacant checks that c's name is free to be made (fs/namei.c: filename_create).
func (p Path) vacant(ctx context.Context, c creation) error {
	if err := checkName(c.name); err != nil {
		return err
	}
	if !p.dentry.isDir() {
		return unix.ENOTDIR
	}
	child, err := p.dentry.lookup(ctx, p.mnt, c.name, nil)
	if err == nil {
		defer child.put()
	}
	return c.check(p, child, p.blameName("lookup", c.name, err))
}

// linkable makes the checks of vfs_link on the file that gets a name.
func (c *creation) linkable(a *Attr) error {
	switch {
	case c.kind == unix.S_IFDIR:
		return unix.EPERM
	case a.Nlink == 0 && !c.link.state().linkable.Load():
		return unix.ENOENT
	}
	return nil
}
