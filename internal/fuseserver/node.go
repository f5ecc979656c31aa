package fuseserver

import (
	"sync"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is what the kernel knows by one node id: an inode, reached by one pinned path.
type node struct {
	id      uint64
	path    vfs.Path
	inode   vfs.Inode
	lookups uint64 // guarded by nodeTable.mu
}

// nodeTable maps node ids to inodes. Ids are never used twice. The root has the
// id FUSE_ROOT_ID and is never forgotten.
type nodeTable struct {
	mu      sync.RWMutex
	byID    map[uint64]*node
	byInode map[vfs.Inode]*node
	last    uint64
}

// init enters the root and takes over its pin.
func (t *nodeTable) init(root vfs.Path) {
	n := &node{id: fuse.FUSE_ROOT_ID, path: root, inode: root.Inode(), lookups: 1}
	t.byID = map[uint64]*node{n.id: n}
	t.byInode = map[vfs.Inode]*node{n.inode: n}
	t.last = n.id
}

// get returns the node with an id, nil if there is none. The kernel
// forgets no node that it has requests for, so the path stays pinned meanwhile.
func (t *nodeTable) get(id uint64) *node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// ref counts one more lookup of the inode at p and takes over the pin.
func (t *nodeTable) ref(p vfs.Path) *node {
	inode := p.Inode()
	t.mu.Lock()
	n := t.byInode[inode]
	known := n != nil
	if known {
		n.lookups++
	} else {
		t.last++
		n = &node{id: t.last, path: p, inode: inode, lookups: 1}
		t.byID[n.id] = n
		t.byInode[inode] = n
	}
	t.mu.Unlock()
	if known {
		p.Put()
	}
	return n
}

// forget takes back count lookups, as FORGET says.
func (t *nodeTable) forget(id, count uint64) {
	if id == fuse.FUSE_ROOT_ID {
		return
	}
	t.mu.Lock()
	n := t.byID[id]
	if n == nil || n.lookups > count {
		if n != nil {
			n.lookups -= count
		}
		t.mu.Unlock()
		return
	}
	delete(t.byID, id)
	delete(t.byInode, n.inode)
	t.mu.Unlock()
	n.path.Put()
}

// close forgets everything, the root as well: an unmount sends no FORGET.
func (t *nodeTable) close() {
	t.mu.Lock()
	nodes := t.byID
	t.byID, t.byInode = nil, nil
	t.mu.Unlock()
	for _, n := range nodes {
		n.path.Put()
	}
}
