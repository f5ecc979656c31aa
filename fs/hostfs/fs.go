package hostfs

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// FS is one mounted directory. It corresponds to struct super_block.
type FS struct {
	gate    *gate
	options string
	dirSync bool // names are made durable at once
	root    *dir
	table   table
	cache   cache

	mu       sync.Mutex
	open     map[*handle]struct{} // of files open for writing
	unsynced map[*dir]struct{}    // whose names have changed, with dirSync
	holding  map[*inode]struct{}  // those with a descriptor in inode.held
}

var _ vfs.FileSystem = (*FS)(nil)

// Root returns the root directory, pinned for the life of fs.
func (fs *FS) Root() vfs.Dir { return fs.root }

// Options returns the mount options.
func (fs *FS) Options() string { return fs.options }

// Statfs does statfs(2). The numbers are the host's, if they make sense; no decision rests on them.
func (fs *FS) Statfs(ctx context.Context) (unix.Statfs_t, error) {
	d, err := fs.root.acquire()
	if err != nil {
		return unix.Statfs_t{}, err
	}
	defer d.put()
	return fs.gate.statfs(d.fd)
}

// Sync asks the host to make the files durable that are open for writing, and with MS_DIRSYNC the
// names that have changed. What was closed before is the host's affair.
func (fs *FS) Sync(ctx context.Context) error {
	var first error
	files, dirs := fs.takeUnsynced()
	for _, d := range files {
		err := fs.gate.fsync(d.fd, false)
		if perr := d.put(); err == nil {
			err = perr
		}
		first = cmp.Or(first, err)
	}
	for _, d := range dirs {
		first = cmp.Or(first, d.sync())
	}
	return first
}

// takeUnsynced returns what Sync has to do. The caller puts the descriptors.
func (fs *FS) takeUnsynced() (files []*desc, dirs []*dir) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for h := range fs.open {
		if h.desc.get() {
			files = append(files, h.desc)
		}
	}
	dirs = slices.Collect(maps.Keys(fs.unsynced))
	clear(fs.unsynced)
	return files, dirs
}

// Close closes the descriptors. There is nothing to flush.
func (fs *FS) Close(ctx context.Context, mode vfs.CloseMode) error {
	fs.cache.clear()
	fs.mu.Lock()
	holding := fs.holding
	fs.holding = nil
	fs.mu.Unlock()
	for i := range holding {
		if d := i.held.Swap(nil); d != nil {
			_ = d.put() // refers to a file, wrote nothing
		}
	}
	return nil
}

// hold makes i keep d until it is evicted, unless it has a descriptor to keep already.
func (fs *FS) hold(i *inode, d *desc) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.holding == nil || !i.held.CompareAndSwap(nil, d) {
		return false
	}
	fs.holding[i] = struct{}{}
	return true
}

// letGo returns the descriptor that i has kept, nil if there is none.
func (fs *FS) letGo(i *inode) *desc {
	if i.held.Load() == nil {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.holding, i)
	return i.held.Swap(nil)
}

// opened calls f, which opens something, a second time if the first fails for lack of
// descriptors, without those that are only kept.
func (fs *FS) opened(f func() (FD, error)) (FD, error) {
	fd, err := f()
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		fs.cache.clear()
		return f()
	}
	return fd, err
}
