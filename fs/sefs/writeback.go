package sefs

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/volume"
)

// maxDirty bounds the list of changed inodes.
const maxDirty = 4096

// writeback is the list of inodes whose attributes differ from the tree.
type writeback struct {
	workMu sync.Mutex // writing attributes to the tree
	buf    []byte     // the item being written

	mu   sync.Mutex
	list []*inode
}

// add notes that i changed within o, and writes the list to the tree when it is long.
func (w *writeback) add(o *op, i *inode) {
	if i.dirty.Swap(true) {
		return
	}
	w.mu.Lock()
	w.list = append(w.list, i)
	long := len(w.list) >= maxDirty
	w.mu.Unlock()
	if long {
		w.run(o)
	}
}

// run writes all listed inodes to the tree within o. Those that other ops are
// changing right now are listed again by them, in the same transaction.
func (w *writeback) run(o *op) {
	w.workMu.Lock()
	defer w.workMu.Unlock()
	w.mu.Lock()
	list := w.list
	w.list = nil
	w.mu.Unlock()
	for _, i := range list {
		w.writeLocked(o, i)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.err != nil {
		w.list = append(w.list, list...)
		return
	}
	clear(list)
	if w.list == nil {
		w.list = list[:0]
	}
}

// writeLocked writes the attributes of i to the tree if they changed. An inode
// without a name gets an ORPHAN item, so that a crash does not leak it.
//
// Preconditions:
//   - w.workMu is held.
func (w *writeback) writeLocked(o *op, i *inode) {
	// Cleared before the state is read: a change after this lists i again.
	if o.err != nil || !i.dirty.Swap(false) {
		return
	}
	s := i.snapshot()
	item := s.item()
	w.buf = item.Append(w.buf[:0])
	o.put(inodeKey(i.ino), w.buf)
	switch {
	case s.Nlink == 0 && !i.orphan:
		o.put(orphanKey(i.ino), nil)
	case s.Nlink != 0 && i.orphan:
		o.delete(orphanKey(i.ino))
	}
	if o.err != nil {
		i.dirty.Store(true)
		return
	}
	i.stored, i.orphan = true, s.Nlink == 0
}

// flush is called by the volume before each commit, while no op is open.
func (fs *FS) flush(tx *volume.Tx) error {
	if fs.failed.Load() {
		return fmt.Errorf("sefs: half of a change is pending: %w", unix.EIO)
	}
	o := op{fs: fs, tx: tx}
	fs.wb.run(&o)
	return o.err
}

// Evict implements vfs.Inode: what changed goes to the tree, and an inode
// without a name is freed.
func (i *inode) Evict(ctx context.Context) error {
	defer i.fs.table.remove(i.ino)
	if i.fs.readOnly || i.fs.failed.Load() {
		return nil
	}
	s := i.snapshot()
	if s.Nlink != 0 && !i.dirty.Load() {
		return nil
	}
	// The change was acknowledged long ago; a cancelled caller does not undo it.
	o, err := i.fs.begin(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	w := &i.fs.wb
	w.workMu.Lock()
	if s.Nlink != 0 {
		w.writeLocked(&o, i)
	} else {
		i.dirty.Store(false)
		o.free(i, &s)
	}
	w.workMu.Unlock()
	return o.end()
}

// free removes everything that belongs to i from the tree.
//
// Preconditions:
//   - writeback.workMu is held, and nobody else uses i.
func (o *op) free(i *inode, s *state) {
	if i.data != nil {
		o.data(i.data.Discard(o.tx))
	}
	if s.parent != 0 {
		k := direntKey(i.ino, 0)
		o.deleteRange(k, past(k))
	}
	if s.xattrs != 0 {
		k := xattrKey(i.ino, 0)
		o.deleteRange(k, past(k))
	}
	o.freeSymlink(i.ino, s)
	if i.stored {
		o.delete(inodeKey(i.ino))
	}
	if i.orphan {
		o.delete(orphanKey(i.ino))
	}
}
