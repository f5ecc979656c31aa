package volume

import (
	"cloister/fs/sefs/internal/format"
)

// dirtyRootLocked returns the root, made dirty.
//
// Preconditions: t.mu held exclusively.
func (t *tree) dirtyRootLocked() (*node, error) {
	n, err := t.rootLocked()
	if err == nil && n.id == 0 {
		t.free(n.ptr.Ptr, format.NodeBlocks)
		t.setDirty(n)
	}
	return n, err
}

// dirtyPathLocked makes the nodes from the root to the leaf where k belongs
// dirty and returns them; the step of the leaf is the first item not below k.
// After an error the content of the tree is what it was.
//
// Preconditions: t.mu held exclusively.
func (t *tree) dirtyPathLocked(k format.Key, path *[format.MaxHeight + 1]step) error {
	n, err := t.dirtyRootLocked()
	if err != nil {
		return err
	}
	for level := t.height; level > 0; level-- {
		i := n.page.ChildOf(k)
		path[level] = step{n, i}
		if k.Less(n.page.Key(i)) {
			// The first child takes what is below it too. Its key must say so,
			// or a split of the child would put a lower key behind it.
			n.page.SetKey(i, k)
		}
		child, err := t.childLocked(n, i, single)
		if err != nil {
			return err
		}
		t.dirtyChildLocked(n, i, child)
		n = child
	}
	i, _ := n.page.Search(k)
	path[0] = step{n, i}
	return nil
}

// dirtyChildLocked makes child i of the dirty node n dirty.
func (t *tree) dirtyChildLocked(n *node, i int, child *node) {
	if child.id != 0 {
		return
	}
	t.cache.remove(child.ptr.Ptr)
	t.free(child.ptr.Ptr, format.NodeBlocks)
	t.setDirty(child)
	n.page.SetChild(i, dirtyPtr(child.id))
}

// dropLocked forgets a node that left the tree.
func (t *tree) dropLocked(n *node) {
	if n.id == 0 {
		t.cache.remove(n.ptr.Ptr)
		t.free(n.ptr.Ptr, format.NodeBlocks)
		return
	}
	delete(t.dirty, n.id)
	if n.placed {
		t.free(n.place, format.NodeBlocks)
		n.placed = false
	}
}

// putLocked sets the value of k.
//
// Preconditions: t.mu held exclusively; len(val) <= format.MaxValue.
func (t *tree) putLocked(k format.Key, val []byte) error {
	var path [format.MaxHeight + 1]step
	if err := t.dirtyPathLocked(k, &path); err != nil {
		return err
	}
	leaf, i := path[0].n.page, path[0].i
	if i < leaf.Len() && leaf.Key(i) == k {
		if leaf.Replace(i, val) {
			return nil
		}
		leaf.Remove(i)
	}
	t.insertLocked(&path, k, val)
	return nil
}

// insertLocked puts an item where path points, splitting nodes up to the root
// where there is no room. It reads nothing, so it cannot fail.
func (t *tree) insertLocked(path *[format.MaxHeight + 1]step, k format.Key, val []byte) {
	i := path[0].i
	for level := 0; ; level++ {
		n := path[level].n
		if n.page.Insert(i, k, val) {
			return
		}
		right := t.newDirty(level)
		n.page.Split(right.page, i, k, val)
		k = right.page.Key(0)
		var ptr [format.NodePtrSize]byte
		format.PutNodePtr(ptr[:], dirtyPtr(right.id))
		val = ptr[:]
		if level == t.height {
			t.growLocked(n, k, val)
			return
		}
		i = path[level+1].i + 1
	}
}

// growLocked puts a new root above left, the old one, and its new neighbour.
func (t *tree) growLocked(left *node, k format.Key, right []byte) {
	t.height++
	root := t.newDirty(t.height)
	var ptr [format.NodePtrSize]byte
	format.PutNodePtr(ptr[:], dirtyPtr(left.id))
	root.page.Insert(0, format.Key{}, ptr[:])
	root.page.Insert(1, k, right)
	t.root.Store(root)
}

// deleteLocked removes k and reports whether it was there.
//
// Preconditions: t.mu held exclusively.
func (t *tree) deleteLocked(k format.Key) (bool, error) {
	if found, err := t.hasLocked(k); !found || err != nil {
		return false, err
	}
	var path [format.MaxHeight + 1]step
	if err := t.dirtyPathLocked(k, &path); err != nil {
		return false, err
	}
	path[0].n.page.Remove(path[0].i)
	t.shrinkLocked(&path)
	return true, nil
}

func (t *tree) hasLocked(k format.Key) (bool, error) {
	n, err := t.rootLocked()
	if err != nil {
		return false, err
	}
	for n.page.Level() > 0 {
		c, err := t.childLocked(n, n.page.ChildOf(k), single)
		if err != nil {
			return false, err
		}
		n = c
	}
	_, found := n.page.Search(k)
	return found, nil
}

// lowWater is the number of bytes below which a node joins a neighbour.
const lowWater = format.NodeSize / 4

// shrinkLocked removes empty nodes on path and joins small ones with a
// neighbour, from the leaf upwards.
func (t *tree) shrinkLocked(path *[format.MaxHeight + 1]step) {
	for level := 0; level < t.height; level++ {
		n, up := path[level].n, path[level+1]
		if n.page.Len() == 0 {
			up.n.page.Remove(up.i)
			t.dropLocked(n)
			continue
		}
		if n.page.Used() >= lowWater || !t.joinLocked(up.n, up.i) {
			break
		}
	}
	t.lowerLocked()
}

// joinLocked joins child i of n with the child to its right or left, and
// reports whether it did. A neighbour that cannot be read is left alone.
func (t *tree) joinLocked(n *node, i int) bool {
	for _, l := range [2]int{i, i - 1} {
		if l < 0 || l+1 >= n.page.Len() {
			continue
		}
		left, err := t.childLocked(n, l, single)
		if err != nil {
			continue
		}
		right, err := t.childLocked(n, l+1, single)
		if err != nil || right.page.Used() > left.page.Free() {
			continue
		}
		t.dirtyChildLocked(n, l, left)
		left.page.Join(right.page)
		n.page.Remove(l + 1)
		t.dropLocked(right)
		return true
	}
	return false
}

// lowerLocked takes away a root that has one child or none.
func (t *tree) lowerLocked() {
	for t.height > 0 {
		root := t.root.Load()
		if root.page.Len() > 1 {
			return
		}
		if root.page.Len() == 0 {
			t.dropLocked(root)
			t.height = 0
			t.root.Store(t.newDirty(0))
			return
		}
		child, err := t.childLocked(root, 0, single)
		if err != nil {
			return // one level too many does no harm
		}
		t.dropLocked(root)
		if child.id == 0 {
			t.cache.remove(child.ptr.Ptr)
		}
		t.root.Store(child)
		t.height--
	}
}

// set is put for the volume's own items, which recovery derives itself: it
// leaves no redo operation.
func (t *tree) set(k format.Key, val []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.putLocked(k, val)
}

// delete removes k, if it is there, without a redo operation.
func (t *tree) delete(k format.Key) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.deleteLocked(k)
	return err
}
