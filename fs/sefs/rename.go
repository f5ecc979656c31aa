package sefs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// Rename implements vfs.Dir: RENAME_NOREPLACE, RENAME_EXCHANGE and
// RENAME_WHITEOUT work. Errors: EINVAL for other flags and combinations.
func (d *dir) Rename(ctx context.Context, r vfs.Rename) error {
	to, ok := r.NewDir.(*dir)
	if !ok || to.fs != d.fs {
		return unix.EXDEV
	}
	switch r.Flags {
	case 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT, unix.RENAME_WHITEOUT | unix.RENAME_NOREPLACE:
	default:
		return unix.EINVAL
	}
	m := move{from: d, to: to, child: baseOf(r.Child), target: baseOf(r.Target)}
	defer lockInodes(&d.inode, &to.inode, m.child, m.target)()
	if err := to.live(); err != nil {
		return err
	}
	var err error
	if m.old, err = d.find(r.OldName); err != nil {
		return err
	}
	if m.now, err = to.probe(r.NewName); err != nil {
		return err
	}
	exchange := r.Flags == unix.RENAME_EXCHANGE
	switch {
	case !m.old.is(r.Child),
		r.Target != nil && !m.now.is(r.Target),
		r.Target == nil && m.now.visible(),
		exchange && m.now == (entry{}):
		return unix.ENOENT
	case r.Flags&unix.RENAME_NOREPLACE != 0 && m.now.visible():
		return unix.EEXIST
	}
	if t, ok := r.Target.(*dir); ok && !exchange {
		if err := t.empty(); err != nil {
			return err
		}
	}

	o, err := d.fs.begin(ctx)
	if err != nil {
		return err
	}
	now := d.fs.timestamp()
	o.link(to, r.NewName, m.old)
	switch {
	case exchange:
		o.link(d, r.OldName, m.now)
	case r.Flags&unix.RENAME_WHITEOUT != 0:
		o.link(d, r.OldName, entry{typ: format.Whiteout})
	default:
		o.unlink(d, r.OldName)
	}
	if exchange {
		m.exchange(&o, now)
	} else {
		m.replace(&o, now)
	}
	return o.end()
}

// move is a rename between two directories, which may be one.
type move struct {
	from, to      *dir
	old, now      entry  // what the old and the new name stand for before
	child, target *inode // nil for whiteouts; target also if absent
}

// replace changes the attributes when child takes the place of target.
func (m *move) replace(o *op, now unix.Timespec) {
	childDir, targetDir := m.child != nil && m.child.isDir(), m.target != nil && m.target.isDir()
	o.dropLink(m.target, now)
	o.moved(m.child, m.to, now)
	m.from.touch(o, now, -bit(m.old.visible()), -bit(childDir))
	m.to.touch(o, now, bit(m.old.visible())-bit(m.now.visible()), bit(childDir)-bit(targetDir))
}

// exchange changes the attributes when child and target change places.
func (m *move) exchange(o *op, now unix.Timespec) {
	o.moved(m.child, m.to, now)
	o.moved(m.target, m.from, now)
	if m.from == m.to {
		m.from.touch(o, now, 0, 0)
		return
	}
	childDir, targetDir := m.child != nil && m.child.isDir(), m.target != nil && m.target.isDir()
	entries, subdirs := bit(m.now.visible())-bit(m.old.visible()), bit(targetDir)-bit(childDir)
	m.from.touch(o, now, entries, subdirs)
	m.to.touch(o, now, -entries, -subdirs)
}

// moved notes that i, which may be nil, is in the directory d now.
func (o *op) moved(i *inode, d *dir, now unix.Timespec) {
	if i == nil {
		return
	}
	i.update(o, func(s *state) {
		s.Ctime = now
		if s.Mode&unix.S_IFMT == unix.S_IFDIR {
			s.parent = d.ino
		}
	})
}

// baseOf returns the common part of x, nil for whiteouts and for nil.
func baseOf(x vfs.Inode) *inode {
	if a, ok := x.(anyInode); ok {
		return a.base()
	}
	return nil
}
