package unionfs

import (
	"context"
	"log/slog"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// copyUp makes sure that the file is in the upper layer and returns it there. A copy of a
// regular file gets the first limit bytes of data, so that what a truncation is
// going to drop is not copied.
//
// The copy is complete before it gets its name, so that nothing of a failed or
// interrupted copy-up is ever seen. Exactly one of several concurrent calls
// makes it.
//
// Errors: EROFS; ENOENT for a directory, symlink or special file that has been removed;
// ENOSPC and others of the upper layer; EIO.
func (f *file) copyUp(ctx context.Context, limit int64) (*layerFile, error) {
	if err := f.fs.checkWritable(); err != nil {
		return nil, err
	}
	if up := f.upper(); up != nil {
		return up, nil
	}
	if !f.hardlink {
		// The directory may go as soon as the file has no name in it.
		if _, err := f.parent.copyUp(ctx); err != nil && !f.unlinked.Load() {
			return nil, err
		}
	}
	f.copyMu.Lock()
	defer f.copyMu.Unlock()
	if up := f.upper(); up != nil {
		return up, nil
	}
	up, err := f.copyUpLocked(ctx, limit)
	if err != nil {
		return nil, err
	}
	return up, nil
}

// copyUpLocked makes the copy and publishes it.
//
// Preconditions:
//   - copyMu is locked.
//   - The directory is in the upper layer, unless the file is unlinked or a hard link.
func (f *file) copyUpLocked(ctx context.Context, limit int64) (*layerFile, error) {
	c, err := f.newCopy(ctx, limit)
	if err != nil {
		return nil, err
	}
	defer c.release()
	if f.hardlink {
		return f.copyUpHardlink(ctx, c)
	}
	if err := c.prepare(ctx, f.fs.upper.root); err != nil {
		return nil, err
	}
	d := f.parent
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.unlinked.Load() {
		up, err := c.unnamed()
		if err != nil {
			return nil, err
		}
		f.setUpper(up)
		return up, nil
	}
	restore, err := d.keepTimes(ctx)
	if err != nil {
		return nil, err
	}
	defer restore()
	if err := d.markImpure(ctx); err != nil {
		return nil, err
	}
	up, err := c.place(ctx, d.upper().path, f.name)
	if err != nil {
		return nil, err
	}
	f.setUpper(up)
	return up, nil
}

// copyUp makes sure that the directory, and those above it, are in the upper
// layer, and returns it there. An upper directory that is merged with what it was a
// copy of changes nothing that can be seen.
func (d *dir) copyUp(ctx context.Context) (*layerFile, error) {
	if err := d.fs.checkWritable(); err != nil {
		return nil, err
	}
	if up := d.upper(); up != nil {
		return up, nil
	}
	var chain []*dir
	for e := d; e.upper() == nil; e = e.parent {
		chain = append(chain, e)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if err := chain[i].copyUpOne(ctx); err != nil {
			return nil, err
		}
	}
	return d.upper(), nil
}

func (d *dir) copyUpWhole(ctx context.Context) (*layerFile, error) { return d.copyUp(ctx) }

// copyUpOne copies up the directory.
//
// Preconditions:
//   - The parent is in the upper layer.
func (d *dir) copyUpOne(ctx context.Context) error {
	d.copyMu.Lock()
	defer d.copyMu.Unlock()
	if d.upper() != nil {
		return nil
	}
	lower := d.real.Load()
	attr, err := lower.inode.Getattr(ctx, unix.STATX_BASIC_STATS)
	if err != nil {
		return err
	}
	xattrs, err := copiedXattrs(ctx, lower)
	if err != nil {
		return err
	}
	p := d.parent
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.removed.Load() {
		return unix.ENOENT
	}
	restore, err := p.keepTimes(ctx)
	if err != nil {
		return err
	}
	defer restore()
	path, err := vfs.Mkdir(ctx, d.fs.cred, p.upper().path, d.name, attr.Mode&07777, copyOptions(&attr, xattrs))
	if err != nil {
		return err
	}
	d.setUpper(d.fs.upperFile(path))
	return nil
}

// copyOptions are the options that create a copy with the owner, the times, the
// mode and the extended attributes of the original.
func copyOptions(attr *vfs.Attr, xattrs map[string][]byte) vfs.CreateOptions {
	return vfs.CreateOptions{
		Owner:     &vfs.Owner{UID: attr.UID, GID: attr.GID},
		Times:     &vfs.Times{Atime: attr.Atime, Mtime: attr.Mtime},
		Xattrs:    xattrs,
		ExactMode: true,
	}
}

// keepTimes returns a function that gives the upper part of d the times that it has now:
// a copy-up in a directory is no change of it.
//
// Preconditions:
//   - d is in the upper layer.
//   - d.mu is locked, and stays so until the function has been called.
func (d *dir) keepTimes(ctx context.Context) (restore func(), err error) {
	up := d.upper()
	attr, err := up.inode.Getattr(ctx, unix.STATX_MTIME|unix.STATX_CTIME)
	if err != nil {
		return nil, err
	}
	return func() {
		err := up.inode.Setattr(context.WithoutCancel(ctx), vfs.SetAttr{
			Mask:  unix.STATX_MTIME | unix.STATX_CTIME,
			Mtime: attr.Mtime,
			Ctime: attr.Ctime,
		})
		// The copy-up itself is done, and right; the call it is for goes on.
		if err != nil {
			d.fs.log.WarnContext(ctx, "unionfs: times of a directory not restored after a copy-up",
				slog.Uint64("ino", d.ino), slog.Any("error", vfs.WithoutPath(err)))
		}
	}, nil
}

// markImpure records that the upper part of d has entries with an origin.
//
// Preconditions:
//   - d is in the upper layer.
//   - d.mu is locked.
func (d *dir) markImpure(ctx context.Context) error {
	if d.impure.Load() {
		return nil
	}
	if err := setPrivate(ctx, d.upper(), xattrImpure, xattrYes); err != nil {
		return err
	}
	d.impure.Store(true)
	return nil
}
