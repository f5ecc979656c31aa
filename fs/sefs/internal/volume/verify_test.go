package volume

import (
	"context"
	"fmt"

	"cloister/fs/sefs/internal/format"
)

// Verify makes a checkpoint and then checks what must hold between the parts
// of a volume: keys are in the ranges of their nodes, extents do not overlap,
// no block is used twice, and the map of blocks in use is exact.
func Verify(v *Volume) error {
	if v.cfg.Access == ReadWrite {
		if err := v.commit(context.Background(), untilClean); err != nil {
			return err
		}
	}
	c := verifier{t: v.tree, used: make(map[uint32]*format.Bitmap), maps: make(map[uint32]*format.Bitmap)}
	v.tree.mu.RLock()
	defer v.tree.mu.RUnlock()
	root, err := v.tree.rootLocked()
	if err != nil {
		return err
	}
	if root.id != 0 && root.page.Len() == 0 && len(v.tree.dirty) == 1 {
		return nil // nothing was ever written
	}
	last := format.Key{Ino: ^uint64(0), Type: ^uint8(0), Off: ^uint64(0)}
	if err := c.node(root, v.tree.height, format.Key{}, last); err != nil {
		return err
	}
	return c.space(v.alloc)
}

type verifier struct {
	t          *tree
	used, maps map[uint32]*format.Bitmap
	last       format.Key
	end        uint64 // behind the last extent of last.Ino
	inline     bool   // last.Ino has inline data
}

func (c *verifier) take(p format.Ptr, n int) error {
	m := c.used[p.Segment]
	if m == nil {
		m = new(format.Bitmap)
		c.used[p.Segment] = m
	}
	if m.Set(int(p.Block), n, true) != n {
		return fmt.Errorf("%d blocks at %v used twice", n, p)
	}
	return nil
}

// node checks a node whose keys must be from low up to high, high excluded.
func (c *verifier) node(n *node, level int, low, high format.Key) error {
	if n.id != 0 {
		return fmt.Errorf("dirty node after a checkpoint")
	}
	if err := n.page.Check(level); err != nil {
		return err
	}
	if err := c.take(n.ptr.Ptr, format.NodeBlocks); err != nil {
		return err
	}
	for i := range n.page.Len() {
		k := n.page.Key(i)
		if k.Less(low) || !k.Less(high) {
			return fmt.Errorf("level %d: key %v outside of [%v, %v)", level, k, low, high)
		}
		if level == 0 {
			if err := c.item(k, n.page.Value(i)); err != nil {
				return err
			}
			continue
		}
		to := high
		if i+1 < n.page.Len() {
			to = n.page.Key(i + 1)
		}
		child, err := c.t.childLocked(n, i, single)
		if err != nil {
			return err
		}
		if child.page.Len() == 0 {
			return fmt.Errorf("level %d: empty child", level)
		}
		if err := c.node(child, level-1, k, to); err != nil {
			return err
		}
	}
	return nil
}

func (c *verifier) item(k format.Key, val []byte) error {
	if k.Ino != c.last.Ino {
		c.end, c.inline = 0, false
	}
	c.last = k
	switch k.Type {
	case format.TypeInline:
		c.inline = true
	case format.TypeExtent:
		e, err := decodeExtent(k.Off, val)
		if err != nil {
			return err
		}
		if k.Off < c.end || c.inline && k.Off == 0 {
			return fmt.Errorf("extent at %v overlaps the one before", k)
		}
		c.end = k.Off + uint64(e.Len())
		return c.take(e.Ptr, e.Len())
	case format.TypeSegment:
		if format.IsDeadSegment(val) {
			return nil
		}
		m := new(format.Bitmap)
		c.maps[uint32(k.Off)] = m
		return decodeBitmap(val, m)
	}
	return nil
}

func (c *verifier) space(a *allocator) error {
	sum := 0
	for seg, m := range c.used {
		if c.maps[seg] == nil || *c.maps[seg] != *m {
			return fmt.Errorf("segment %d: %d blocks in use, its map is another", seg, m.Used())
		}
		sum += m.Used()
	}
	for seg, m := range c.maps {
		if c.used[seg] == nil && m.Used() > 0 {
			return fmt.Errorf("segment %d: map says %d blocks, none is in use", seg, m.Used())
		}
	}
	if used, live := a.usage(); used != uint64(sum) || live != uint64(len(c.maps)) {
		return fmt.Errorf("head says %d blocks in %d segments, there are %d in %d", used, live, sum, len(c.maps))
	}
	return nil
}
