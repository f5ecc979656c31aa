package unionfs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Unlink implements vfs.Dir. The upper entry becomes a whiteout, in one step, if
// a lower layer has the name.
func (d *dir) Unlink(ctx context.Context, name string, child vfs.Inode) error {
	c, ok := child.(unionFile)
	if !ok {
		return unix.EISDIR
	}
	f := c.common()
	if err := d.prepareLoss(ctx, name, f); err != nil {
		return err
	}
	f.copyMu.Lock()
	defer f.copyMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.removeUpper(ctx, name); err != nil {
		return err
	}
	f.lost(ctx)
	return nil
}

// prepareLoss prepares the removal of name, one name of f, from d. The copy of a
// hard link gets the name in the upper layer first, so that its
// count of links goes down with the number of names.
func (d *dir) prepareLoss(ctx context.Context, name string, f *file) error {
	if _, err := d.copyUp(ctx); err != nil {
		return err
	}
	if !f.hardlink {
		return nil
	}
	return f.nameCopy(ctx, d, name)
}

// lost takes note that f has lost a name.
//
// Preconditions:
//   - copyMu is locked.
//   - The mu of the directory is locked.
func (f *file) lost(ctx context.Context) {
	if f.upper() == nil {
		f.unlinked.Store(true)
	}
	f.dropIndex(context.WithoutCancel(ctx))
}

// removeUpper removes name from the upper part of d, and leaves a whiteout if
// a lower part has it. Directories must be empty.
//
// Preconditions:
//   - d is in the upper layer.
//   - d.mu is locked.
func (d *dir) removeUpper(ctx context.Context, name string) error {
	if err := d.fs.vacate(ctx, d, name); err != nil {
		return err
	}
	below, err := d.hasBelow(ctx, name)
	if err != nil {
		return err
	}
	up := d.upper()
	if below {
		return vfs.Whiteout(ctx, d.fs.cred, up.path, name)
	}
	f, found, err := d.fs.lookupLayer(ctx, up, name)
	if err != nil {
		return err
	}
	if found != present {
		return unix.ENOENT
	}
	isDir := f.isDir()
	f.path.Put()
	if isDir {
		return vfs.Rmdir(ctx, d.fs.cred, up.path, name)
	}
	return vfs.Unlink(ctx, d.fs.cred, up.path, name)
}

// Rmdir implements vfs.Dir.
func (d *dir) Rmdir(ctx context.Context, name string, child vfs.Dir) error {
	c, ok := child.(*dir)
	if !ok {
		return unix.ENOTDIR
	}
	if err := d.fs.checkWritable(); err != nil {
		return err
	}
	if err := c.checkEmpty(ctx); err != nil {
		return err
	}
	if _, err := d.copyUp(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.removeUpper(ctx, name); err != nil {
		return err
	}
	c.removed.Store(true)
	return nil
}

// Whiteout implements vfs.Dir. Users of the union cannot make whiteouts in it.
func (d *dir) Whiteout(context.Context, string, vfs.Inode) error { return unix.EINVAL }
