package sefs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// Link implements vfs.Dir. Errors: EPERM for a directory, EMLINK.
func (d *dir) Link(ctx context.Context, name string, target vfs.Inode) error {
	x, ok := target.(anyInode)
	if !ok || x.base().isDir() {
		return unix.EPERM
	}
	i := x.base()
	defer lockInodes(&d.inode, i)()
	if err := d.free(name); err != nil {
		return err
	}
	s := i.snapshot()
	if s.Nlink == format.MaxNlink {
		return unix.EMLINK
	}
	o, err := d.fs.begin(ctx)
	if err != nil {
		return err
	}
	now := d.fs.timestamp()
	o.link(d, name, entry{ino: i.ino, typ: direntType(s.Mode)})
	i.update(&o, func(s *state) { s.Nlink++; s.Ctime = now })
	d.touch(&o, now, 1, 0)
	return o.end()
}

// isDir reports whether i is a directory.
func (i *inode) isDir() bool { return i.st.Load().Mode&unix.S_IFMT == unix.S_IFDIR }

// Unlink implements vfs.Dir.
func (d *dir) Unlink(ctx context.Context, name string, child vfs.Inode) error {
	return d.remove(ctx, name, child, false)
}

// Rmdir implements vfs.Dir.
func (d *dir) Rmdir(ctx context.Context, name string, child vfs.Dir) error {
	return d.remove(ctx, name, child, false)
}

// Whiteout implements vfs.Dir.
func (d *dir) Whiteout(ctx context.Context, name string, child vfs.Inode) error {
	return d.remove(ctx, name, child, true)
}

// remove takes the entry of name, which stands for child, out of d, or
// replaces it by a whiteout. child may be nil for a new whiteout only.
func (d *dir) remove(ctx context.Context, name string, child vfs.Inode, whiteout bool) error {
	var victim *inode
	if x, ok := child.(anyInode); ok {
		victim = x.base()
	}
	defer lockInodes(&d.inode, victim)()
	if err := d.live(); err != nil {
		return err
	}
	e, err := d.probe(name)
	switch {
	case err != nil:
		return err
	case child != nil && !e.is(child), child == nil && e.visible(), e == (entry{}) && !whiteout:
		return unix.ENOENT
	}
	var target *dir
	if victim != nil && victim.isDir() {
		target = child.(*dir)
		if err := target.empty(); err != nil {
			return err
		}
	}
	o, err := d.fs.begin(ctx)
	if err != nil {
		return err
	}
	now := d.fs.timestamp()
	if whiteout {
		o.link(d, name, entry{typ: format.Whiteout})
	} else {
		o.unlink(d, name)
	}
	o.dropLink(victim, now)
	d.touch(&o, now, -bit(e.visible()), -bit(target != nil))
	return o.end()
}

// dropLink takes one name from i, which may be nil. A directory has only one.
func (o *op) dropLink(i *inode, now unix.Timespec) {
	if i == nil {
		return
	}
	i.update(o, func(s *state) {
		if s.Mode&unix.S_IFMT == unix.S_IFDIR {
			s.Nlink = 0
		} else if s.Nlink > 0 {
			s.Nlink--
		}
		s.Ctime = now
	})
}
