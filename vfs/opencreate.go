package vfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// openCreate walks the path itself, for a symlink in the last component may lead
// to where the file is made.
func (v *View) openCreate(ctx context.Context, at Path, path string, walk WalkFlags, o opening) (*File, error) {
	var w walker
	if err := w.init(ctx, v, at, path, walk&^WalkEmpty); err != nil {
		return nil, err
	}
	w.pinned = true
	w.start(path)
	defer w.drop()
	for tries := 0; ; {
		last, err := w.parent()
		if err != nil {
			return nil, err
		}
		if last.Kind != LastNorm {
			if _, err := w.last(last); err != nil {
				return nil, err
			}
			return nil, o.existing(w.d)
		}
		if last.TrailingSlash {
			return nil, unix.EISDIR
		}
		f, followed, err := o.openLast(&w, last.Name)
		switch {
		case followed && err == nil:
		case !errors.Is(err, errRestart):
			return f, err
		case tries == 8:
			return nil, unix.EEXIST
		default:
			tries++ // the name appeared since it was looked up
			w.rest = last.Name
		}
	}
}

// openLast opens or creates name where w is. If name is a symlink to follow, its
// path is next. Errors: errRestart if the name appeared meanwhile.
func (o *opening) openLast(w *walker, name string) (f *File, followed bool, err error) {
	c, err := w.child(name)
	if err != nil && Errno(err) != unix.ENOENT {
		return nil, false, err
	}
	if c.vacant() {
		if c != nil {
			c.put()
		}
		f, err := o.create(w, name)
		return f, false, err
	}
	const stay = unix.O_NOFOLLOW | unix.O_EXCL
	if c.kind == unix.S_IFLNK && o.flags&stay == 0 {
		return nil, true, w.followLink(c)
	}
	if err := o.mayReuse(w, c); err != nil {
		c.put()
		return nil, false, err
	}
	if err := w.enter(c); err != nil {
		return nil, false, err
	}
	if err := o.existing(w.d); err != nil {
		return nil, false, err
	}
	f, err = o.open(w.ctx, w.cred, Path{mnt: w.mnt, dentry: w.d})
	return f, false, err
}

// existing makes the checks of O_CREAT on something that exists.
func (o *opening) existing(d *Dentry) error {
	switch {
	case o.flags&unix.O_EXCL != 0:
		return unix.EEXIST
	case d.isDir():
		return unix.EISDIR
	}
	return nil
}

// mayReuse decides whether O_CREAT may open what it could have made (fs/namei.c: may_create_in_sticky, as
// with fs.protected_regular=0 and fs.protected_fifos=0).
//
// Errors: EACCES in a sticky directory in which everybody may make files, for another's symlink, socket or device.
func (o *opening) mayReuse(w *walker, c *Dentry) error {
	switch c.kind {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFDIR:
		return nil
	}
	if o.flags&unix.O_EXCL != 0 {
		return nil // EEXIST
	}
	dir, err := w.d.dir.Getattr(w.ctx, permMask)
	if err != nil {
		return err
	}
	const sticky = unix.S_ISVTX | unix.S_IWOTH
	if dir.Mode&sticky != sticky {
		return nil
	}
	file, err := c.inode.Getattr(w.ctx, permMask)
	if err != nil {
		return err
	}
	if file.UID == dir.UID || file.UID == w.cred.EUID {
		return nil
	}
	return unix.EACCES
}

func (o *opening) create(w *walker, name string) (*File, error) {
	dir := Path{mnt: w.mnt, dentry: w.d}
	p, err := dir.create(w.ctx, w.cred, creation{name: name, kind: unix.S_IFREG, mode: o.mode, umask: o.umask})
	if err != nil {
		if Errno(err) == unix.EEXIST && o.flags&unix.O_EXCL == 0 {
			return nil, errRestart
		}
		return nil, err
	}
	defer p.Put()
	o.created = true
	return o.open(w.ctx, w.cred, p)
}
