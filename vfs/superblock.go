package vfs

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// superblock is one mounted file system. It corresponds to struct super_block.
type superblock struct {
	fs    FileSystem
	root  *Dentry
	dev   uint64
	live  bool // names change behind the VFS; see Revalidator
	cache *dcache
	now   func() time.Time
	log   *slog.Logger

	dentries atomic.Int64 // that are not dead
	renameMu sync.Mutex   // renames between directories

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
	_, sb.live = root.(Revalidator)
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
		sb.log.Error("vfs: evict inode", "error", WithoutPath(err))
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
	sb.dropOrphans()
	if err := sb.fs.Close(ctx, mode); err != nil && mode == SafeClose {
		return err
	} else if err != nil {
		sb.log.Error("vfs: close file system", "error", WithoutPath(err))
	}
	sb.root.refs.Store(deadRefs)
	sb.evicted(UnpinInode(ctx, sb.root.inode))
	return nil
}

func (sb *superblock) dropChildren(d *Dentry) {
	for _, c := range d.dir.children.all() {
		if c.isDir() {
			sb.dropChildren(c)
		}
		if c.refs.CompareAndSwap(0, deadRefs) {
			d.dir.mu.Lock()
			d.dir.children.removeLocked(c)
			c.hashed.Store(false)
			d.dir.mu.Unlock()
			c.finish().release()
		}
	}
}

// dropOrphans drops what is cached below directories that have lost their names behind the VFS.
// The ring of unused dentries leads to all of it.
func (sb *superblock) dropOrphans() {
	const attempts = 100 // users that Namespace.Close reports as leaks never go
	for i := 0; i < attempts && sb.dentries.Load() > 1; i++ {
		for _, d := range sb.cache.take(sb) {
			if d.refs.CompareAndSwap(0, deadRefs) {
				parent := d.parent()
				parent.dir.mu.Lock()
				parent.dir.children.removeLocked(d)
				d.hashed.Store(false)
				parent.dir.mu.Unlock()
				d.finish().release()
			}
		}
		runtime.Gosched() // someone evicting may have taken one, and is about to put it back
	}
}
