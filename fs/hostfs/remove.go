package hostfs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Unlink implements vfs.Dir.
func (d *dir) Unlink(ctx context.Context, name string, child vfs.Inode) error {
	return d.remove(name, child, d.fs.gate.unlink)
}

// Rmdir implements vfs.Dir.
func (d *dir) Rmdir(ctx context.Context, name string, child vfs.Dir) error {
	return d.remove(name, child, d.fs.gate.rmdir)
}

// remove removes name by call. Who still uses the file reaches it by a descriptor from now on.
func (d *dir) remove(name string, child vfs.Inode, call func(dir FD, name string) error) error {
	x, ok := child.(node)
	if !ok || !validName(name) {
		return unix.EINVAL
	}
	dd, err := d.acquire()
	if err != nil {
		return err
	}
	defer dd.put()
	i := x.base()
	keep := i.keep()
	i.moveMu.Lock()
	defer i.moveMu.Unlock()
	if err := call(dd.fd, name); err != nil {
		keep.drop()
		return err
	}
	i.removed(d, name, keep)
	d.changed()
	return nil
}

// keep returns a descriptor for when the inode has lost its name; nil if it has gone already,
// or the host has no descriptors left: who uses it then gets ESTALE.
func (i *inode) keep() *desc {
	d, err := i.acquire()
	if err != nil {
		return nil
	}
	return d
}

// drop puts a descriptor that has not been needed.
func (d *desc) drop() {
	if d != nil {
		_ = d.put()
	}
}

// Rename implements vfs.Dir.
//
// Errors: EINVAL for RENAME_WHITEOUT, and for flags that the host does not have.
func (d *dir) Rename(ctx context.Context, r vfs.Rename) error {
	to, ok := r.NewDir.(*dir)
	child, ok2 := r.Child.(node)
	target, _ := r.Target.(node)
	switch {
	case !ok || !ok2 || !validName(r.OldName) || !validName(r.NewName):
		return unix.EINVAL
	case r.Flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0:
		return unix.EINVAL
	}
	from, err := d.acquire()
	if err != nil {
		return err
	}
	defer from.put()
	dest, err := to.acquire()
	if err != nil {
		return err
	}
	defer dest.put()
	var keep *desc
	if target != nil && r.Flags&unix.RENAME_EXCHANGE == 0 {
		keep = target.base().keep()
	}
	unlock := lockMoves(child, target)
	defer unlock()
	if err := d.fs.gate.rename(from.fd, r.OldName, dest.fd, r.NewName, r.Flags); err != nil {
		keep.drop()
		return err
	}
	child.base().seen(to, r.NewName)
	child.base().gone(d, r.OldName)
	switch {
	case target == nil:
	case r.Flags&unix.RENAME_EXCHANGE != 0:
		target.base().seen(d, r.OldName)
		target.base().gone(to, r.NewName)
	default:
		target.base().removed(to, r.NewName, keep)
	}
	d.changed()
	to.changed()
	return nil
}

// lockMoves locks moveMu of one or two inodes.
func lockMoves(x, y node) (unlock func()) {
	a := x.base()
	if y == nil || y.base() == a {
		a.moveMu.Lock()
		return a.moveMu.Unlock
	}
	b := y.base()
	if b.serial < a.serial {
		a, b = b, a
	}
	a.moveMu.Lock()
	b.moveMu.Lock()
	return func() {
		b.moveMu.Unlock()
		a.moveMu.Unlock()
	}
}

// Link implements vfs.Dir.
//
// Errors: ESTALE if the file is not where it was any more.
func (d *dir) Link(ctx context.Context, name string, target vfs.Inode) error {
	x, ok := target.(node)
	if !ok || !validName(name) {
		return unix.EINVAL
	}
	i := x.base()
	dd, err := d.acquire()
	if err != nil {
		return err
	}
	defer dd.put()
	err = i.atPlace(0, func(oldDir FD, oldName string) error {
		return d.fs.gate.link(oldDir, oldName, dd.fd, name)
	})
	if err != nil {
		return err
	}
	// The old name may have come to stand for something else just before.
	_, id, err := d.fs.gate.stat(dd.fd, name)
	switch {
	case missing(err):
		return unix.ESTALE // it has gone again
	case err != nil:
		return d.undo(dd.fd, name, i.id.typ, err)
	case id != i.id:
		return d.undo(dd.fd, name, id.typ, unix.ESTALE)
	}
	d.changed()
	return nil
}
