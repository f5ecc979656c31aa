package sefs

import (
	"sync"

	"cloister/vfs"
)

// anyInode is an inode of any type of this package.
type anyInode interface {
	vfs.Inode
	base() *inode
}

// table holds the inodes in memory: one value per inode number.
type table struct {
	mu      sync.Mutex
	changed sync.Cond // an inode left the table, or a load ended
	inodes  map[uint64]anyInode
	loading map[uint64]struct{} // being read by some caller of FS.inode
}

func (t *table) init() {
	t.changed.L = &t.mu
	t.inodes = make(map[uint64]anyInode)
	t.loading = make(map[uint64]struct{})
}

// add puts a new inode into the table.
func (t *table) add(x anyInode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inodes[x.base().ino] = x
}

// remove takes an evicted inode out.
func (t *table) remove(ino uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.inodes, ino)
	t.changed.Broadcast()
}

// inode returns the inode with the given number, pinned once. If it is being
// evicted inode waits, because its last attributes may not be in the tree yet.
func (fs *FS) inode(ino uint64) (anyInode, error) {
	t := &fs.table
	t.mu.Lock()
	for {
		if x, ok := t.inodes[ino]; ok {
			if x.base().TryPin() {
				t.mu.Unlock()
				return x, nil
			}
		} else if _, ok := t.loading[ino]; !ok {
			break
		}
		t.changed.Wait()
	}
	t.loading[ino] = struct{}{}
	t.mu.Unlock()

	x, err := fs.load(ino)

	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.loading, ino)
	t.changed.Broadcast()
	if err != nil {
		return nil, err
	}
	x.base().Pin()
	t.inodes[ino] = x
	return x, nil
}
