package unionfs_test

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// faulty is a driver over another one that counts calls and can let one fail.
// The call fails before it does anything.
type faulty struct {
	vfs.FileSystem
	root *faultyDir

	left    atomic.Int64 // calls until the one that fails; 0 and below: none does
	calls   atomic.Int64
	written atomic.Int64 // bytes written to files

	closeErr error // what Close returns
	closed   bool

	mu     sync.Mutex
	inodes map[vfs.Inode]vfs.Inode // by the inode below
}

func newFaulty(below vfs.FileSystem) *faulty {
	f := &faulty{FileSystem: below, inodes: make(map[vfs.Inode]vfs.Inode)}
	f.root = &faultyDir{faultyInode: faultyInode{fs: f, below: below.Root()}}
	f.root.Pin()
	f.inodes[below.Root()] = f.root
	return f
}

func (f *faulty) Root() vfs.Dir { return f.root }

func (f *faulty) Close(_ context.Context, mode vfs.CloseMode) error {
	f.closed = f.closeErr == nil || mode == vfs.ForceClose
	return f.closeErr
}

func (f *faulty) Sync(ctx context.Context) error {
	if err := f.call(); err != nil {
		return err
	}
	return f.FileSystem.Sync(ctx)
}

// call counts a call and reports whether it fails.
func (f *faulty) call() error {
	f.calls.Add(1)
	if f.left.Add(-1) == 0 {
		return unix.EIO
	}
	return nil
}

// wrap returns the inode for one below that has been pinned for it, pinned.
func (f *faulty) wrap(ctx context.Context, below vfs.Inode) vfs.Inode {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, ok := f.inodes[below]; ok && i.(interface{ TryPin() bool }).TryPin() {
		defer vfs.UnpinInode(ctx, below)
		return i
	}
	var i vfs.Inode
	switch below.(type) {
	case vfs.Dir:
		i = &faultyDir{faultyInode{fs: f, below: below}}
	case vfs.Regular:
		i = &faultyRegular{faultyInode{fs: f, below: below}}
	case vfs.Symlink:
		i = &faultySymlink{faultyInode{fs: f, below: below}}
	default:
		i = &faultyInode{fs: f, below: below}
	}
	i.(interface{ Pin() }).Pin()
	f.inodes[below] = i
	return i
}

type faultyInode struct {
	vfs.InodeState
	fs    *faulty
	below vfs.Inode
}

type (
	faultyDir     struct{ faultyInode }
	faultyRegular struct{ faultyInode }
	faultySymlink struct{ faultyInode }
)

func (i *faultyInode) inner() vfs.Inode { return i.below }

func inner(i vfs.Inode) vfs.Inode {
	if i == nil {
		return nil
	}
	return i.(interface{ inner() vfs.Inode }).inner()
}

func (i *faultyInode) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) {
	if err := i.fs.call(); err != nil {
		return vfs.Attr{}, err
	}
	return i.below.Getattr(ctx, mask)
}

func (i *faultyInode) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if err := i.fs.call(); err != nil {
		return err
	}
	return i.below.Setattr(ctx, sa)
}

func (i *faultyInode) Xattrs() vfs.Xattrs {
	x := i.below.Xattrs()
	if x == nil {
		return nil
	}
	return &faultyXattrs{i.fs, x}
}

func (i *faultyInode) Evict(ctx context.Context) error {
	i.fs.mu.Lock()
	if same, ok := i.fs.inodes[i.below].(interface{ inner() vfs.Inode }); ok && same.inner() == i.below {
		delete(i.fs.inodes, i.below)
	}
	i.fs.mu.Unlock()
	vfs.UnpinInode(ctx, i.below)
	return nil
}

type faultyXattrs struct {
	fs *faulty
	x  vfs.Xattrs
}

func (x *faultyXattrs) Getxattr(ctx context.Context, name string) ([]byte, error) {
	if err := x.fs.call(); err != nil {
		return nil, err
	}
	return x.x.Getxattr(ctx, name)
}

func (x *faultyXattrs) Setxattr(ctx context.Context, name string, value []byte, flags int) error {
	if err := x.fs.call(); err != nil {
		return err
	}
	return x.x.Setxattr(ctx, name, value, flags)
}

func (x *faultyXattrs) Listxattr(ctx context.Context) ([]string, error) {
	if err := x.fs.call(); err != nil {
		return nil, err
	}
	return x.x.Listxattr(ctx)
}

func (x *faultyXattrs) Removexattr(ctx context.Context, name string) error {
	if err := x.fs.call(); err != nil {
		return err
	}
	return x.x.Removexattr(ctx, name)
}

func (l *faultySymlink) Readlink(ctx context.Context) (string, error) {
	if err := l.fs.call(); err != nil {
		return "", err
	}
	return l.below.(vfs.Symlink).Readlink(ctx)
}

func (r *faultyRegular) Open(ctx context.Context, flags int) (vfs.Handle, error) {
	if err := r.fs.call(); err != nil {
		return nil, err
	}
	h, err := r.below.(vfs.Regular).Open(ctx, flags)
	return &faultyHandle{h, r.fs}, err
}

type faultyHandle struct {
	vfs.Handle
	fs *faulty
}

func (h *faultyHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.fs.call(); err != nil {
		return 0, err
	}
	return h.Handle.ReadAt(ctx, p, off)
}

func (h *faultyHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.fs.call(); err != nil {
		return 0, err
	}
	n, err := h.Handle.WriteAt(ctx, p, off)
	h.fs.written.Add(int64(n))
	return n, err
}

func (h *faultyHandle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	if err := h.fs.call(); err != nil {
		return 0, err
	}
	return h.Handle.Seek(ctx, off, whence)
}

func (d *faultyDir) dir() vfs.Dir { return d.below.(vfs.Dir) }

func (d *faultyDir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	i, err := d.dir().Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return d.fs.wrap(ctx, i), nil
}

func (d *faultyDir) Create(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Regular, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	i, err := d.dir().Create(ctx, name, a)
	if err != nil {
		return nil, err
	}
	return d.fs.wrap(ctx, i).(vfs.Regular), nil
}

func (d *faultyDir) Mkdir(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Dir, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	i, err := d.dir().Mkdir(ctx, name, a)
	if err != nil {
		return nil, err
	}
	return d.fs.wrap(ctx, i).(vfs.Dir), nil
}

func (d *faultyDir) Symlink(ctx context.Context, name, target string, a vfs.CreateAttr) (vfs.Symlink, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	i, err := d.dir().Symlink(ctx, name, target, a)
	if err != nil {
		return nil, err
	}
	return d.fs.wrap(ctx, i).(vfs.Symlink), nil
}

func (d *faultyDir) Mknod(ctx context.Context, name string, rdev uint64, a vfs.CreateAttr) (vfs.Inode, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	i, err := d.dir().Mknod(ctx, name, rdev, a)
	if err != nil {
		return nil, err
	}
	return d.fs.wrap(ctx, i), nil
}

func (d *faultyDir) Tmpfile(ctx context.Context, a vfs.CreateAttr) (vfs.Regular, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	i, err := d.dir().Tmpfile(ctx, a)
	if err != nil {
		return nil, err
	}
	return d.fs.wrap(ctx, i).(vfs.Regular), nil
}

func (d *faultyDir) Link(ctx context.Context, name string, target vfs.Inode) error {
	if err := d.fs.call(); err != nil {
		return err
	}
	return d.dir().Link(ctx, name, inner(target))
}

func (d *faultyDir) Unlink(ctx context.Context, name string, child vfs.Inode) error {
	if err := d.fs.call(); err != nil {
		return err
	}
	return d.dir().Unlink(ctx, name, inner(child))
}

func (d *faultyDir) Rmdir(ctx context.Context, name string, child vfs.Dir) error {
	if err := d.fs.call(); err != nil {
		return err
	}
	return d.dir().Rmdir(ctx, name, inner(child).(vfs.Dir))
}

func (d *faultyDir) Rename(ctx context.Context, r vfs.Rename) error {
	if err := d.fs.call(); err != nil {
		return err
	}
	r.Child, r.NewDir, r.Target = inner(r.Child), inner(r.NewDir).(vfs.Dir), inner(r.Target)
	return d.dir().Rename(ctx, r)
}

func (d *faultyDir) Whiteout(ctx context.Context, name string, child vfs.Inode) error {
	if err := d.fs.call(); err != nil {
		return err
	}
	return d.dir().Whiteout(ctx, name, inner(child))
}

func (d *faultyDir) OpenDir(ctx context.Context) (vfs.DirHandle, error) {
	if err := d.fs.call(); err != nil {
		return nil, err
	}
	return d.dir().OpenDir(ctx)
}
