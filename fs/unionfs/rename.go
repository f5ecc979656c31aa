package unionfs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Rename implements vfs.Dir.
//
// Errors: EXDEV for a directory with lower parts, as overlayfs with
// redirect_dir=off; EINVAL for RENAME_WHITEOUT.
func (d *dir) Rename(ctx context.Context, r vfs.Rename) error {
	to, ok := r.NewDir.(*dir)
	child, isOurs := r.Child.(unionInode)
	if !ok || !isOurs {
		return unix.EXDEV
	}
	const allowed = unix.RENAME_EXCHANGE | unix.RENAME_NOREPLACE
	if r.Flags&^allowed != 0 {
		return unix.EINVAL
	}
	if err := d.fs.checkWritable(); err != nil {
		return err
	}
	m := move{from: d, to: to, oldName: r.OldName, newName: r.NewName, child: child}
	if r.Target != nil {
		if m.target, ok = r.Target.(unionInode); !ok {
			return unix.EXDEV
		}
	}
	m.exchange = r.Flags&unix.RENAME_EXCHANGE != 0
	if m.exchange && m.target == nil {
		return unix.ENOENT
	}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	return m.do(ctx)
}

// A move is one rename.
type move struct {
	from, to         *dir
	oldName, newName string
	child, target    unionInode // target is nil if the new name is absent
	exchange         bool
}

// prepare checks what can be moved and brings it to the upper layer.
func (m *move) prepare(ctx context.Context) error {
	if err := checkMovable(m.child); err != nil {
		return err
	}
	t, isDir := m.target.(*dir)
	switch {
	case m.exchange:
		if err := checkMovable(m.target); err != nil {
			return err
		}
	case isDir:
		if err := t.checkEmpty(ctx); err != nil {
			return err
		}
	}
	if err := bringUp(ctx, m.from, m.oldName, m.child); err != nil {
		return err
	}
	if m.exchange {
		return bringUp(ctx, m.to, m.newName, m.target)
	}
	if t, ok := m.target.(unionFile); ok {
		return m.to.prepareLoss(ctx, m.newName, t.common())
	}
	_, err := m.to.copyUp(ctx)
	return err
}

// checkMovable returns EXDEV for a directory with lower parts: they would stay where
// they are.
func checkMovable(i unionInode) error {
	if d, ok := i.(*dir); ok && len(d.lowers) > 0 {
		return unix.EXDEV
	}
	return nil
}

// bringUp makes sure that the upper part of d has i as name.
func bringUp(ctx context.Context, d *dir, name string, i unionInode) error {
	if _, err := d.copyUp(ctx); err != nil {
		return err
	}
	if f, ok := i.(unionFile); ok {
		return f.common().nameCopy(ctx, d, name)
	}
	return nil
}

// do does the rename in the upper layer.
func (m *move) do(ctx context.Context) error {
	if t, ok := m.target.(unionFile); ok && !m.exchange {
		f := t.common()
		f.copyMu.Lock()
		defer f.copyMu.Unlock()
	}
	defer m.lock()()
	if err := m.mark(ctx); err != nil {
		return err
	}
	below, err := m.from.hasBelow(ctx, m.oldName)
	if err != nil {
		return err
	}
	var flags uint32
	switch {
	case m.exchange:
		flags = unix.RENAME_EXCHANGE
	case below:
		flags = unix.RENAME_WHITEOUT
	}
	err = vfs.Renameat(ctx, m.from.fs.cred, m.from.upper().path, m.oldName, m.to.upper().path, m.newName, flags)
	if err != nil || m.exchange {
		return err
	}
	switch t := m.target.(type) {
	case *dir:
		t.removed.Store(true)
	case unionFile:
		t.common().lost(ctx)
	}
	return nil
}

// lock locks the names of both directories and returns what unlocks them.
func (m *move) lock() (unlock func()) {
	a, b := m.from, m.to
	if a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	if b.key.layer < a.key.layer || b.key.layer == a.key.layer && b.key.ino < a.key.ino {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return func() {
		b.mu.Unlock()
		a.mu.Unlock()
	}
}

// mark sets the marks that both directories need, which change nothing by themselves.
//
// Preconditions:
//   - Both directories are in the upper layer and locked.
func (m *move) mark(ctx context.Context) error {
	if err := m.from.fs.vacate(ctx, m.to, m.newName); err != nil {
		return err
	}
	if err := m.to.admit(ctx, m.child); err != nil {
		return err
	}
	if m.exchange {
		return m.from.admit(ctx, m.target)
	}
	return nil
}
