package sefs

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// emptyFS is what an empty directory of the host shows when it is mounted for
// reading: a read-only root directory. The host is left alone.
type emptyFS struct {
	root    emptyDir
	options string
}

var _ vfs.FileSystem = (*emptyFS)(nil)

func newEmpty(now func() time.Time, options string) *emptyFS {
	if now == nil {
		now = time.Now
	}
	t := unix.NsecToTimespec(now().UnixNano())
	fs := &emptyFS{options: options}
	fs.root.attr = vfs.Attr{
		Mask: attrMask, Mode: unix.S_IFDIR | 0o755, Nlink: 2, Ino: format.RootIno, Blksize: format.BlockSize,
		Atime: t, Mtime: t, Ctime: t, Btime: t,
	}
	fs.root.Pin()
	return fs
}

func (fs *emptyFS) Root() vfs.Dir                                    { return &fs.root }
func (fs *emptyFS) Sync(ctx context.Context) error                   { return nil }
func (fs *emptyFS) Options() string                                  { return fs.options }
func (fs *emptyFS) Close(ctx context.Context, _ vfs.CloseMode) error { return nil }

func (fs *emptyFS) Statfs(ctx context.Context) (unix.Statfs_t, error) {
	return unix.Statfs_t{
		Type: Magic, Bsize: format.BlockSize, Frsize: format.BlockSize, Files: 1, Namelen: format.MaxName,
	}, nil
}

// emptyDir is the root directory of an emptyFS. Every change is EROFS.
type emptyDir struct {
	vfs.InodeState
	attr vfs.Attr
}

var _ vfs.Dir = (*emptyDir)(nil)

func (d *emptyDir) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) { return d.attr, nil }
func (d *emptyDir) Setattr(ctx context.Context, sa vfs.SetAttr) error          { return unix.EROFS }
func (d *emptyDir) Xattrs() vfs.Xattrs                                         { return emptyXattrs{} }
func (d *emptyDir) Evict(ctx context.Context) error                            { return nil }

func (d *emptyDir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	return nil, unix.ENOENT
}

func (d *emptyDir) Create(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Regular, error) {
	return nil, unix.EROFS
}

func (d *emptyDir) Mkdir(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Dir, error) {
	return nil, unix.EROFS
}

func (d *emptyDir) Symlink(ctx context.Context, name, target string, a vfs.CreateAttr) (vfs.Symlink, error) {
	return nil, unix.EROFS
}

func (d *emptyDir) Mknod(ctx context.Context, name string, rdev uint64, a vfs.CreateAttr) (vfs.Inode, error) {
	return nil, unix.EROFS
}

func (d *emptyDir) Tmpfile(ctx context.Context, a vfs.CreateAttr) (vfs.Regular, error) {
	return nil, unix.EROFS
}

func (d *emptyDir) Link(ctx context.Context, name string, target vfs.Inode) error { return unix.EROFS }

func (d *emptyDir) Unlink(ctx context.Context, name string, child vfs.Inode) error {
	return unix.EROFS
}

func (d *emptyDir) Rmdir(ctx context.Context, name string, child vfs.Dir) error { return unix.EROFS }
func (d *emptyDir) Rename(ctx context.Context, r vfs.Rename) error              { return unix.EROFS }

func (d *emptyDir) Whiteout(ctx context.Context, name string, child vfs.Inode) error {
	return unix.EROFS
}

func (d *emptyDir) OpenDir(ctx context.Context) (vfs.DirHandle, error) { return emptyDirHandle{}, nil }

// emptyDirHandle is the open root directory of an emptyFS.
type emptyDirHandle struct{}

func (emptyDirHandle) ReadDir(ctx context.Context, pos uint64, emit func(vfs.Dirent) bool) error {
	return nil
}
func (emptyDirHandle) Fsync(ctx context.Context, datasync bool) error { return nil }
func (emptyDirHandle) Release(ctx context.Context) error              { return nil }

// emptyXattrs are no extended attributes.
type emptyXattrs struct{}

func (emptyXattrs) Getxattr(ctx context.Context, name string) ([]byte, error) {
	return nil, unix.ENODATA
}

func (emptyXattrs) Setxattr(ctx context.Context, name string, value []byte, flags int) error {
	return unix.EROFS
}
func (emptyXattrs) Listxattr(ctx context.Context) ([]string, error)    { return nil, nil }
func (emptyXattrs) Removexattr(ctx context.Context, name string) error { return unix.EROFS }
