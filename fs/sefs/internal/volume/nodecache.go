package volume

import (
	"sync"
	"sync/atomic"

	"cloister/fs/sefs/internal/format"
)

// A node is one node of the tree in memory, decrypted. A clean node is never
// changed; making it dirty needs tree.mu held exclusively, which no reader
// survives.
type node struct {
	ptr    format.NodePtr // where it lies on the host; zero if it never did
	id     uint64         // name while dirty; 0: clean
	placed bool           // dirty, and place is allocated
	place  format.Ptr     // where the running checkpoint writes it
	sealed format.NodePtr // place, with the tag that the checkpoint computed
	used   atomic.Bool    // since the clock hand passed
	page   format.Node    // buf[:]
	buf    [format.NodeSize]byte
}

func newNode() *node {
	n := new(node)
	n.page = n.buf[:]
	return n
}

// place64 packs the place of a block into a map key.
func place64(p format.Ptr) uint64 { return uint64(p.Segment)<<16 | uint64(p.Block) }

// A nodeCache keeps clean nodes, found by their place, up to a number of them.
// Nodes that it drops are left to the garbage collector: a reader may still
// hold one.
type nodeCache struct {
	mu    sync.Mutex
	index map[uint64]int // position in ring
	ring  []*node        // clock
	hand  int
	max   int
}

func newNodeCache(bytes int64) *nodeCache {
	return &nodeCache{index: make(map[uint64]int), max: int(max(bytes, minCache) / format.NodeSize)}
}

// get returns the node at p, or nil.
func (c *nodeCache) get(p format.Ptr) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[place64(p)]
	if !ok {
		return nil
	}
	n := c.ring[i]
	n.used.Store(true)
	return n
}

// has reports whether the node at p is cached.
func (c *nodeCache) has(p format.Ptr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.index[place64(p)]
	return ok
}

// add caches n, unless another reader was faster, and returns the cached one.
func (c *nodeCache) add(n *node) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := place64(n.ptr.Ptr)
	if i, ok := c.index[key]; ok {
		return c.ring[i]
	}
	if len(c.ring) < c.max {
		c.index[key] = len(c.ring)
		c.ring = append(c.ring, n)
		return n
	}
	for c.ring[c.hand].used.Swap(false) {
		c.hand = (c.hand + 1) % len(c.ring)
	}
	delete(c.index, place64(c.ring[c.hand].ptr.Ptr))
	c.ring[c.hand] = n
	c.index[key] = c.hand
	c.hand = (c.hand + 1) % len(c.ring)
	return n
}

// remove forgets the node at p.
func (c *nodeCache) remove(p format.Ptr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := place64(p)
	i, ok := c.index[key]
	if !ok {
		return
	}
	delete(c.index, key)
	last := len(c.ring) - 1
	if i != last {
		c.ring[i] = c.ring[last]
		c.index[place64(c.ring[i].ptr.Ptr)] = i
	}
	c.ring[last] = nil
	c.ring = c.ring[:last]
	if c.hand >= last {
		c.hand = 0
	}
}
