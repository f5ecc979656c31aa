package sefs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
	"cloister/vfs"
)

// Magic is the f_type that statfs(2) reports: "SEFS".
const Magic = 0x53454653

// maxBlocks is the size of the largest volume in 4096-byte blocks: 16 TiB.
const maxBlocks = 1 << 32

// FS is one open image. It corresponds to struct super_block.
type FS struct {
	vol      *volume.Volume
	readOnly bool
	options  string
	log      *slog.Logger
	now      func() time.Time
	hash     func(name string) uint64 // keyed, 64 bits

	root  *dir
	table table
	wb    writeback

	inoMu    sync.Mutex
	nextIno  uint64 // next number to give out
	inoLimit uint64 // numbers below are reserved in the NEXTINO item

	made    *undoStore  // of an image that was made by this mount; else nil
	failed  atomic.Bool // a change broke off half-way; nothing may be committed any more
	onClose func()      // tells the owner that the volume is released
	closed  sync.Once   // onClose has run
}

var _ vfs.FileSystem = (*FS)(nil)

// Root returns the root directory, pinned for the life of fs.
func (fs *FS) Root() vfs.Dir { return fs.root }

// Options returns the mount options, without the key.
func (fs *FS) Options() string { return fs.options }

// Statfs does statfs(2). The size is that of the largest volume: how much room
// the host really has is not the host's to say.
func (fs *FS) Statfs(ctx context.Context) (unix.Statfs_t, error) {
	st := fs.vol.Stats()
	used := min(st.BlocksUsed, maxBlocks)
	uuid := fs.vol.UUID()
	fs.inoMu.Lock()
	freeInodes, inodes := uint64(format.MaxIno-fs.nextIno), uint64(format.MaxIno)
	fs.inoMu.Unlock()
	blocks := uint64(maxBlocks)
	if fs.Integrity() { // it is full, since nothing can be added
		blocks, freeInodes, inodes = used, 0, inodes-freeInodes
	}
	return unix.Statfs_t{
		Type:    Magic,
		Bsize:   format.BlockSize,
		Frsize:  format.BlockSize,
		Blocks:  blocks,
		Bfree:   blocks - used,
		Bavail:  blocks - used,
		Files:   inodes,
		Ffree:   freeInodes,
		Namelen: format.MaxName,
		Fsid: unix.Fsid{Val: [2]int32{
			int32(binary.LittleEndian.Uint32(uuid[0:])),
			int32(binary.LittleEndian.Uint32(uuid[4:])),
		}},
	}, nil
}

// Sync makes all changes durable, as syncfs(2).
func (fs *FS) Sync(ctx context.Context) error {
	if fs.readOnly {
		return nil
	}
	return fs.vol.Commit(ctx)
}

// Close writes everything back and releases the image. If that fails the image
// stays open, unless mode is ForceClose: then what could not be written is lost. With
// AbortClose nothing is written, and an image that was made to be mounted is removed again.
func (fs *FS) Close(ctx context.Context, mode vfs.CloseMode) error {
	if mode == vfs.AbortClose {
		fs.Abandon()
		if fs.made != nil {
			fs.made.undo()
		}
		return nil
	}
	if mode == vfs.ForceClose {
		ctx = context.WithoutCancel(ctx) // what follows a failure cannot be taken back
	} else if err := fs.Sync(ctx); err != nil {
		// A volume that an error has left read-only would close all the same.
		return err
	}
	err := fs.vol.Close(ctx)
	if err != nil {
		if mode != vfs.ForceClose {
			return err
		}
		fs.vol.Abandon()
	}
	fs.closed.Do(fs.onClose)
	return err
}

// Abandon drops the image as if the process had been killed: nothing more is
// written, and the lock is released. It serves tests of crash recovery.
func (fs *FS) Abandon() {
	fs.vol.Abandon()
	fs.closed.Do(fs.onClose)
}

// mountConfig is what newFS needs besides an open volume.
type mountConfig struct {
	readOnly bool
	options  string
	log      *slog.Logger
	now      func() time.Time
	onClose  func()
}

// rootAttr are the attributes of a new root directory.
type rootAttr struct {
	mode, uid, gid uint32
}

// newFS makes a file system before its volume is open, because the volume
// wants the flush function; start completes it.
func newFS(cfg mountConfig) *FS {
	fs := &FS{
		readOnly: cfg.readOnly,
		options:  cfg.options,
		log:      cfg.log,
		now:      cfg.now,
		onClose:  cfg.onClose,
	}
	if fs.log == nil {
		fs.log = slog.New(slog.DiscardHandler)
	}
	if fs.now == nil {
		fs.now = time.Now
	}
	if fs.onClose == nil {
		fs.onClose = func() {}
	}
	fs.table.init()
	return fs
}

// start reads the root directory of the open volume, makes it if the volume is
// new, and frees the inodes that lost their last name before a crash.
func (fs *FS) start(ctx context.Context, vol *volume.Volume, attr rootAttr) error {
	fs.vol, fs.hash = vol, vol.NameHash
	val, err := vol.Get(nextInoKey, nil)
	switch {
	case err == nil:
		if fs.nextIno, err = format.DecodeNextIno(val); err != nil {
			return err
		}
		fs.inoLimit = fs.nextIno
	case !errors.Is(err, unix.ENOENT):
		return fmt.Errorf("sefs: read the next inode number: %w", err)
	case fs.readOnly:
		return fmt.Errorf("sefs: image has no root directory: %w", unix.EUCLEAN)
	default:
		// The image was made and nothing was ever committed to it.
		if err := fs.makeRoot(ctx, attr); err != nil {
			return err
		}
	}
	root, err := fs.inode(format.RootIno)
	if err != nil {
		return err
	}
	d, ok := root.(*dir)
	if !ok {
		return fmt.Errorf("sefs: root is not a directory: %w", unix.EUCLEAN)
	}
	fs.root = d
	if fs.readOnly {
		return nil
	}
	return fs.reclaim(ctx)
}

// makeRoot writes the root directory of a new volume.
func (fs *FS) makeRoot(ctx context.Context, attr rootAttr) error {
	fs.nextIno, fs.inoLimit = format.FirstIno, format.FirstIno
	now := fs.timestamp()
	root := format.Inode{
		Mode: unix.S_IFDIR | attr.mode&0o7777, UID: attr.uid, GID: attr.gid,
		Nlink: 2, Parent: format.RootIno,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
	}
	o, err := fs.begin(ctx)
	if err != nil {
		return err
	}
	o.put(inodeKey(format.RootIno), root.Append(nil))
	o.put(nextInoKey, format.AppendNextIno(nil, format.FirstIno))
	if err := o.end(); err != nil {
		return err
	}
	return fs.vol.Commit(ctx)
}

// timestamp is the current time as inodes have it.
func (fs *FS) timestamp() unix.Timespec {
	return unix.NsecToTimespec(fs.now().UnixNano())
}
