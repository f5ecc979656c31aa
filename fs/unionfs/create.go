package unionfs

import (
	"context"
	"log/slog"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// create makes a file in the upper part of d with make, and returns its inode,
// pinned. A whiteout of the name is replaced in the same step.
func (d *dir) create(ctx context.Context, name string, a vfs.CreateAttr,
	make func(dir vfs.Path, opt vfs.CreateOptions) (vfs.Path, error)) (unionInode, error) {
	for x := range a.Xattrs {
		if isPrivate(x) {
			return nil, unix.EOPNOTSUPP
		}
	}
	if _, err := d.copyUp(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fs.vacate(ctx, d, name); err != nil {
		return nil, err
	}
	p, err := make(d.upper().path, vfs.CreateOptions{
		Owner:     &vfs.Owner{UID: a.UID, GID: a.GID},
		Xattrs:    a.Xattrs,
		ExactMode: true,
	})
	if err != nil {
		return nil, err
	}
	i, err := d.adopt(ctx, name, p)
	if err != nil && name != "" {
		d.undoCreate(ctx, name)
	}
	return i, err
}

// adopt returns the inode, pinned, of a file that has just been made in the
// upper part of d. It takes over p.
func (d *dir) adopt(ctx context.Context, name string, p vfs.Path) (unionInode, error) {
	f, _, err := newLayerFile(ctx, d.fs.upper, p)
	if err != nil {
		return nil, err
	}
	if f.isDir() {
		return d.fs.dirOf(ctx, d, name, []*layerFile{f})
	}
	return d.fs.fileInode(ctx, f.key(), f, &file{})
}

// undoCreate removes a file that was made but cannot be used.
func (d *dir) undoCreate(ctx context.Context, name string) {
	if err := d.removeUpper(context.WithoutCancel(ctx), name); err != nil {
		d.fs.log.WarnContext(ctx, "unionfs: failed creation not undone",
			slog.Uint64("dir", d.ino), slog.Any("error", vfs.WithoutPath(err)))
	}
}

// Create implements vfs.Dir.
func (d *dir) Create(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Regular, error) {
	i, err := d.create(ctx, name, a, func(dir vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
		return vfs.Create(ctx, d.fs.cred, dir, name, a.Mode, opt)
	})
	return asType[vfs.Regular](ctx, i, err)
}

// Mkdir implements vfs.Dir. In a directory with lower parts the new one is
// opaque from the start: whatever they have, or get, under the name stays hidden.
func (d *dir) Mkdir(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Dir, error) {
	i, err := d.create(ctx, name, a, func(dir vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
		if len(d.lowers) > 0 {
			x := map[string][]byte{xattrOpaque: xattrYes}
			for name, value := range opt.Xattrs {
				x[name] = value
			}
			opt.Xattrs = x
		}
		return vfs.Mkdir(ctx, d.fs.cred, dir, name, a.Mode, opt)
	})
	return asType[vfs.Dir](ctx, i, err)
}

// Symlink implements vfs.Dir.
func (d *dir) Symlink(ctx context.Context, name, target string, a vfs.CreateAttr) (vfs.Symlink, error) {
	i, err := d.create(ctx, name, a, func(dir vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
		return vfs.Symlinkat(ctx, d.fs.cred, dir, name, target, opt)
	})
	return asType[vfs.Symlink](ctx, i, err)
}

// Mknod implements vfs.Dir. Errors: EPERM for a character device 0:0, which is
// what a whiteout looks like.
func (d *dir) Mknod(ctx context.Context, name string, rdev uint64, a vfs.CreateAttr) (vfs.Inode, error) {
	if attr := (vfs.Attr{Mode: a.Mode, Rdev: rdev}); attr.IsWhiteout() {
		return nil, unix.EPERM
	}
	i, err := d.create(ctx, name, a, func(dir vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
		return vfs.Mknod(ctx, d.fs.cred, dir, name, a.Mode, rdev, opt)
	})
	return asType[vfs.Inode](ctx, i, err)
}

// Tmpfile implements vfs.Dir.
func (d *dir) Tmpfile(ctx context.Context, a vfs.CreateAttr) (vfs.Regular, error) {
	i, err := d.create(ctx, "", a, func(dir vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
		return vfs.Tmpfile(ctx, d.fs.cred, dir, a.Mode, opt)
	})
	return asType[vfs.Regular](ctx, i, err)
}

// Link implements vfs.Dir.
func (d *dir) Link(ctx context.Context, name string, target vfs.Inode) error {
	t, ok := target.(unionFile)
	if !ok {
		return unix.EPERM
	}
	f := t.common()
	up, err := f.copyUpWhole(ctx)
	if err != nil {
		return err
	}
	if _, err := d.copyUp(ctx); err != nil {
		return err
	}
	f.copyMu.Lock()
	defer f.copyMu.Unlock()
	if err := f.settleLinkCount(ctx, up); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fs.vacate(ctx, d, name); err != nil {
		return err
	}
	if err := d.admit(ctx, t); err != nil {
		return err
	}
	p, err := vfs.Link(ctx, d.fs.cred, up.path, d.upper().path, name)
	if err != nil {
		return err
	}
	p.Put()
	return nil
}

// admit prepares the upper part of d for a name of i, which has been in the upper
// layer before.
//
// Preconditions:
//   - d is in the upper layer.
//   - d.mu is locked.
func (d *dir) admit(ctx context.Context, i unionInode) error {
	if c, ok := i.(*dir); ok {
		if len(d.lowers) == 0 {
			return nil
		}
		// Without lower parts of its own it loses nothing by the mark.
		return setPrivate(ctx, c.upper(), xattrOpaque, xattrYes)
	}
	if i.base().key.layer == upperNumber {
		return nil
	}
	return d.markImpure(ctx)
}

// asType returns i, which was made just now, as a T.
func asType[T vfs.Inode](ctx context.Context, i unionInode, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	t, ok := i.(T)
	if !ok {
		_ = vfs.UnpinInode(ctx, i)
		return none, unix.EIO
	}
	return t, nil
}
