package volume

import (
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// syncSegments is how many segments are written before they are synced and closed.
const syncSegments = 16

// A Loader writes a volume of format.ModeIntegrity into an empty directory, from front to back: the
// caller puts the items in the order of keys, and the blocks of files in the order in which they
// are to lie. What comes out depends on nothing else. One goroutine uses a Loader.
//
// Data and nodes fill segments of their own, each in the order in which it comes; a new
// segment gets the next number.
type Loader struct {
	maker
	segs  *segments
	data  loadStream
	nodes loadStream
	next  uint32 // number of the next new segment
	used  uint64 // blocks

	level []*loadNode // being filled, by level
	last  format.Key
	any   bool // an item was put
}

// A loadStream is a row of segments that is written with large calls.
type loadStream struct {
	at  format.Ptr // of the next block; Segment is NoSegment before the first
	buf []byte     // blocks before at that are not written
}

// A loadNode is a node that is not written yet: it is not full, or waits for something below it.
type loadNode struct {
	page   format.Node
	at     format.Ptr // when full
	full   bool
	open   int       // items below it that have no value yet
	parent *loadNode // when full
	item   int       // of the parent
}

// NewLoader returns a Loader for the directory. Finish or Discard ends it.
//
// Errors: EINVAL if the directory is not empty; those of the host.
func NewLoader(st store.Store) (*Loader, error) {
	empty, err := st.Empty()
	if err != nil {
		return nil, err
	}
	if !empty {
		return nil, fmt.Errorf("sefs: the directory for a new volume is not empty: %w", unix.EINVAL)
	}
	l := &Loader{maker: maker{st: st}, segs: newSegments(st, ReadWrite)}
	for _, s := range []*loadStream{&l.data, &l.nodes} {
		s.at.Segment, s.buf = format.NoSegment, make([]byte, 0, ioSize)
	}
	if err := st.Mkdir(segmentsDir); err != nil {
		return nil, err
	}
	l.made = append(l.made, segmentsDir)
	return l, nil
}

// Room returns how many blocks Blocks takes next: more would not lie side by side.
func (l *Loader) Room() int {
	if s := &l.data; s.at.Segment != format.NoSegment && int(s.at.Block) < format.SegmentBlocks {
		return format.SegmentBlocks - int(s.at.Block)
	}
	return format.SegmentBlocks
}

// Blocks appends whole blocks, at most Room, and returns where they lie.
func (l *Loader) Blocks(data []byte) (format.Ptr, error) {
	n := len(data) / format.BlockSize
	if n == 0 || n > l.Room() || len(data)%format.BlockSize != 0 {
		return format.Ptr{}, unix.EINVAL
	}
	at, err := l.place(&l.data, n)
	if err != nil {
		return at, err
	}
	return at, l.write(&l.data, data)
}

// place takes n blocks at the end of a stream, all of them in one segment. What is
// in them is written next.
func (l *Loader) place(s *loadStream, n int) (format.Ptr, error) {
	if s.at.Segment == format.NoSegment || int(s.at.Block) == format.SegmentBlocks {
		if err := l.flush(s); err != nil {
			return s.at, err
		}
		if l.next == format.NoSegment {
			return s.at, unix.ENOSPC
		}
		if l.next%syncSegments == 0 {
			if err := l.segs.sync(); err != nil {
				return s.at, err
			}
		}
		s.at = format.Ptr{Segment: l.next}
		l.next++
	}
	at := s.at
	s.at.Block += uint16(n)
	l.used += uint64(n)
	return at, nil
}

// write appends the bytes of the blocks that place has taken.
func (l *Loader) write(s *loadStream, data []byte) error {
	if len(s.buf)+len(data) > ioSize {
		behind := s.at
		behind.Block -= uint16(len(data) / format.BlockSize)
		if err := l.flushAt(s, behind); err != nil {
			return err
		}
		if len(data) >= ioSize {
			return l.segs.write(behind, data)
		}
	}
	s.buf = append(s.buf, data...)
	return nil
}

func (l *Loader) flush(s *loadStream) error { return l.flushAt(s, s.at) }

// flushAt writes what is buffered, which ends at a place.
func (l *Loader) flushAt(s *loadStream, end format.Ptr) error {
	if len(s.buf) == 0 {
		return nil
	}
	end.Block -= uint16(len(s.buf) / format.BlockSize)
	err := l.segs.write(end, s.buf)
	s.buf = s.buf[:0]
	return err
}

// Put appends an item. Its key is above that of the item before.
func (l *Loader) Put(k format.Key, val []byte) error {
	_, _, err := l.put(k, val)
	return err
}

// A Pending is an item whose value is not known yet. Set it before Finish.
type Pending struct {
	l    *Loader
	n    *loadNode
	item int
}

// PutLater appends an item with a value of n bytes that will be known later. Until then the nodes
// above it stay in memory.
func (l *Loader) PutLater(k format.Key, n int) (Pending, error) {
	node, item, err := l.put(k, make([]byte, n))
	if err == nil {
		node.open++
	}
	return Pending{l, node, item}, err
}

// Set gives the item its value.
func (p Pending) Set(val []byte) error {
	copy(p.n.page.Value(p.item), val)
	return p.l.settle(p.n)
}

// settle notes that one thing below n that was open is not any more.
func (l *Loader) settle(n *loadNode) error {
	for n.open--; n.full && n.open == 0; {
		if err := l.rewrite(n); err != nil {
			return err
		}
		up := n.parent
		up.page.SetChild(n.item, format.HashPtr(n.at, seal.Checksum(n.page)))
		up.open--
		n = up
	}
	return nil
}

// rewrite writes a node that was written before it was complete.
func (l *Loader) rewrite(n *loadNode) error {
	s := &l.nodes
	behind := (int(s.at.Block) - int(n.at.Block)) * format.BlockSize // from the node to the end of the buffer
	if n.at.Segment != s.at.Segment || behind > len(s.buf) {
		return l.segs.write(n.at, n.page)
	}
	copy(s.buf[len(s.buf)-behind:], n.page)
	return nil
}

func (l *Loader) put(k format.Key, val []byte) (*loadNode, int, error) {
	if l.any && !l.last.Less(k) || len(val) > format.MaxValue {
		return nil, 0, fmt.Errorf("sefs: item %v does not follow %v: %w", k, l.last, unix.EINVAL)
	}
	l.last, l.any = k, true
	return l.add(0, k, val)
}

// add appends an item to the node being filled on a level, or to the next one.
func (l *Loader) add(level int, k format.Key, val []byte) (*loadNode, int, error) {
	if level == len(l.level) {
		l.level = append(l.level, newLoadNode(level))
	}
	n := l.level[level]
	at := n.page.Len()
	if n.page.Insert(at, k, val) {
		return n, at, nil
	}
	if err := l.close(level); err != nil {
		return nil, 0, err
	}
	n = newLoadNode(level)
	l.level[level] = n
	n.page.Insert(0, k, val)
	return n, 0, nil
}

func newLoadNode(level int) *loadNode {
	n := &loadNode{page: make(format.Node, format.NodeSize)}
	n.page.Reset(level)
	return n
}

// close gives the node being filled on a level its place, and adds it to the level above. It is
// written now, or when nothing below it is open any more.
func (l *Loader) close(level int) error {
	if level == format.MaxHeight {
		return unix.ENOSPC
	}
	n := l.level[level]
	p, err := l.finish(n)
	if err != nil {
		return err
	}
	var val [format.NodePtrSize]byte
	format.PutNodePtr(val[:], p)
	if n.parent, n.item, err = l.add(level+1, n.page.Key(0), val[:]); err != nil {
		return err
	}
	if n.open > 0 {
		n.parent.open++
	}
	return nil
}

// finish gives a node its place, and writes it if nothing below it is open.
func (l *Loader) finish(n *loadNode) (p format.NodePtr, err error) {
	n.full = true
	if n.at, err = l.place(&l.nodes, format.NodeBlocks); err != nil {
		return p, err
	}
	if err := l.write(&l.nodes, n.page); err != nil { // if not for good, then for its room
		return p, err
	}
	if n.open > 0 {
		return format.NodePtr{Ptr: n.at}, nil
	}
	return format.HashPtr(n.at, seal.Checksum(n.page)), nil
}

// Finish writes the rest and makes the volume valid and durable. It returns the root.
func (l *Loader) Finish() (root [seal.HashSize]byte, err error) {
	if !l.any {
		return root, fmt.Errorf("sefs: a volume without items: %w", unix.EINVAL)
	}
	level := 0
	for ; level < len(l.level)-1; level++ {
		if err := l.close(level); err != nil {
			return root, err
		}
	}
	top := l.level[level]
	if top.open > 0 {
		return root, fmt.Errorf("sefs: an item has no value: %w", unix.EINVAL)
	}
	tree, err := l.finish(top)
	if err != nil {
		return root, err
	}
	for _, s := range []*loadStream{&l.data, &l.nodes} {
		if err := l.flush(s); err != nil {
			return root, err
		}
	}
	if err := l.segs.sync(); err != nil {
		return root, err
	}
	head := format.IntegrityHead(tree, level, l.used, l.next)
	header, encoded := format.NewIntegrityHeader(head)
	root, _ = header.IntegrityRoot(head)
	err = l.file(headsName, func(f store.File) error {
		slots := make([]byte, 2*format.HeadStride)
		for _, at := range headSlots {
			copy(slots[at:], head)
		}
		return f.WriteAt(slots, 0)
	})
	if err != nil {
		return root, err
	}
	return root, l.header(encoded)
}

// Discard removes what was written, as far as it can, and ends a Loader that is not to
// be finished.
func (l *Loader) Discard() {
	l.st.Close()
	for n := range l.next {
		_, name := segmentName(n)
		l.st.Unlink(name)
	}
	for n := range min(l.next, 256) {
		dir, _ := segmentName(n)
		l.st.Unlink(dir)
	}
	l.undo()
}
