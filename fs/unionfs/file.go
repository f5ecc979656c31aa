package unionfs

import (
	"context"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// wholeFile is the limit of a copy-up that takes all data along.
const wholeFile = math.MaxInt64

// file is what all inodes but directories have in common.
type file struct {
	inode

	// Where a lower file with one name has it. Neither ever changes: the
	// directory has a lower part, so that it cannot be renamed, and the file is copied up
	// before it is. Nil and "" for others.
	parent *dir
	name   string

	// unlinked is set, under parent.mu, when the one name of a lower file is gone.
	unlinked atomic.Bool

	// A file that has, or had, several names in its lower layer; its copy is in
	// the index. extra is the number of its names in the union less the number of
	// links that it has where it is.
	hardlink bool
	extra    atomic.Int64
	absolute bool // the record holds a count, not extra; see linkCount. Guarded by copyMu
}

// unionFile is an inode of the union that embeds file.
type unionFile interface {
	unionInode
	common() *file
}

type (
	special struct{ file }
	symlink struct{ file }
	regular struct{ file }
)

var (
	_ unionFile   = (*special)(nil)
	_ vfs.Symlink = (*symlink)(nil)
	_ vfs.Regular = (*regular)(nil)
)

func (f *file) common() *file { return f }

// Getattr implements vfs.Inode.
func (f *file) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) {
	r := f.real.Load()
	attr, err := r.inode.Getattr(ctx, mask)
	attr.Ino = f.ino
	switch {
	case f.hardlink:
		attr.Nlink = uint32(max(0, int64(attr.Nlink)+f.extra.Load()))
	case f.unlinked.Load():
		attr.Nlink = 0
	}
	return attr, err
}

// Setattr implements vfs.Inode. The access time alone changes when the file is
// read; that is no reason for a copy-up, and a lower file does without.
func (f *file) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if sa.Mask == unix.STATX_ATIME && (f.upper() == nil || !f.fs.writable.Load()) {
		return nil
	}
	limit := int64(wholeFile)
	if sa.Mask&unix.STATX_SIZE != 0 {
		limit = sa.Size
	}
	up, err := f.copyUp(ctx, limit)
	if err != nil {
		return err
	}
	return up.inode.Setattr(ctx, sa)
}

// Evict implements vfs.Inode.
func (f *file) Evict(ctx context.Context) error {
	f.fs.table.remove(f.xattr.of)
	f.putFiles()
	return nil
}

func (f *file) copyUpWhole(ctx context.Context) (*layerFile, error) { return f.copyUp(ctx, wholeFile) }

// Readlink implements vfs.Symlink.
func (s *symlink) Readlink(ctx context.Context) (string, error) {
	return s.real.Load().inode.(vfs.Symlink).Readlink(ctx)
}

// Open implements vfs.Regular. Opening for writing copies the file up, whether or not
// anything is written.
func (r *regular) Open(ctx context.Context, flags int) (vfs.Handle, error) {
	mode := uint32(unix.R_OK)
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		mode |= unix.W_OK
		limit := int64(wholeFile)
		if flags&unix.O_TRUNC != 0 {
			limit = 0
		}
		if _, err := r.copyUp(ctx, limit); err != nil {
			return nil, err
		}
	}
	h := &handle{file: r, flags: flags, access: mode}
	if _, err := h.follow(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// fileOf returns the inode, pinned, of a file that was found as name in d. It takes over f.
//
// Preconditions:
//   - d.mu is locked.
func (fs *FS) fileOf(ctx context.Context, d *dir, name string, f *layerFile) (unionInode, error) {
	if !f.layer.isUpper() && f.nlink > 1 {
		return fs.hardlinkOf(ctx, f)
	}
	common := file{parent: d, name: name}
	k := f.key()
	if f.layer.isUpper() {
		common.parent, common.name = nil, ""
		o, ok, err := fs.originIn(ctx, d, f)
		if err == nil && ok {
			k = o
			err = common.loadLinkCount(ctx, f)
		}
		if err != nil {
			f.path.Put()
			return nil, err
		}
	}
	return fs.fileInode(ctx, k, f, &common)
}

// originIn returns the key of the lower file that f, found in d, is a copy of.
// Only impure directories have such files.
func (fs *FS) originIn(ctx context.Context, d *dir, f *layerFile) (key, bool, error) {
	if !d.impure.Load() {
		return key{}, false, nil
	}
	return fs.readOrigin(ctx, f)
}

// fileInode returns the inode of f, pinned: the one in the table, or a new one
// with what init says. It takes over f.
func (fs *FS) fileInode(ctx context.Context, k key, f *layerFile, init *file) (unionInode, error) {
	i, isNew, err := fs.table.get(k, f, func() unionInode {
		var i unionFile
		switch f.inode.(type) {
		case vfs.Regular:
			i = new(regular)
		case vfs.Symlink:
			i = new(symlink)
		default:
			i = new(special)
		}
		c := i.common()
		c.parent, c.name, c.hardlink, c.absolute = init.parent, init.name, init.hardlink, init.absolute
		c.extra.Store(init.extra.Load())
		fs.initInode(i, k, f)
		return i
	})
	if !isNew {
		f.path.Put()
	}
	if err != nil {
		_ = vfs.UnpinInode(ctx, i)
		return nil, err
	}
	return i, nil
}

// initInode fills in what all types share. i takes over f.
func (fs *FS) initInode(i unionInode, k key, f *layerFile) {
	b := i.base()
	b.fs, b.key, b.ino, b.xattr.of = fs, k, fs.inoOf(k), i
	b.real.Store(f)
}
