package vfs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// superblock is one mounted file system. It corresponds to struct super_block.
type superblock struct {
	fs    FileSystem
	root  *Dentry
	dev   uint64
	cache *dcache
	now   func() time.Time
	log   *slog.Logger

	renameMu sync.Mutex // renames between directories

	// teardown is held for writing while the dentries are dropped.
	teardown sync.RWMutex
}

func newSuperblock(fs FileSystem, dev uint64, cache *dcache, now func() time.Time, log *slog.Logger) *superblock {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sb := &superblock{fs: fs, dev: dev, cache: cache, now: now, log: log}
	root := fs.Root()
	root.state().Pin()
	sb.root = newDentry(sb, nil, "", root, unix.S_IFDIR)
	return sb
}

// time returns the time for timestamps.
func (sb *superblock) time() unix.Timespec {
	return unix.NsecToTimespec(sb.now().UnixNano())
}

// evicted reports the failure of an eviction, which no call can return.
func (sb *superblock) evicted(err error) {
	if err != nil {
		sb.log.Error("vfs: evict inode", "error", err)
	}
}

// close drops all dentries and closes the file system. If that fails in SafeClose
// the file system stays usable.
//
// Preconditions: nothing has a reference on a dentry, nor can get one.
func (sb *superblock) close(ctx context.Context, mode CloseMode) error {
	sb.teardown.Lock()
	defer sb.teardown.Unlock()
	sb.dropChildren(sb.root)
	if err := sb.fs.Close(ctx, mode); err != nil && mode == SafeClose {
		return err
	} else if err != nil {
		sb.log.Error("vfs: close file system", "error", err)
	}
	sb.root.refs.Store(deadRefs)
	sb.evicted(UnpinInode(ctx, sb.root.inode))
	return nil
}

func (sb *superblock) dropChildren(d *Dentry) {
	for _, v := range d.dir.children.Range {
		c := v.(*Dentry)
		if c.isDir() {
			sb.dropChildren(c)
		}
		d.dir.mu.Lock()
		killed := c.refs.CompareAndSwap(0, deadRefs)
		if killed {
			d.dir.children.CompareAndDelete(c.loc.Load().name, c)
			c.hashed.Store(false)
		}
		d.dir.mu.Unlock()
		if killed {
			c.finish().release()
		}
	}
}
