package treecopy

import (
	"context"
	"errors"

	"cloister/fs/sefs"
	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// A VFSTree is a directory of a VFS as sefs.BuildIntegrity reads it.
type VFSTree struct {
	dir  vfs.Path // pinned
	cred *vfs.Cred
	path string // from where reading began
}

var _ sefs.TreeDir = (*VFSTree)(nil)

// NewVFSTree returns the tree below dir, and the attributes of dir itself.
//
// Errors: *TreeError names the place, here and in all methods.
func NewVFSTree(ctx context.Context, cred *vfs.Cred, dir vfs.Path) (*VFSTree, sefs.TreeEntry, error) {
	t := &VFSTree{dir.Get(), cred, "/"}
	e, err := t.attrs(ctx, dir, "", "/")
	if err != nil {
		t.Close()
		return nil, e, err
	}
	return t, e, nil
}

func (t *VFSTree) fail(path string, err error) error { return &TreeError{Path: path, Err: err} }

func (t *VFSTree) attrs(ctx context.Context, p vfs.Path, name, path string) (e sefs.TreeEntry, err error) {
	a, err := vfs.Getattr(ctx, p, unix.STATX_BASIC_STATS)
	if err != nil {
		return e, t.fail(path, err)
	}
	e = sefs.TreeEntry{Name: name, Mode: a.Mode, UID: a.UID, GID: a.GID, Size: a.Size, Mtime: a.Mtime, Rdev: a.Rdev}
	if a.Nlink > 1 {
		e.Link = [2]uint64{0, a.Ino}
	}
	if a.Mode&unix.S_IFMT == unix.S_IFLNK {
		if e.Target, err = vfs.Readlink(ctx, p); err != nil {
			return e, t.fail(path, err)
		}
	}
	return e, nil
}

// Entries implements sefs.TreeDir.
func (t *VFSTree) Entries(ctx context.Context) (entries []sefs.TreeEntry, err error) {
	r := reader{ctx: ctx, cred: t.cred}
	err = r.entries(t.dir, t.path, func(p vfs.Path, name string) error {
		e, err := t.attrs(ctx, p, name, Join(t.path, name))
		entries = append(entries, e)
		return err
	})
	return entries, err
}

// Xattrs implements sefs.TreeDir.
func (t *VFSTree) Xattrs(ctx context.Context) (map[string][]byte, error) {
	return t.attributes(ctx, t.dir, t.path)
}

func (t *VFSTree) attributes(ctx context.Context, p vfs.Path, path string) (map[string][]byte, error) {
	xattrs, err := treeXattrs(ctx, t.cred, p)
	if err != nil {
		return nil, t.fail(path, err)
	}
	return xattrs, nil
}

func (t *VFSTree) lookup(ctx context.Context, name string) (vfs.Path, string, error) {
	path := Join(t.path, name)
	p, err := vfs.Lookup(ctx, t.cred, t.dir, name)
	if err != nil {
		return p, path, t.fail(path, err)
	}
	return p, path, nil
}

// Dir implements sefs.TreeDir.
func (t *VFSTree) Dir(ctx context.Context, name string) (sefs.TreeDir, error) {
	p, path, err := t.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	if !p.IsDir() {
		p.Put()
		return nil, t.fail(path, unix.ENOTDIR)
	}
	return &VFSTree{p, t.cred, path}, nil
}

// Close implements sefs.TreeDir.
func (t *VFSTree) Close() error {
	t.dir.Put()
	return nil
}

// Open implements sefs.TreeDir.
func (t *VFSTree) Open(ctx context.Context, name string) (sefs.TreeFile, error) {
	p, path, err := t.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	r := reader{ctx: ctx, cred: t.cred}
	f, err := r.open(p, path)
	if err != nil {
		p.Put()
		return nil, err
	}
	return &vfsTreeFile{t, p, f, path}, nil
}

// vfsTreeFile is an open regular file of a VFSTree.
type vfsTreeFile struct {
	tree *VFSTree
	at   vfs.Path // pinned
	file *vfs.File
	path string
}

// ReadAt implements sefs.TreeFile.
func (f *vfsTreeFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(ctx, p, off)
	if err != nil {
		return n, f.tree.fail(f.path, err)
	}
	return n, nil
}

// NextData implements sefs.TreeFile.
func (f *vfsTreeFile) NextData(ctx context.Context, off int64) (int64, error) {
	data, err := f.file.Seek(ctx, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // none up to the end
		data, err = f.file.Seek(ctx, 0, unix.SEEK_END)
	}
	if err != nil {
		return off, f.tree.fail(f.path, err)
	}
	return max(off, data), nil
}

// Xattrs implements sefs.TreeFile.
func (f *vfsTreeFile) Xattrs(ctx context.Context) (map[string][]byte, error) {
	return f.tree.attributes(ctx, f.at, f.path)
}

// Close implements sefs.TreeFile.
func (f *vfsTreeFile) Close() error {
	err := f.file.Close(context.Background()) // it was only read
	f.at.Put()
	return err
}
