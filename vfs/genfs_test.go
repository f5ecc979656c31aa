package vfs_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/vfs"
)

// genFS is a file system without end: names that start with "d" are directories, with "f" empty files.
// It has an inode table, as drivers with storage have, and counts what is in it.
type genFS struct {
	*ramfs.FS
	root *genDir

	mu    sync.Mutex
	table map[string]vfs.Inode

	evicted atomic.Int64
	stale   atomic.Bool            // what Revalidate answers
	onLook  func(path string)      // called by Lookup
	checked atomic.Int64           // calls of Revalidate
	hide    atomic.Pointer[string] // path that Lookup does not find
}

type genNode struct {
	vfs.InodeState
	fs   *genFS
	path string
	mode uint32
	gone atomic.Bool
}

type genDir struct{ genNode }
type genFile struct{ genNode }

func newGenFS(live bool) *genFS {
	fs := &genFS{FS: ramfs.New(ramfs.Config{}), table: map[string]vfs.Inode{}}
	fs.root = &genDir{genNode{fs: fs, mode: unix.S_IFDIR | 0o755}}
	fs.root.Pin()
	if live {
		fs.root.path = "live"
	}
	return fs
}

func (fs *genFS) Root() vfs.Dir {
	if fs.root.path == "live" {
		return &liveRoot{fs.root}
	}
	return fs.root
}

// liveRoot is a root whose entries are revalidated.
type liveRoot struct{ *genDir }

func (r *liveRoot) Revalidate(context.Context, string, vfs.Inode) (vfs.Attr, bool) {
	r.fs.checked.Add(1)
	return vfs.Attr{}, !r.fs.stale.Load()
}

func (r *liveRoot) RevalidatePath(context.Context, string, vfs.Dir) bool { return false }

func (fs *genFS) cached() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.table)
}

func (n *genNode) Getattr(context.Context, uint32) (vfs.Attr, error) {
	return vfs.Attr{Mode: n.mode, Nlink: 1, Ino: 1}, nil
}
func (n *genNode) Setattr(context.Context, vfs.SetAttr) error { return nil }
func (n *genNode) Xattrs() vfs.Xattrs                         { return nil }

func (n *genNode) Evict(context.Context) error {
	if n.gone.Swap(true) {
		panic("evicted twice")
	}
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	n.fs.evicted.Add(1)
	if i, ok := n.fs.table[n.path]; ok && i.(interface{ node() *genNode }).node() == n {
		delete(n.fs.table, n.path)
	}
	return nil
}

func (n *genNode) node() *genNode { return n }

func (d *genDir) Lookup(_ context.Context, name string) (vfs.Inode, error) {
	if d.gone.Load() {
		panic("lookup in an evicted directory")
	}
	path := d.path + "/" + name
	if d.fs.onLook != nil {
		d.fs.onLook(path)
	}
	if hidden := d.fs.hide.Load(); hidden != nil && *hidden == path {
		return nil, unix.ENOENT
	}
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if i, ok := d.fs.table[path]; ok && i.(interface{ TryPin() bool }).TryPin() {
		return i, nil
	}
	var i vfs.Inode
	switch {
	case strings.HasPrefix(name, "d"):
		dir := &genDir{}
		dir.fs, dir.path, dir.mode = d.fs, path, unix.S_IFDIR|0o755
		dir.Pin()
		i = dir
	case strings.HasPrefix(name, "f"):
		f := &genFile{}
		f.fs, f.path, f.mode = d.fs, path, unix.S_IFREG|0o644
		f.Pin()
		i = f
	default:
		return nil, unix.ENOENT
	}
	d.fs.table[path] = i
	return i, nil
}

func (d *genDir) Create(context.Context, string, vfs.CreateAttr) (vfs.Regular, error) {
	return nil, unix.EPERM
}
func (d *genDir) Mkdir(context.Context, string, vfs.CreateAttr) (vfs.Dir, error) {
	return nil, unix.EPERM
}
func (d *genDir) Symlink(context.Context, string, string, vfs.CreateAttr) (vfs.Symlink, error) {
	return nil, unix.EPERM
}
func (d *genDir) Mknod(context.Context, string, uint64, vfs.CreateAttr) (vfs.Inode, error) {
	return nil, unix.EPERM
}
func (d *genDir) Tmpfile(context.Context, vfs.CreateAttr) (vfs.Regular, error) {
	return nil, unix.EOPNOTSUPP
}
func (d *genDir) Link(context.Context, string, vfs.Inode) error     { return unix.EPERM }
func (d *genDir) Unlink(context.Context, string, vfs.Inode) error   { return unix.EPERM }
func (d *genDir) Rmdir(context.Context, string, vfs.Dir) error      { return unix.EPERM }
func (d *genDir) Rename(context.Context, vfs.Rename) error          { return unix.EPERM }
func (d *genDir) Whiteout(context.Context, string, vfs.Inode) error { return unix.EINVAL }
func (d *genDir) OpenDir(context.Context) (vfs.DirHandle, error)    { return nil, unix.EIO }

func (f *genFile) Open(context.Context, int) (vfs.Handle, error) { return nil, unix.EIO }
