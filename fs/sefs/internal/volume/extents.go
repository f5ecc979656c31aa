package volume

import (
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// maxInline is the most bytes of block 0 that are stored as an item. What is
// behind them in the block is zeros.
const maxInline = 2048

// MaxInline is the most bytes of an INLINE item.
const MaxInline = maxInline

// endBlock is behind every block of a file.
const endBlock = format.MaxBlock + 1

func extentKey(ino, block uint64) format.Key {
	return format.Key{Ino: ino, Type: format.TypeExtent, Off: block}
}

func inlineKey(ino uint64) format.Key { return format.Key{Ino: ino, Type: format.TypeInline} }

// mapExtent records that blocks of a file lie at e from now on, and gives back
// where they lay before. It returns how many of them were not holes.
func (t *tree) mapExtent(ino, block uint64, e format.Extent) (was int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, err = t.mapExtentLocked(ino, block, e)
	if err == nil {
		t.redo.mapped(ino, block, e)
	}
	return was, err
}

func (t *tree) mapExtentLocked(ino, block uint64, e format.Extent) (was int, err error) {
	key := extentKey(ino, block)
	var path [format.MaxHeight + 1]step
	if err := t.dirtyPathLocked(key, &path); err != nil {
		return 0, err
	}
	leaf, i := path[0].n.page, path[0].i
	if i < leaf.Len() && leaf.Key(i) == key {
		if old := leaf.Value(i); len(old) == format.PtrSize+len(e.Tags) {
			// The same blocks again: the usual case of overwriting.
			t.free(format.GetPtr(old), e.Len())
			format.AppendExtent(old[:0], e)
			return e.Len(), nil
		}
	}
	if was, err = t.unmapLocked(ino, block, block+uint64(e.Len())); err != nil {
		return 0, err
	}
	var val [format.MaxValue]byte
	return was, t.putLocked(key, format.AppendExtent(val[:0], e))
}

// putInline stores block 0 of a file as an item and gives back the block that
// held it. It returns how many blocks were not holes: 0 or 1.
func (t *tree) putInline(ino uint64, data []byte) (was int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	has, err := t.hasLocked(inlineKey(ino))
	if err != nil {
		return 0, err
	}
	if has {
		was = 1
	} else if was, err = t.unmapLocked(ino, 0, 1); err != nil {
		return 0, err
	} else if was > 0 {
		t.redo.unmapped(ino, 0, 1)
	}
	if err := t.putLocked(inlineKey(ino), data); err != nil {
		return 0, err
	}
	t.redo.put(inlineKey(ino), data)
	return was, nil
}

// unmap makes blocks [from, to) of a file holes. It returns how many were not
// holes. always asks for a redo operation even if all were: blocks of the
// range may be in the journal only.
func (t *tree) unmap(ino, from, to uint64, always bool) (was int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, err = t.unmapLocked(ino, from, to)
	if err == nil && (was > 0 || always) {
		t.redo.unmapped(ino, from, to)
	}
	return was, err
}

func (t *tree) unmapLocked(ino, from, to uint64) (was int, err error) {
	if from >= to {
		return 0, nil
	}
	if from == 0 {
		has, err := t.deleteLocked(inlineKey(ino))
		if err != nil {
			return 0, err
		}
		if has {
			was++
		}
	}
	var buf [format.MaxValue]byte
	for {
		start, val, err := t.overlapLocked(ino, from, to, buf[:0])
		if val == nil || err != nil {
			return was, err
		}
		n, err := t.cutLocked(ino, start, val, from, to)
		if err != nil {
			return was, err
		}
		was += n
		if from = max(from, start) + uint64(n); from >= to {
			return was, nil
		}
	}
}

// overlapLocked appends to dst the first extent that has blocks in [from, to);
// nil if there is none.
func (t *tree) overlapLocked(ino, from, to uint64, dst []byte) (start uint64, val []byte, err error) {
	c := cursor{t: t}
	ok, err := c.overlap(ino, from, to)
	if !ok || err != nil || c.key().Off >= to {
		return 0, nil, err
	}
	return c.key().Off, append(dst, c.value()...), nil
}

// overlap goes to the first extent of ino that ends behind block from; false
// if there is none that begins before block to.
func (c *cursor) overlap(ino, from, to uint64) (bool, error) {
	c.low, c.high = extentKey(ino, from-min(from, format.MaxExtent-1)), extentKey(ino, to)
	ok, err := c.floor(extentKey(ino, from))
	if err != nil {
		return false, err
	}
	if ok {
		if k := c.key(); k.Ino == ino && k.Type == format.TypeExtent {
			e, err := c.extent()
			if err != nil || k.Off+uint64(e.Len()) > from {
				return err == nil, err
			}
		}
		ok, err = c.next()
	} else {
		ok, err = c.seek(extentKey(ino, from))
	}
	if !ok || err != nil {
		return false, err
	}
	k := c.key()
	return k.Ino == ino && k.Type == format.TypeExtent, nil
}

// extent decodes the item under the cursor; the tags are the tree's.
func (c *cursor) extent() (format.Extent, error) { return decodeExtent(c.key().Off, c.value()) }

func decodeExtent(start uint64, val []byte) (format.Extent, error) {
	e, err := format.DecodeExtent(val)
	if err == nil && (start > format.MaxBlock || start+uint64(e.Len()) > endBlock) {
		err = &format.DamageError{What: "extent", Reason: "behind the largest file"}
	}
	if err != nil {
		return e, &seal.CorruptError{Block: "tree", Reason: err.Error()}
	}
	return e, nil
}

// cutLocked takes blocks [from, to) out of the extent val at block start and
// returns how many those are.
func (t *tree) cutLocked(ino, start uint64, val []byte, from, to uint64) (int, error) {
	e, err := decodeExtent(start, val)
	if err != nil {
		return 0, err
	}
	lo := int(max(from, start) - start)
	hi := int(min(to-start, uint64(e.Len())))
	var buf [format.MaxValue]byte
	if hi < e.Len() {
		right := format.AppendExtent(buf[:0], e.Part(hi, e.Len()))
		if err := t.putLocked(extentKey(ino, start+uint64(hi)), right); err != nil {
			return 0, err
		}
	}
	if lo > 0 {
		err = t.putLocked(extentKey(ino, start), format.AppendExtent(buf[:0], e.Part(0, lo)))
	} else {
		_, err = t.deleteLocked(extentKey(ino, start))
	}
	if err != nil {
		return 0, err
	}
	t.free(e.Ptr.Skip(lo), hi-lo)
	return hi - lo, nil
}

// A reach is a range of blocks of a file that are all holes or all not.
type reach struct {
	from, to uint64
	mapped   bool
}

// lookup returns the reach that block is in; it may be cut short at either end.
func (t *tree) lookup(ino, block uint64) (reach, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if block == 0 {
		if has, err := t.hasLocked(inlineKey(ino)); has || err != nil {
			return reach{0, 1, has}, err
		}
	}
	c := cursor{t: t}
	ok, err := c.overlap(ino, block, endBlock)
	if err != nil {
		return reach{}, err
	}
	if !ok {
		return reach{block, endBlock, false}, nil
	}
	start := c.key().Off
	if start > block {
		return reach{block, start, false}, nil
	}
	e, err := c.extent()
	return reach{start, start + uint64(e.Len()), true}, err
}

// A piece is part of a file that is not a hole.
type piece struct {
	block  uint64 // of the file
	n      int
	ptr    format.Ptr
	tags   []byte
	inline bool // block 0 is in ioBuf.inline
}

// collect fills b.pieces with what blocks [from, to) of a file consist of, at
// most len(ioBuf.tags)/16 blocks.
func (t *tree) collect(ino, from, to uint64, hint scanHint, b *ioBuf) error {
	b.pieces = b.pieces[:0]
	tags := b.tags[:0]
	t.mu.RLock()
	defer t.mu.RUnlock()
	if from == 0 {
		data, err := t.getLocked(inlineKey(ino), b.inline[:0])
		switch {
		case err == nil && len(data) > maxInline:
			return &seal.CorruptError{Block: "tree", Reason: "inline data too long"}
		case err == nil:
			clear(b.inline[len(data):])
			b.pieces = append(b.pieces, piece{n: 1, inline: true})
		case err != unix.ENOENT:
			return err
		}
	}
	c := cursor{t: t, hint: hint}
	ok, err := c.overlap(ino, from, to)
	for ; ok && err == nil; ok, err = c.next() {
		k := c.key()
		if k.Ino != ino || k.Type != format.TypeExtent || k.Off >= to {
			break
		}
		e, err := c.extent()
		if err != nil {
			return err
		}
		lo := int(max(from, k.Off) - k.Off)
		hi := int(min(to-k.Off, uint64(e.Len())))
		if lo >= hi {
			continue
		}
		e = e.Part(lo, hi)
		mark := len(tags)
		tags = append(tags, e.Tags...)
		b.pieces = append(b.pieces, piece{block: k.Off + uint64(lo), n: hi - lo, ptr: e.Ptr, tags: tags[mark:]})
		if k.Off+uint64(hi) >= to { // the next item may be in a leaf that nobody wants
			break
		}
	}
	return err
}
