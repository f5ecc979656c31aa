package format

import "encoding/binary"

// A Node is the plaintext of one node of the tree: NodeSize bytes with a
// sorted table of slots at the front and the items, in no order, at the end.
//
//	0   level: 0 in leaves
//	2   number of items
//	4   where the items begin
//	6   bytes that removed items left behind
//	16  slots: 2 bytes each, where the item is
//
// An item is its key (KeySize bytes), the length of its value (2 bytes), and
// the value. In a node above the leaves the value is a NodePtr, and the key is
// not above any key below that child.
type Node []byte

// Offsets within a node.
const (
	nodeLevel = 0
	nodeCount = 2
	nodeHeap  = 4
	nodeWaste = 6
	nodeSlots = 16
	itemHead  = KeySize + 2
)

func (n Node) u16(at int) int       { return int(binary.LittleEndian.Uint16(n[at:])) }
func (n Node) setU16(at int, v int) { binary.LittleEndian.PutUint16(n[at:], uint16(v)) }

// Reset makes n an empty node of a level.
func (n Node) Reset(level int) {
	clear(n[:nodeSlots])
	n[nodeLevel] = byte(level)
	n.setU16(nodeHeap, NodeSize)
}

// Level returns the level of n.
func (n Node) Level() int { return int(n[nodeLevel]) }

// Len returns the number of items.
func (n Node) Len() int { return n.u16(nodeCount) }

func (n Node) item(i int) int { return n.u16(nodeSlots + 2*i) }

// Key returns the key of item i.
func (n Node) Key(i int) Key { return GetKey(n[n.item(i):]) }

// SetKey replaces the key of item i by one that sorts into the same place.
func (n Node) SetKey(i int, k Key) { PutKey(n[n.item(i):], k) }

// Value returns the value of item i, shared with n.
func (n Node) Value(i int) []byte {
	at := n.item(i)
	end := at + itemHead + n.u16(at+KeySize)
	return n[at+itemHead : end : end]
}

// Child returns the pointer in item i.
func (n Node) Child(i int) NodePtr { return GetNodePtr(n.Value(i)) }

// SetChild replaces the pointer in item i.
func (n Node) SetChild(i int, p NodePtr) { PutNodePtr(n.Value(i), p) }

// Search returns the first item whose key is not below k, and whether its key
// is k.
func (n Node) Search(k Key) (i int, found bool) {
	lo, hi := 0, n.Len()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := n.Key(mid).Compare(k); {
		case c < 0:
			lo = mid + 1
		case c > 0:
			hi = mid
		default:
			return mid, true
		}
	}
	return lo, false
}

// ChildOf returns the item whose child k belongs to.
func (n Node) ChildOf(k Key) int {
	i, found := n.Search(k)
	if !found && i > 0 {
		i--
	}
	return i
}

// ItemSize returns the bytes that an item with a value of n bytes takes.
func ItemSize(n int) int { return 2 + itemHead + n }

// Free returns the bytes that are left for items.
func (n Node) Free() int {
	return n.u16(nodeHeap) - (nodeSlots + 2*n.Len()) + n.u16(nodeWaste)
}

// Used returns the bytes that items take.
func (n Node) Used() int { return NodeSize - nodeSlots - n.Free() }

// Insert puts an item before item i and reports whether there was room.
func (n Node) Insert(i int, k Key, val []byte) bool {
	size := itemHead + len(val)
	if size+2 > n.Free() {
		return false
	}
	count := n.Len()
	if n.u16(nodeHeap)-size < nodeSlots+2*(count+1) {
		n.compact()
	}
	at := n.u16(nodeHeap) - size
	PutKey(n[at:], k)
	n.setU16(at+KeySize, len(val))
	copy(n[at+itemHead:], val)
	n.setU16(nodeHeap, at)
	slot := nodeSlots + 2*i
	copy(n[slot+2:nodeSlots+2*(count+1)], n[slot:nodeSlots+2*count])
	n.setU16(slot, at)
	n.setU16(nodeCount, count+1)
	return true
}

// Replace replaces the value of item i by one that is not longer, and reports
// whether it is.
func (n Node) Replace(i int, val []byte) bool {
	at := n.item(i)
	size := n.u16(at + KeySize)
	if len(val) > size {
		return false
	}
	copy(n[at+itemHead:], val)
	n.setU16(at+KeySize, len(val))
	n.setU16(nodeWaste, n.u16(nodeWaste)+size-len(val))
	return true
}

// Remove removes item i.
func (n Node) Remove(i int) {
	at, count := n.item(i), n.Len()
	size := itemHead + n.u16(at+KeySize)
	if at == n.u16(nodeHeap) {
		n.setU16(nodeHeap, at+size)
	} else {
		n.setU16(nodeWaste, n.u16(nodeWaste)+size)
	}
	slot := nodeSlots + 2*i
	copy(n[slot:nodeSlots+2*(count-1)], n[slot+2:nodeSlots+2*count])
	n.setU16(nodeCount, count-1)
	if count == 1 {
		n.Reset(n.Level())
	}
}

// compact moves the items together.
func (n Node) compact() {
	var tmp [NodeSize]byte
	copy(tmp[:], n)
	n.rebuild(Node(tmp[:]), 0, n.Len())
}

// rebuild makes n a copy of items [from, to) of src.
func (n Node) rebuild(src Node, from, to int) {
	n.Reset(src.Level())
	at := NodeSize
	for i := from; i < to; i++ {
		start := src.item(i)
		size := itemHead + src.u16(start+KeySize)
		at -= size
		copy(n[at:at+size], src[start:])
		n.setU16(nodeSlots+2*(i-from), at)
	}
	n.setU16(nodeHeap, at)
	n.setU16(nodeCount, to-from)
}

// Split moves the upper part of n to the empty node right and puts a new item
// that did not fit before item i of the former n, into one of them. An item
// behind all others goes to right alone, so that ascending keys fill nodes.
func (n Node) Split(right Node, i int, k Key, val []byte) {
	count := n.Len()
	if i == count {
		right.Reset(n.Level())
		right.Insert(0, k, val)
		return
	}
	var tmp [NodeSize]byte
	src := Node(tmp[:])
	copy(src, n)
	// The sequence of all items, the new one included, is cut at the middle of
	// its bytes; cut counts items of the former n to the left.
	half := (n.Used() + ItemSize(len(val))) / 2
	sum, cut, newLeft := 0, 0, false
	for sum < half && cut < count {
		if cut == i && !newLeft {
			newLeft = true
			sum += ItemSize(len(val))
			continue
		}
		sum += ItemSize(len(src.Value(cut)))
		cut++
	}
	if cut == count { // never leave right empty
		cut--
	}
	n.rebuild(src, 0, cut)
	right.rebuild(src, cut, count)
	if newLeft {
		n.Insert(i, k, val)
	} else {
		right.Insert(i-cut, k, val)
	}
}

// Join appends the items of right, which are above those of n, and reports
// whether they fit; if not, nothing changed.
func (n Node) Join(right Node) bool {
	if right.Used() > n.Free() {
		return false
	}
	for i := range right.Len() {
		n.Insert(n.Len(), right.Key(i), right.Value(i))
	}
	return true
}

// Check returns an error unless n is a well-formed node of a level whose items
// are in order. A node that passes makes no other method panic.
func (n Node) Check(level int) error {
	if len(n) != NodeSize || n.Level() != level {
		return &DamageError{"node", "wrong level"}
	}
	count, heap, waste := n.Len(), n.u16(nodeHeap), n.u16(nodeWaste)
	if nodeSlots+2*count > heap || heap > NodeSize || level > 0 && count == 0 {
		return &DamageError{"node", "impossible number of items"}
	}
	sum := 0
	var last Key
	for i := range count {
		at := n.item(i)
		if at < heap || at > NodeSize-itemHead {
			return &DamageError{"node", "item outside"}
		}
		size := n.u16(at + KeySize)
		if at+itemHead+size > NodeSize || size > MaxValue {
			return &DamageError{"node", "item too long"}
		}
		if level > 0 && (size != NodePtrSize || !GetPtr(n[at+itemHead:]).Check(NodeBlocks)) {
			return &DamageError{"node", "impossible child"}
		}
		k := GetKey(n[at:])
		if i > 0 && !last.Less(k) {
			return &DamageError{"node", "items out of order"}
		}
		last, sum = k, sum+itemHead+size
	}
	if heap+sum+waste != NodeSize {
		return &DamageError{"node", "bytes do not add up"}
	}
	return nil
}
