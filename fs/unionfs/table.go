package unionfs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// A key identifies a file of the union: by the layer and the driver's inode
// number of the file that it is or, after a copy-up, was a copy of.
type key struct {
	layer uint16
	ino   uint64
}

// A unionInode is any inode of the union.
type unionInode interface {
	vfs.Inode
	base() *inode
	// copyUpWhole copies the file up unless that has been done, and returns the upper file.
	copyUpWhole(ctx context.Context) (*layerFile, error)
}

// inode is the part that the inodes of all types share. It corresponds to
// struct ovl_inode.
type inode struct {
	vfs.InodeState
	fs    *FS
	key   key
	ino   uint64 // st_ino
	xattr xattrs

	// real is where the file is now: a lower layer, and the upper one from the
	// copy-up on. What it ever pointed to stays pinned until Evict.
	real atomic.Pointer[layerFile]

	copyMu sync.Mutex
	lower  *layerFile // what a copy-up has replaced, for the files that are open on it; guarded by copyMu
}

func (i *inode) base() *inode { return i }

// upper returns the file in the upper layer, or nil if it has not been copied up.
func (i *inode) upper() *layerFile {
	if r := i.real.Load(); r.layer.isUpper() {
		return r
	}
	return nil
}

// setUpper publishes the finished copy in the upper layer.
//
// Preconditions:
//   - copyMu is locked.
//   - The file is not in the upper layer.
func (i *inode) setUpper(up *layerFile) {
	i.lower = i.real.Load()
	i.real.Store(up)
}

func (i *inode) putFiles() {
	i.copyMu.Lock()
	defer i.copyMu.Unlock()
	i.real.Load().path.Put()
	if i.lower != nil {
		i.lower.path.Put()
	}
}

// Xattrs implements vfs.Inode.
func (i *inode) Xattrs() vfs.Xattrs {
	if i.real.Load().inode.Xattrs() == nil {
		return nil
	}
	return &i.xattr
}

// inodeTable holds the inodes in use, so that all names of a file share one.
type inodeTable struct {
	mu sync.Mutex
	m  map[key]unionInode
}

// get returns the inode of k, pinned once more, or puts in the one that create makes.
// found is the file that the caller came upon: if the inode stands for another,
// two files claim one identity, which is what a layer edited behind the union's
// back looks like.
//
// Errors: ESTALE in that case.
func (t *inodeTable) get(k key, found *layerFile, create func() unionInode) (i unionInode, isNew bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.m[k]; ok && i.base().TryPin() {
		if !i.base().real.Load().sameFile(found) {
			return i, false, fmt.Errorf("unionfs: inode %d of layer %d has two copies: %w", k.ino, k.layer, unix.ESTALE)
		}
		return i, false, nil
	}
	i = create()
	i.base().Pin()
	t.m[k] = i
	return i, true, nil
}

// remove forgets i, which is being evicted.
func (t *inodeTable) remove(i unionInode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := i.base().key; t.m[k] == i {
		delete(t.m, k)
	}
}
