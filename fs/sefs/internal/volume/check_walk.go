package volume

import (
	"context"
	"math"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// walkNodes is the most nodes that a walk reads in one host call.
const walkNodes = ioSize / format.NodeSize

// A walker visits the whole tree in the order of keys, past damaged nodes. It reads nodes of
// one parent that lie side by side in one call, and leaves the node cache alone.
type walker struct {
	v    *Volume
	ctx  context.Context
	item func(k format.Key, val []byte) error
	node func(n *node) // that lies on the host; nil: not told
	from format.Key    // items below it are left out
	lost func(l lostNode)

	levels [format.MaxHeight + 1]family
	buf    []byte // walkNodes nodes, sealed
}

// A lostNode is a node that cannot be read, and with it the items in [from, to).
type lostNode struct {
	from, to format.Key
	level    int
	err      error
}

// A family are the children of one node.
type family struct {
	kids []*node
	errs []error
	own  []*node // memory for kids that were read
}

// walk visits all.
//
// Preconditions: the volume stands still.
func (w *walker) walk() error {
	t := w.v.tree
	t.mu.RLock()
	defer t.mu.RUnlock()
	w.buf = make([]byte, walkNodes*format.NodeSize)
	last := format.Key{Ino: math.MaxUint64, Type: math.MaxUint8, Off: math.MaxUint64}
	root, err := t.rootLocked()
	if err != nil {
		if !isDamage(err) {
			return err
		}
		w.lost(lostNode{format.Key{}, last, t.height, err})
		return nil
	}
	return w.visit(root, t.height, format.Key{}, last)
}

// visit walks over a node whose keys must be in [low, high).
func (w *walker) visit(n *node, level int, low, high format.Key) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if n.id == 0 && w.node != nil {
		w.node(n)
	}
	count := n.page.Len()
	if count > 0 && (n.page.Key(0).Less(low) || !n.page.Key(count-1).Less(high)) {
		w.lost(lostNode{low, high, level, &seal.CorruptError{Block: n.ptr.String(), Reason: "items of another part of the tree"}})
		return nil
	}
	if level == 0 {
		first, _ := n.page.Search(w.from)
		for i := first; i < count; i++ {
			if err := w.item(n.page.Key(i), n.page.Value(i)); err != nil {
				return err
			}
		}
		return nil
	}
	f := &w.levels[level]
	if err := w.load(f, n); err != nil {
		return err
	}
	for i := range count {
		from, to := n.page.Key(i), high
		if i+1 < count {
			to = n.page.Key(i + 1)
		}
		if !w.from.Less(to) {
			continue
		}
		if err := f.errs[i]; err != nil {
			w.lost(lostNode{from, to, level - 1, err})
		} else if err := w.visit(f.kids[i], level-1, from, to); err != nil {
			return err
		}
	}
	return nil
}

// load fills f with the children of n.
func (w *walker) load(f *family, n *node) error {
	t, count := w.v.tree, n.page.Len()
	f.kids, f.errs = resize(f.kids, count), resize(f.errs, count)
	for len(f.own) < count {
		f.own = append(f.own, newNode())
	}
	var ptrs [walkNodes]format.NodePtr
	for i := 0; i < count; {
		p := n.page.Child(i)
		if p.Segment == format.NoSegment {
			f.kids[i] = t.dirty[p.Counter]
			i++
			continue
		}
		run := 0
		for run < walkNodes && i+run < count {
			p := n.page.Child(i + run)
			if p.Segment == format.NoSegment || run > 0 && !p.Follows(ptrs[run-1].Ptr, format.NodeBlocks) {
				break
			}
			ptrs[run] = p
			run++
		}
		copy(f.kids[i:i+run], f.own[i:])
		if err := w.read(ptrs[:run], f.kids[i:], f.errs[i:], n.page.Level()-1); err != nil {
			return err
		}
		i += run
	}
	return nil
}

// read reads and opens nodes that lie side by side; errs says which are damaged.
func (w *walker) read(ptrs []format.NodePtr, nodes []*node, errs []error, level int) error {
	buf := w.buf[:len(ptrs)*format.NodeSize]
	if err := w.v.segs.read(ptrs[0].Ptr, buf); err != nil {
		switch half := len(ptrs) / 2; {
		case !isDamage(err):
			return err
		case half == 0:
			errs[0] = err
			return nil
		default:
			if err := w.read(ptrs[:half], nodes, errs, level); err != nil {
				return err
			}
			return w.read(ptrs[half:], nodes[half:], errs[half:], level)
		}
	}
	for i, p := range ptrs {
		n := nodes[i]
		n.ptr = p
		if err := w.v.openNode(p, n.page, buf[i*format.NodeSize:(i+1)*format.NodeSize]); err != nil {
			if !isNotAuthentic(err) {
				return err
			}
			errs[i] = err
			continue
		}
		errs[i] = checkNode(n, level)
	}
	return nil
}

// resize returns s with n zero elements.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}
