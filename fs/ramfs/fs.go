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

// Type is the file-system type "ramfs". It has no options.
type Type struct{}

// Name returns "ramfs".
func (Type) Name() string { return "ramfs" }

// Flags returns 0.
func (Type) Flags() uintptr { return 0 }

// Mount makes an empty file system.
//
// Errors: EINVAL for any option.
func (Type) Mount(ctx context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	for _, c := range req.Data {
		if c != ',' {
			return nil, unix.EINVAL
		}
	}
	return New(Config{RootMode: 0o1777}), nil
}

// Config makes a file system.
type Config struct {
	Now      func() time.Time // nil: time.Now
	RootMode uint32           // permission bits of the root; 0: 0755
	MaxBytes int64            // of file content, in bytes; 0: unlimited
}

// FS is a file system in memory. It corresponds to a superblock of tmpfs.
type FS struct {
	root     *dir
	now      func() time.Time
	maxPages int64 // 0: unlimited
	pages    atomic.Int64
	inodes   atomic.Int64
	lastIno  atomic.Uint64
}

// New returns an empty file system.
func New(cfg Config) *FS {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.RootMode == 0 {
		cfg.RootMode = 0o755
	}
	fs := &FS{now: cfg.Now, maxPages: (cfg.MaxBytes + pageSize - 1) / pageSize}
	fs.root = newDir(fs, vfs.CreateAttr{Mode: cfg.RootMode & 0o7777, Time: fs.time()})
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
	if fs.maxPages > 0 {
		st.Blocks = uint64(fs.maxPages)
		st.Bfree = uint64(max(0, fs.maxPages-fs.pages.Load()))
		st.Bavail = st.Bfree
	}
	return st, nil
}

// Sync does nothing: there is no storage below.
func (fs *FS) Sync(ctx context.Context) error { return nil }

// Options returns "".
func (fs *FS) Options() string { return "" }

// Close leaves everything to the garbage collector.
func (fs *FS) Close(ctx context.Context, mode vfs.CloseMode) error { return nil }

func (fs *FS) time() unix.Timespec { return unix.NsecToTimespec(fs.now().UnixNano()) }

// reserve takes n pages.
//
// Errors: ENOSPC.
func (fs *FS) reserve(n int64) error {
	if fs.pages.Add(n) > fs.maxPages && fs.maxPages > 0 {
		fs.pages.Add(-n)
		return unix.ENOSPC
	}
	return nil
}
