package volume

import (
	"bytes"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// headState is what is known of the heads file. Whose Volume.turn it is may use it.
type headState struct {
	file store.File
	seq  uint64                // of the last head
	last [format.HeadSize]byte // that head, as it is on the host
	same [len(headSlots)]bool  // the slots that hold it
}

// headSlots are where the two copies of the head are, as offsets in bytes. They
// are written one after the other, so that a crash leaves one whole, the old head
// or the new; at rest they are equal, so that damage to one loses nothing.
var headSlots = [2]int64{0, format.HeadStride}

// prepareCheckpoint writes all pages and all dirty nodes to new places, and
// makes them clean in memory. What it returns makes them the state of the
// volume. After an error of the host nothing has changed, and it may be tried
// again.
//
// Preconditions: it is the caller's turn, gate held exclusively.
func (v *Volume) prepareCheckpoint() (finish func() error, err error) {
	if err := v.writeBack(allDirty); err != nil {
		return nil, err
	}
	nodes, err := v.placeNodes()
	if err != nil {
		return nil, err
	}
	if err := v.writeNodes(nodes); err != nil {
		return nil, err
	}
	if err := v.settleAll(); err != nil {
		return nil, err
	}
	h := format.Head{
		Seq:     v.head.seq + 1,
		Commit:  v.journal.seq.Load() + 1,
		Journal: uint64(v.journal.size),
		Time:    v.now().UnixNano(),
	}
	v.tree.cleaned(nodes, &h)
	limbo := v.alloc.fill(&h)
	return func() error { return v.finishCheckpoint(&h, limbo) }, nil
}

// placeNodes gives every dirty node a place and returns them, children before
// parents. The map of blocks in use is in the tree itself: updating it makes
// nodes dirty, which take places, which change the map. It ends because soon
// all nodes that the map is in are dirty and have a place.
func (v *Volume) placeNodes() ([]*node, error) {
	for {
		changed, err := v.alloc.apply()
		if err != nil {
			return nil, v.fail(err)
		}
		nodes, homeless := v.tree.dirtyNodes()
		if !changed && homeless == 0 {
			return nodes, nil
		}
		if err := v.place(nodes, homeless); err != nil {
			return nil, err
		}
	}
}

// place takes blocks for those nodes that have none.
func (v *Volume) place(nodes []*node, homeless int) error {
	var at format.Ptr
	left := 0
	for _, n := range nodes {
		if n.placed {
			continue
		}
		if left == 0 {
			var err error
			if at, left, err = v.alloc.take(min(homeless, ioBlocks/format.NodeBlocks)*format.NodeBlocks, format.NodeBlocks); err != nil {
				return err
			}
		}
		n.place, n.placed = at, true
		at = at.Skip(format.NodeBlocks)
		left -= format.NodeBlocks
		homeless--
	}
	return nil
}

// dirtyNodes returns the dirty nodes, children before parents, and how many of
// them have no place.
func (t *tree) dirtyNodes() (nodes []*node, homeless int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	nodes = make([]*node, 0, len(t.dirty))
	if root := t.root.Load(); root != nil && root.id != 0 {
		nodes = t.appendDirty(nodes, root)
	}
	for _, n := range nodes {
		if !n.placed {
			homeless++
		}
	}
	return nodes, homeless
}

func (t *tree) appendDirty(nodes []*node, n *node) []*node {
	if n.page.Level() > 0 {
		for i := range n.page.Len() {
			if p := n.page.Child(i); p.Segment == format.NoSegment {
				nodes = t.appendDirty(nodes, t.dirty[p.Counter])
			}
		}
	}
	return append(nodes, n)
}

// writeNodes seals nodes and writes them, those that lie side by side with one
// host call. In memory only node.sealed changes.
func (v *Volume) writeNodes(nodes []*node) error {
	b := v.getBuf()
	defer v.putBuf(b)
	var start format.Ptr
	n := 0 // nodes in b.data
	flush := func() error {
		if n == 0 {
			return nil
		}
		data := b.data[:n*format.NodeSize]
		n = 0
		return v.segs.write(start, data)
	}
	var copied [format.NodeSize]byte
	for _, d := range nodes {
		if n == ioSize/format.NodeSize || n > 0 && !d.place.Follows(start, n*format.NodeBlocks) {
			if err := flush(); err != nil {
				return err
			}
		}
		if n == 0 {
			start = d.place
		}
		page := d.page
		if page.Level() > 0 {
			page = copied[:]
			copy(page, d.page)
			v.tree.patch(page)
		}
		if err := v.sealNode(d, b.data[n*format.NodeSize:(n+1)*format.NodeSize], page); err != nil {
			return err
		}
		n++
	}
	return flush()
}

func (v *Volume) sealNode(d *node, dst, page []byte) error {
	box, counter, err := v.sess.Reserve(1)
	if err != nil {
		return err
	}
	d.sealed.Ptr = d.place
	d.sealed.Counter, d.sealed.Session = counter, box.ID()
	d.sealed.Tag = box.SealDetached(seal.DomainNode, counter, dst, page)
	return nil
}

// patch makes the pointers of page to dirty nodes point to their new places.
// The gate is closed: nothing changes the tree.
func (t *tree) patch(page format.Node) {
	for i := range page.Len() {
		if p := page.Child(i); p.Segment == format.NoSegment {
			page.SetChild(i, t.dirty[p.Counter].sealed)
		}
	}
}

// cleaned makes nodes clean, which were written to their places, and sets what
// a head says about the tree.
func (t *tree) cleaned(nodes []*node, h *format.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	root := t.root.Load()
	for _, n := range nodes {
		if n.page.Level() > 0 {
			t.patch(n.page)
		}
	}
	for _, n := range nodes {
		n.ptr, n.id, n.placed = n.sealed, 0, false
		if n != root {
			t.cache.add(n)
		}
	}
	clear(t.dirty)
	h.Root, h.Height = t.rootAt, uint8(t.height)
	if root != nil {
		h.Root = root.ptr
	}
	t.redo.reset()
}

// finishCheckpoint makes everything written durable, then the head. An error
// leaves open which head is the valid one.
//
// Preconditions: it is the caller's turn.
func (v *Volume) finishCheckpoint(h *format.Head, limbo int) error {
	j := &v.journal
	if j.grow {
		most := max(smallJournal, min(int64(h.Used)*format.BlockSize/16, format.MaxJournal))
		h.Journal = max(h.Journal, min(journalGrowth*h.Journal, uint64(most/format.BlockSize*format.BlockSize)))
	}
	if err := v.segs.sync(); err != nil {
		return v.fail(err)
	}
	h.Prev, h.Anchored, h.Header = v.fresh.tag, v.cfg.Anchor != nil, v.header.Generation
	if err := v.writeHead(h); err != nil {
		return v.fail(err)
	}
	j.off, j.size, j.grow = 0, int64(h.Journal), false
	j.tag = format.HeadTag(v.head.last[:])
	j.seq.Store(h.Commit)
	if err := v.confirm(h.Commit, j.tag); err != nil {
		return v.fail(err)
	}
	v.checkpoint.Add(1)
	for _, seg := range v.alloc.checkpointed(limbo) {
		v.removeSegment(seg)
	}
	return nil
}

// removeSegment removes the file of an empty segment. Failing that, the next
// checkpoint tries again, or a later mount.
func (v *Volume) removeSegment(seg uint32) {
	if err := v.segs.remove(seg); err != nil {
		v.log.Debug("empty segment stays", "segment", seg, "error", err)
		return
	}
	v.alloc.unlinked(seg)
}

// writeHead seals h and writes it to both slots.
func (v *Volume) writeHead(h *format.Head) error {
	if err := v.checkForks(); err != nil {
		return err
	}
	b, err := sealHead(v.sess, h, v.header.UUID)
	if err != nil {
		return err
	}
	for _, at := range headSlots {
		if err := v.writeSlot(b[:], at); err != nil {
			return err
		}
	}
	v.head.last, v.head.seq = b, h.Seq
	return nil
}

func (v *Volume) writeSlot(head []byte, at int64) error {
	if err := v.head.file.WriteAt(head, at); err != nil {
		return err
	}
	return v.head.file.Sync()
}

// mendHeads makes the slots equal again after a crash between writing them. It
// comes before everything that the next head depends on: writing that one starts
// by overwriting a slot.
func (v *Volume) mendHeads() error {
	for i, same := range v.head.same {
		if same {
			continue
		}
		if err := v.writeSlot(v.head.last[:], headSlots[i]); err != nil {
			return err
		}
		v.head.same[i] = true
	}
	return nil
}

// checkForks looks whether the last head is still the one that this mount
// wrote or found: somebody else may write the volume in spite of the lock.
func (v *Volume) checkForks() error {
	var b [format.HeadSize]byte
	n, err := v.head.file.ReadAt(b[:], headSlots[0])
	if err != nil {
		return err
	}
	if n < len(b) || !bytes.Equal(b[:], v.head.last[:]) {
		return &seal.CorruptError{Block: "heads", Reason: "changed by somebody else while the volume was open"}
	}
	return nil
}

// sealHead encodes and seals a head.
func sealHead(s *seal.Session, h *format.Head, uuid [16]byte) (b [format.HeadSize]byte, err error) {
	box, counter, err := s.Reserve(1)
	if err != nil {
		return b, err
	}
	format.EncodeHead(b[:], h, format.HeadPlain{Seq: h.Seq, Session: box.ID(), Counter: counter})
	box.Seal(seal.DomainHead, counter, format.HeadBody(b[:]), headAAD(b[:], uuid))
	return b, nil
}

func headAAD(b []byte, uuid [16]byte) []byte {
	return append(bytes.Clone(format.HeadAAD(b)), uuid[:]...)
}

// openHead opens a slot of the heads file. ok is false if it holds no head of
// this volume.
func openHead(ring *seal.Keyring, b []byte, uuid [16]byte) (h format.Head, ok bool, err error) {
	p, ok := format.DecodeHeadPlain(b)
	if !ok {
		return h, false, nil
	}
	box, err := ring.Box(p.Session)
	if err != nil {
		return h, false, err
	}
	open := bytes.Clone(b[:format.HeadSize])
	if !box.Open(seal.DomainHead, p.Counter, format.HeadBody(open), headAAD(b, uuid)) {
		return h, false, nil
	}
	h, err = format.DecodeHead(open)
	return h, err == nil, err
}

// The journal starts small, and grows to journalGrowth times its size when it was
// full before the other reasons for a checkpoint came up: up to smallJournal, where threads
// that sync a lot wait for a checkpoint seldom enough, or a sixteenth of what the volume holds.
// Only the first part is written in advance.
const (
	firstJournal  = 4 << 20
	smallJournal  = 16 << 20
	journalGrowth = 4
)

// fillZeros makes bytes [from, to) of f durable zeros.
func fillZeros(f store.File, from, to int64) error {
	blank := make([]byte, ioSize)
	for ; from < to; from += ioSize {
		if err := f.WriteAt(blank[:min(ioSize, to-from)], from); err != nil {
			return err
		}
	}
	return f.Sync()
}
