package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// DamageKind says what Check found to be wrong.
type DamageKind uint8

const (
	DamageHead    DamageKind = iota // one of the two copies of the head does not open
	DamageNode                      // a node of the tree: the items of a range of keys are lost
	DamageData                      // blocks of a file
	DamageItem                      // an item that is authentic and impossible
	DamageSpace                     // what is in use and what is said to be in use differ
	DamageJournal                   // the journal: the newest commits are lost
)

// A Damage is one thing that Check found.
type Damage struct {
	Kind DamageKind

	Ino    uint64 // of the file; 0: the volume itself
	Offset int64  // of the first bad byte of the file, for DamageData and where blocks are used twice
	Bytes  int64

	From, To format.Key // DamageNode: no item in [From, To) can be read

	Err error
}

// CheckConfig says what Check reports. All functions are called by the caller of Check,
// one at a time; any may be nil.
type CheckConfig struct {
	// Item is called for each item that can be read, in the order of keys. val is valid
	// during the call only. An error ends Check, which returns it.
	Item func(k format.Key, val []byte) error

	// Damage is called for each thing found, in no particular order; for a lost range
	// of keys before any item behind it.
	Damage func(Damage)

	// Progress is told how many bytes on the host have been verified, of how many.
	Progress func(done, total int64)
}

// Check reads all that the newest state of the volume refers to, and verifies it: the copies
// of the head, every node of the tree, every block of every file, and that each block in use
// is used once and recorded as such. Damage does not end it: what is behind a bad node is left out, and
// the rest is checked.
//
// The volume must be open ReadOnly, or for repair, so that it stands still. Memory: about 40 MiB, and 4 KiB for each
// segment of 64 MiB.
//
// Errors: EINVAL for a volume open for writing; those of ctx and Item; what the host says
// beyond EIO.
func (v *Volume) Check(ctx context.Context, cfg CheckConfig) error {
	if err := v.still("check"); err != nil {
		return err
	}
	c := newChecker(v, ctx, cfg)
	if err := c.heads(); err != nil {
		return err
	}
	c.cut()
	w := walker{v: v, ctx: ctx, item: c.item, node: c.node, lost: c.lostItems}
	if err := w.walk(); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.space()
	return nil
}

// Walk calls item for every item from key from on that can be read, in the order of keys, and
// reads no data. What is behind a damaged node is left out.
//
// Errors: as Check.
func (v *Volume) Walk(ctx context.Context, from format.Key, item func(k format.Key, val []byte) error) error {
	if err := v.still("walk over"); err != nil {
		return err
	}
	w := walker{v: v, ctx: ctx, from: from, item: item, lost: func(lostNode) {}}
	return w.walk()
}

// still returns EINVAL if others may change the volume meanwhile.
func (v *Volume) still(what string) error {
	if v.cfg.Access != ReadOnly && v.mend == nil {
		return fmt.Errorf("sefs: %s a volume that is open for writing: %w", what, unix.EINVAL)
	}
	return nil
}

// JournalBlocks returns how many blocks of each file are in the journal only: no INLINE or EXTENT
// item has them.
//
// Errors: those of the tree; damage of it is none.
func (v *Volume) JournalBlocks() (map[uint64]uint64, error) {
	var keys []pageKey
	v.pages.mu.Lock()
	for key, id := range v.pages.index {
		if s := v.pages.pages[id].state; s == pageDirty || s == pageLogged {
			keys = append(keys, key)
		}
	}
	v.pages.mu.Unlock()
	blocks := make(map[uint64]uint64)
	for _, key := range keys {
		r, err := v.tree.lookup(key.ino, key.block)
		if err != nil && !isDamage(err) {
			return nil, err
		}
		if err == nil && !r.mapped {
			blocks[key.ino]++
		}
	}
	return blocks, nil
}

// isDamage reports whether err is about what was read and not about reading.
func isDamage(err error) bool {
	return errors.As(err, new(*seal.CorruptError)) || errors.Is(err, unix.EIO)
}

// A checker is one run of Check.
type checker struct {
	v   *Volume
	ctx context.Context
	cfg CheckConfig

	done, total int64 // bytes
	nodesLost   bool
	segsLost    bool // items of segments are among what was lost

	batch checkBatch

	used  map[uint32]*format.Bitmap // what the tree refers to
	maps  map[uint32]*format.Bitmap // what the items of segments say
	count uint64                    // blocks the tree refers to
}

func newChecker(v *Volume, ctx context.Context, cfg CheckConfig) *checker {
	if cfg.Damage == nil {
		cfg.Damage = func(Damage) {}
	}
	used, _ := v.alloc.usage()
	return &checker{
		v: v, ctx: ctx, cfg: cfg, total: int64(used) * format.BlockSize,
		used: make(map[uint32]*format.Bitmap), maps: make(map[uint32]*format.Bitmap),
	}
}

func (c *checker) progress(bytes int64) {
	c.done += bytes
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.done, max(c.done, c.total))
	}
}

// heads checks both copies of the head. Open needs one.
func (c *checker) heads() error {
	b := make([]byte, format.HeadStride+format.HeadSize)
	n, err := c.v.head.file.ReadAt(b, 0)
	if err != nil && !isDamage(err) {
		return err
	}
	for i, at := range headSlots {
		ok := false
		if int(at)+format.HeadSize <= n && err == nil {
			ok = c.v.goodHead(b[at : at+format.HeadSize])
		}
		if !ok {
			c.cfg.Damage(Damage{Kind: DamageHead, Err: &seal.CorruptError{
				Block: fmt.Sprintf("copy %d of the head", i+1), Reason: "not authentic",
			}})
		}
	}
	return nil
}

// cut reports what was damaged when the volume was opened for repair, and is no longer in
// the tree.
func (c *checker) cut() {
	if c.v.mend == nil {
		return
	}
	if err := c.v.mend.journal; err != nil {
		c.cfg.Damage(Damage{Kind: DamageJournal, Err: err})
	}
	for _, l := range c.v.mend.lost {
		c.lostItems(l)
	}
}

// lostItems notes that items cannot be read.
func (c *checker) lostItems(l lostNode) {
	c.nodesLost = true
	if l.from.Less(segmentKey(format.NoSegment)) && segmentKey(0).Less(l.to) {
		c.segsLost = true
	}
	c.cfg.Damage(Damage{Kind: DamageNode, From: l.from, To: l.to, Err: l.err})
}

// node notes a node that lies on the host.
func (c *checker) node(n *node) {
	c.take(n.ptr.Ptr, format.NodeBlocks, Damage{})
	c.progress(format.NodeSize)
}

// take notes that n blocks at p are in use; of says by what.
func (c *checker) take(p format.Ptr, n int, of Damage) {
	c.count += uint64(n)
	m := c.used[p.Segment]
	if m == nil {
		m = new(format.Bitmap)
		c.used[p.Segment] = m
	}
	if fresh := m.Set(int(p.Block), n, true); fresh != n {
		of.Kind = DamageSpace
		of.Err = &seal.CorruptError{Block: p.String(), Reason: fmt.Sprintf("%d of %d blocks are used twice", n-fresh, n)}
		c.cfg.Damage(of)
	}
}

func (c *checker) item(k format.Key, val []byte) error {
	switch k.Type {
	case format.TypeInline:
		if len(val) > maxInline {
			c.badItem(k, &format.DamageError{What: "inline data", Reason: "too long"})
		}
	case format.TypeExtent:
		e, err := c.v.extent(k.Off, val)
		if err != nil {
			c.badItem(k, err)
			break
		}
		of := Damage{Ino: k.Ino, Offset: int64(k.Off) * format.BlockSize, Bytes: int64(e.Len()) * format.BlockSize}
		c.take(e.Ptr, e.Len(), of)
		c.batch.add(k, e, c.v.tagSize())
		if c.batch.blocks >= batchBlocks {
			if err := c.flush(); err != nil {
				return err
			}
		}
	case format.TypeSegment:
		c.segment(k, val)
	}
	if c.cfg.Item != nil {
		return c.cfg.Item(k, val)
	}
	return nil
}

func (c *checker) badItem(k format.Key, err error) {
	c.cfg.Damage(Damage{Kind: DamageItem, Ino: k.Ino, Err: err})
}

func (c *checker) segment(k format.Key, val []byte) {
	if k.Off >= format.NoSegment {
		c.badItem(k, &format.DamageError{What: "segment", Reason: "impossible number"})
		return
	}
	if format.IsDeadSegment(val) {
		return
	}
	m := new(format.Bitmap)
	if err := format.DecodeBitmap(val, m); err != nil {
		c.badItem(k, err)
		c.segsLost = true
		return
	}
	c.maps[uint32(k.Off)] = m
}

// space compares what is in use with what is recorded. What cannot be known because
// nodes are lost is left out.
func (c *checker) space() {
	if c.v.root != nil {
		c.packed()
		return
	}
	live := uint64(len(c.maps))
	a := c.v.alloc
	a.spanMu.Lock()
	for _, list := range []struct {
		spans []span
		used  bool
	}{{a.taken, true}, {a.given, false}} {
		for _, s := range list.spans {
			m := c.maps[s.segment]
			if m == nil {
				m = new(format.Bitmap)
				c.maps[s.segment] = m
			}
			m.Set(int(s.first), int(s.n), list.used)
		}
	}
	a.spanMu.Unlock()
	all := maps.Clone(c.maps)
	maps.Copy(all, c.used)
	for _, seg := range slices.Sorted(maps.Keys(all)) {
		c.compare(seg)
		if c.used[seg] != nil && seg >= a.next {
			c.wrongSpace("head", fmt.Sprintf("segment %d is in use, and %d is said to be the next new one", seg, a.next))
		}
	}
	if used, segs := a.usage(); !c.nodesLost && !c.segsLost && (used != c.count || segs != live) {
		c.wrongSpace("head", fmt.Sprintf("it says %d blocks in %d segments, there are %d in %d", used, segs, c.count, live))
	}
}

// compare checks the record of one segment.
func (c *checker) compare(seg uint32) {
	var none format.Bitmap
	used, said := c.used[seg], c.maps[seg]
	used, said = cmp.Or(used, &none), cmp.Or(said, &none)
	unsaid, unused := 0, 0
	for i := range used {
		unsaid += bits.OnesCount64(used[i] &^ said[i])
		unused += bits.OnesCount64(said[i] &^ used[i])
	}
	name := fmt.Sprintf("segment %d", seg)
	if unsaid > 0 && !c.segsLost {
		c.wrongSpace(name, fmt.Sprintf("%d blocks in use are recorded as free", unsaid))
	}
	if unused > 0 && !c.nodesLost {
		c.wrongSpace(name, fmt.Sprintf("%d blocks recorded as in use belong to nothing", unused))
	}
}

func (c *checker) wrongSpace(block, reason string) {
	c.cfg.Damage(Damage{Kind: DamageSpace, Err: &seal.CorruptError{Block: block, Reason: reason}})
}
