// Package ramfs is a file system in memory, the counterpart of Linux's tmpfs. It
// keeps everything that the driver interfaces know, and is the reference for
// the conformance suite and the default root.
//
// # Locks
//
//	inode.mu      attributes and extended attributes
//	file.mu       pages; before inode.mu
//
// The entries of a directory have no lock of their own: the VFS locks directories.
package ramfs

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Config makes a file system.
type Config struct {
	Now      func() time.Time // nil: time.Now
	RootMode uint32           // permission bits of the root; 0: 0755
	// MaxBytes limits the content of files, in bytes, of which each page of 4096 counts whole; holes are free. 0: unlimited.
	MaxBytes int64
	// MaxInodes limits files, the root among them, and names beside the first of a file. 0: unlimited.
	MaxInodes int64
}

// FS is a file system in memory. It corresponds to a superblock of tmpfs.
type FS struct {
	root    *dir
	now     func() time.Time
	options string
	pages   quota // of file content
	space   quota // in bytes, of inodes and what goes with them
	lastIno atomic.Uint64
}

// New returns an empty file system.
func New(cfg Config) *FS {
	if cfg.RootMode == 0 {
		cfg.RootMode = 0o755
	}
	return newFS(cfg)
}

// newFS is New for which a RootMode of 0 is one.
func newFS(cfg Config) *FS {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	fs := &FS{now: cfg.Now}
	if cfg.MaxBytes > 0 {
		fs.pages.max = (cfg.MaxBytes-1)/pageSize + 1
	}
	if cfg.MaxInodes > 0 {
		fs.space.max = min(cfg.MaxInodes, maxInodes) * inodeSpace
	}
	root, err := newDir(fs, vfs.CreateAttr{Mode: cfg.RootMode & 0o7777, Time: fs.time()})
	if err != nil {
		panic("ramfs: no space for the root of an empty file system")
	}
	fs.root = root
	fs.root.Pin()
	return fs
}

// Root returns the root directory.
func (fs *FS) Root() vfs.Dir { return fs.root }

// Statfs describes the file system as tmpfs does.
func (fs *FS) Statfs(ctx context.Context) (unix.Statfs_t, error) {
	st := unix.Statfs_t{
		Type:    unix.TMPFS_MAGIC,
		Bsize:   pageSize,
		Frsize:  pageSize,
		Namelen: unix.NAME_MAX,
	}
	if fs.pages.max > 0 {
		st.Blocks = uint64(fs.pages.max)
		st.Bfree = uint64(fs.pages.free())
		st.Bavail = st.Bfree
	}
	if fs.space.max > 0 {
		st.Files = uint64(fs.space.max / inodeSpace)
		st.Ffree = uint64(fs.space.free() / inodeSpace)
	}
	return st, nil
}

// Sync does nothing: there is no storage below.
func (fs *FS) Sync(ctx context.Context) error { return nil }

// Options returns the limits and the mode of a mount, as far as they are not the default.
func (fs *FS) Options() string { return fs.options }

// Close leaves everything to the garbage collector.
func (fs *FS) Close(ctx context.Context, mode vfs.CloseMode) error { return nil }

func (fs *FS) time() unix.Timespec { return unix.NsecToTimespec(fs.now().UnixNano()) }
