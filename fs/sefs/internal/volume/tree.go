package volume

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// A tree is the B+tree of a volume. In memory, a node that changed since the
// last checkpoint is dirty: it has a number instead of a place on the host, and
// its parent, dirty too, points to that number.
type tree struct {
	read func(ptrs []format.NodePtr, nodes []*node) error // from the host, opened
	free func(p format.Ptr, n int)                        // gives back blocks; called with mu held

	cache *nodeCache

	mu     sync.RWMutex
	root   atomic.Pointer[node] // nil until first used
	rootAt format.NodePtr       // where to read it then
	height int
	dirty  map[uint64]*node
	nextID uint64
	redo   redoLog

	newVal, oldVal [format.MaxValue]byte // of mapAll
}

func newTree(cacheBytes int64) *tree {
	t := &tree{cache: newNodeCache(cacheBytes), dirty: make(map[uint64]*node)}
	t.root.Store(t.newDirty(0))
	return t
}

// load makes the tree of a head the current one. Nothing is read yet.
func (t *tree) load(h *format.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.Root.IsZero() {
		return
	}
	clear(t.dirty)
	t.root.Store(nil)
	t.rootAt, t.height = h.Root, int(h.Height)
}

// rootLocked returns the root.
//
// Preconditions: t.mu held, shared or not.
func (t *tree) rootLocked() (*node, error) {
	if n := t.root.Load(); n != nil {
		return n, nil
	}
	n := newNode()
	if err := t.read([]format.NodePtr{t.rootAt}, []*node{n}); err != nil {
		return nil, err
	}
	if err := checkNode(n, t.height); err != nil {
		return nil, err
	}
	if !t.root.CompareAndSwap(nil, n) {
		n = t.root.Load()
	}
	return n, nil
}

func (t *tree) newDirty(level int) *node {
	n := newNode()
	n.page.Reset(level)
	t.setDirty(n)
	return n
}

func (t *tree) setDirty(n *node) {
	t.nextID++
	n.id = t.nextID
	t.dirty[n.id] = n
}

func (t *tree) dirtyBytes() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int64(len(t.dirty)) * format.NodeSize
}

// dirtyPtr is what points to a dirty node.
func dirtyPtr(id uint64) format.NodePtr {
	return format.NodePtr{Ptr: format.Ptr{Segment: format.NoSegment, Counter: id}}
}

// cluster is the largest number of leaves that one host call reads.
const cluster = 16

// A scanHint says whether the children that follow will be wanted too.
type scanHint int

const (
	single scanHint = iota
	ahead
	steady // it has been so for a while
)

// childLocked returns child i of n.
//
// Preconditions: t.mu held, shared or not.
func (t *tree) childLocked(n *node, i int, hint scanHint) (*node, error) {
	p := n.page.Child(i)
	if p.Segment == format.NoSegment {
		return t.dirty[p.Counter], nil
	}
	if c := t.cache.get(p.Ptr); c != nil {
		return c, nil
	}
	return t.readLocked(n, i, hint)
}

// readLocked reads child i of n from the host and with it, for a scan, those
// that follow it there too.
func (t *tree) readLocked(n *node, i int, hint scanHint) (*node, error) {
	var ptrs [cluster]format.NodePtr
	var nodes [cluster]*node
	count, most := 0, 1
	if hint == ahead {
		most = min(cluster, n.page.Len()-i)
	}
	for ; count < most; count++ {
		p := n.page.Child(i + count)
		if count > 0 && (!p.Follows(ptrs[count-1].Ptr, format.NodeBlocks) || t.cache.has(p.Ptr)) {
			break
		}
		ptrs[count], nodes[count] = p, newNode()
	}
	if err := t.read(ptrs[:count], nodes[:count]); err != nil {
		if count > 1 { // what was to be read ahead may be what is damaged
			return t.readLocked(n, i, single)
		}
		return nil, err
	}
	for j, c := range nodes[:count] {
		if err := checkNode(c, n.page.Level()-1); err != nil {
			return nil, err
		}
		nodes[j] = t.cache.add(c)
	}
	return nodes[0], nil
}

func checkNode(n *node, level int) error {
	if err := n.page.Check(level); err != nil {
		return &seal.CorruptError{Block: n.ptr.String(), Reason: err.Error()}
	}
	return nil
}

// get appends the value of k to dst.
//
// Errors: ENOENT.
func (t *tree) get(k format.Key, dst []byte) ([]byte, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.getLocked(k, dst)
}

func (t *tree) getLocked(k format.Key, dst []byte) ([]byte, error) {
	n, err := t.rootLocked()
	if err != nil {
		return nil, err
	}
	for n.page.Level() > 0 {
		c, err := t.childLocked(n, n.page.ChildOf(k), single)
		if err != nil {
			return nil, err
		}
		n = c
	}
	i, found := n.page.Search(k)
	if !found {
		return nil, unix.ENOENT
	}
	return append(dst, n.page.Value(i)...), nil
}

// scan calls fn for the items in [from, to) in order until it returns false.
// fn must not call the tree; val is valid only during the call.
func (t *tree) scan(from, to format.Key, fn func(k format.Key, val []byte) bool) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := cursor{t: t, hint: ahead, high: to}
	ok, err := c.seek(from)
	for ; ok && err == nil; ok, err = c.next() {
		k := c.key()
		if !k.Less(to) || !fn(k, c.value()) {
			break
		}
	}
	return err
}

// A cursor stands on one item of the tree. tree.mu is held while it is used,
// and nothing changes the tree.
type cursor struct {
	t    *tree
	hint scanHint

	// What is wanted has keys in [low, high); a zero high is none. The cursor ends rather
	// than read a node that has none of it: damage there must not keep anybody from what
	// is somewhere else.
	low, high format.Key

	path [format.MaxHeight + 1]step // by level; the leaf is step 0
}

type step struct {
	n *node
	i int
}

func (c *cursor) key() format.Key { return c.path[0].n.page.Key(c.path[0].i) }
func (c *cursor) value() []byte   { return c.path[0].n.page.Value(c.path[0].i) }

// descend goes to the leaf where k belongs and the first item not below k.
func (c *cursor) descend(k format.Key) error {
	n, err := c.t.rootLocked()
	if err != nil {
		return err
	}
	for level := c.t.height; level > 0; level-- {
		i := n.page.ChildOf(k)
		c.path[level] = step{n, i}
		child, err := c.t.childLocked(n, i, c.hint)
		if err != nil {
			return err
		}
		n = child
	}
	i, _ := n.page.Search(k)
	c.path[0] = step{n, i}
	return nil
}

// seek goes to the first item not below k; false if there is none.
func (c *cursor) seek(k format.Key) (bool, error) {
	if err := c.descend(k); err != nil {
		return false, err
	}
	if c.path[0].i < c.path[0].n.page.Len() {
		return true, nil
	}
	c.path[0].i--
	return c.next()
}

// floor goes to the last item not above k; false if there is none.
func (c *cursor) floor(k format.Key) (bool, error) {
	if err := c.descend(k); err != nil {
		return false, err
	}
	s := &c.path[0]
	if s.i < s.n.page.Len() && s.n.page.Key(s.i) == k {
		return true, nil
	}
	return c.move(-1)
}

// next goes to the item behind; false at the end.
func (c *cursor) next() (bool, error) { return c.move(+1) }

// beyond reports whether nothing that is wanted is on the other side of k, the key between two
// nodes: no item of the upper one is below it, and all of the lower one are.
func (c *cursor) beyond(k format.Key, by int) bool {
	if by < 0 {
		return !c.low.Less(k)
	}
	return c.high != format.Key{} && !k.Less(c.high)
}

// move goes one item up or down.
func (c *cursor) move(by int) (bool, error) {
	level := 0
	for {
		s := &c.path[level]
		if i := s.i + by; i >= 0 && i < s.n.page.Len() {
			if level > 0 && c.beyond(s.n.page.Key(max(i, s.i)), by) {
				return false, nil
			}
			s.i = i
			break
		}
		if level == c.t.height {
			return false, nil
		}
		level++
	}
	for ; level > 0; level-- {
		child, err := c.t.childLocked(c.path[level].n, c.path[level].i, c.hint)
		if err != nil {
			return false, err
		}
		i := 0
		if by < 0 {
			i = child.page.Len() - 1
		}
		c.path[level-1] = step{child, i}
	}
	// A leaf other than the root is never empty, as Check and remove see to.
	return c.path[0].n.page.Len() > 0, nil
}
