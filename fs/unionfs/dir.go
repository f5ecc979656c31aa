package unionfs

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// dir is a directory of the union: one of the upper layer, or one of the lower ones, or
// several merged. Its attributes are those of the topmost.
type dir struct {
	inode

	// Where a directory with lower parts is. Neither ever changes, because such
	// a directory cannot be renamed. For others nothing asks.
	parent *dir
	name   string

	lowers []*layerFile // lower parts, top to bottom; never changes

	removed atomic.Bool // set under parent.mu
	impure  atomic.Bool // the upper part has entries with an origin; set under mu

	// mu is held to look a name up in all layers, and to change names in the
	// upper one.
	mu sync.Mutex
}

var _ vfs.Dir = (*dir)(nil)

// dirOf returns the inode, pinned, of the directory that is called name in
// parent and has the parts in stack. It takes over stack.
//
// Preconditions:
//   - parent.mu is locked, unless this is the root.
func (fs *FS) dirOf(ctx context.Context, parent *dir, name string, stack []*layerFile) (unionInode, error) {
	var err error
	impure, lowers := false, stack
	if stack[0].layer.isUpper() {
		lowers = stack[1:]
		if impure, err = marked(ctx, stack[0], xattrImpure); err != nil {
			putAll(stack)
			return nil, err
		}
	}
	i, isNew, err := fs.table.get(dirKey(stack), stack[0], func() unionInode {
		d := &dir{parent: parent, name: name, lowers: lowers}
		d.impure.Store(impure)
		if len(lowers) == 0 {
			d.parent, d.name = nil, ""
		}
		fs.initInode(d, dirKey(stack), stack[0])
		return d
	})
	if !isNew {
		putAll(stack)
	}
	if err != nil {
		_ = vfs.UnpinInode(ctx, i)
		return nil, err
	}
	return i, nil
}

// dirKey returns the identity of a directory with the parts in stack: the topmost
// lower part, so that a copy-up does not change it.
func dirKey(stack []*layerFile) key {
	if stack[0].layer.isUpper() && len(stack) > 1 {
		return stack[1].key()
	}
	return stack[0].key()
}

// parts returns the directories that d consists of, top to bottom. They are
// pinned as long as d is.
func (d *dir) parts() []*layerFile {
	up := d.upper()
	if up == nil {
		return d.lowers
	}
	return append([]*layerFile{up}, d.lowers...)
}

// resolve finds name in all parts of d: one file, or the directories that are
// merged, top to bottom, or nothing. The caller puts them.
//
// Preconditions:
//   - mu is locked.
func (d *dir) resolve(ctx context.Context, name string) (stack []*layerFile, err error) {
	parts := d.parts()
	for n, part := range parts {
		if name == d.indexIn(part) {
			continue
		}
		f, found, err := d.fs.lookupLayer(ctx, part, name)
		if err != nil {
			putAll(stack)
			return nil, err
		}
		if found == absent {
			continue
		}
		if found == whiteout {
			break
		}
		if !f.isDir() {
			if len(stack) > 0 {
				f.path.Put()
				break
			}
			return []*layerFile{f}, nil
		}
		stack = append(stack, f)
		if n == len(parts)-1 {
			break
		}
		opaque, err := marked(ctx, f, xattrOpaque)
		if err != nil {
			putAll(stack)
			return nil, err
		}
		if opaque {
			break
		}
	}
	return stack, nil
}

// Lookup implements vfs.Dir.
func (d *dir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stack, err := d.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(stack) == 0 {
		return nil, unix.ENOENT
	}
	i, err := d.inodeOf(ctx, name, stack)
	if err != nil {
		return nil, err
	}
	return i, nil
}

// inodeOf returns the inode, pinned, of what was resolved as name. It takes over stack.
//
// Preconditions:
//   - mu is locked.
func (d *dir) inodeOf(ctx context.Context, name string, stack []*layerFile) (unionInode, error) {
	if stack[0].isDir() {
		return d.fs.dirOf(ctx, d, name, stack)
	}
	return d.fs.fileOf(ctx, d, name, stack[0])
}

// hasBelow reports whether a lower layer has something under name that an
// upper entry hides, so that its removal leaves a whiteout.
func (d *dir) hasBelow(ctx context.Context, name string) (bool, error) {
	for _, part := range d.lowers {
		if name == d.indexIn(part) {
			continue
		}
		f, found, err := d.fs.lookupLayer(ctx, part, name)
		if err != nil {
			return false, err
		}
		switch found {
		case present:
			f.path.Put()
			return true, nil
		case whiteout:
			return false, nil
		}
	}
	return false, nil
}

// Getattr implements vfs.Inode. A merged directory has one link, which tells
// programs not to count subdirectories by it.
func (d *dir) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) {
	attr, err := d.real.Load().inode.Getattr(ctx, mask)
	attr.Ino = d.ino
	if len(d.lowers) > 0 {
		attr.Nlink = 1
		if d.removed.Load() {
			attr.Nlink = 0
		}
	}
	return attr, err
}

// Setattr implements vfs.Inode. As for files, the access time alone is no
// reason for a copy-up.
func (d *dir) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if sa.Mask == unix.STATX_ATIME && (d.upper() == nil || !d.fs.writable.Load()) {
		return nil
	}
	up, err := d.copyUp(ctx)
	if err != nil {
		return err
	}
	return up.inode.Setattr(ctx, sa)
}

// Evict implements vfs.Inode.
func (d *dir) Evict(ctx context.Context) error {
	d.fs.table.remove(d)
	d.putParts()
	return nil
}

func (d *dir) putParts() {
	if up := d.upper(); up != nil {
		up.path.Put()
	}
	putAll(d.lowers)
}
