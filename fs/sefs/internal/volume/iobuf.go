package volume

import (
	"sync"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// ioSize is the largest host call for data, in bytes; ioBlocks in blocks.
const (
	ioSize   = 1 << 20
	ioBlocks = ioSize / format.BlockSize
)

// keptBufs is how many I/O buffers stay allocated when nobody uses them.
const keptBufs = 8

// An ioBuf is what one transfer of up to ioBlocks blocks needs.
type ioBuf struct {
	data   [ioSize + seal.TagSize]byte // sealed blocks, and room for a tag
	plain  [ioBlocks][]byte            // set from the first on
	tags   [ioBlocks * seal.HashSize]byte
	run    seal.Run
	pieces []piece
	spots  []spot   // where write puts it
	runs   []placed // and what that is
	inline [format.BlockSize]byte
	ids    [ioBlocks]pageID
	isNew  [ioBlocks]bool
	hole   [ioBlocks]bool

	sending sending
	fetch   fetch
}

// ioBufs are the buffers that nobody uses. The last one used is the first to be
// used again: the processor still has it at hand.
type ioBufs struct {
	mu   sync.Mutex
	free []*ioBuf
}

func (v *Volume) getBuf() *ioBuf {
	v.bufs.mu.Lock()
	defer v.bufs.mu.Unlock()
	n := len(v.bufs.free)
	if n == 0 {
		b := new(ioBuf)
		b.sending.v, b.sending.b = v, b
		b.fetch.v, b.fetch.b, b.fetch.done = v, b, true
		return b
	}
	b := v.bufs.free[n-1]
	v.bufs.free = v.bufs.free[:n-1]
	return b
}

func (v *Volume) putBuf(b *ioBuf) {
	for i := 0; i < ioBlocks && b.plain[i] != nil; i++ {
		b.plain[i] = nil // do not keep the callers' memory alive
	}
	b.run = seal.Run{}
	v.bufs.mu.Lock()
	defer v.bufs.mu.Unlock()
	if len(v.bufs.free) < keptBufs {
		v.bufs.free = append(v.bufs.free, b)
	}
}

// A spot is a run of blocks of a segment.
type spot struct {
	at format.Ptr
	n  int
}

// write seals b.plain[:n], in which block i is that of key(i), and writes it, or
// begins to: the caller calls sent. b.runs says where the blocks lie then.
func (v *Volume) write(b *ioBuf, n int, key func(i int) pageKey) (*sending, error) {
	if err := v.takeSpots(b, n); err != nil {
		return nil, err
	}
	sealed, err := v.sealBlocks(b, n)
	if err != nil {
		v.giveSpots(b)
		return nil, err
	}
	b.setRuns(sealed, n, key)
	w, err := v.send(b, n)
	if err != nil {
		v.giveSpots(b)
	}
	return w, err
}

// takeSpots takes n blocks, as few runs as there are, as b.spots.
func (v *Volume) takeSpots(b *ioBuf, n int) error {
	b.spots = b.spots[:0]
	for n > 0 {
		p, got, err := v.alloc.take(n, 1)
		if err != nil {
			v.giveSpots(b)
			return err
		}
		n -= got
		if last := len(b.spots) - 1; last >= 0 && p.Follows(b.spots[last].at, b.spots[last].n) {
			b.spots[last].n += got
			continue
		}
		b.spots = append(b.spots, spot{p, got})
	}
	return nil
}

func (v *Volume) giveSpots(b *ioBuf) {
	for _, s := range b.spots {
		v.alloc.give(s.at, s.n)
	}
}

// sealBlocks seals b.plain[:n] to b.data and sets the tags. It returns the session
// and the counter of the first block.
func (v *Volume) sealBlocks(b *ioBuf, n int) (p format.Ptr, err error) {
	box, counter, err := v.sess.Reserve(n)
	if err != nil {
		return p, err
	}
	b.run = seal.Run{
		Box:     box,
		Domain:  seal.DomainData,
		Counter: counter,
		Plain:   b.plain[:n],
		Cipher:  b.data[:n*format.BlockSize],
		Tags:    b.tags[:n*seal.TagSize],
		Room:    true,
	}
	v.crypt.Seal(&b.run)
	p.Counter, p.Session = counter, box.ID()
	return p, nil
}

// setRuns sets b.runs to where the first n blocks of b will lie.
func (b *ioBuf) setRuns(sealed format.Ptr, n int, key func(i int) pageKey) {
	b.runs = b.runs[:0]
	i := 0
	for _, s := range b.spots {
		for from, to := i, min(i+s.n, n); i < to; {
			p := s.at.Skip(i - from)
			p.Session, p.Counter = sealed.Session, sealed.Counter+uint64(i)
			first, start := key(i), i
			for i++; i < to && i-start < format.MaxExtent && key(i) == (pageKey{first.ino, first.block + uint64(i-start)}); {
				i++
			}
			tags := b.tags[start*seal.TagSize : i*seal.TagSize]
			b.runs = append(b.runs, placed{first.ino, first.block, format.Extent{Ptr: p, Tags: tags}})
		}
	}
}

// openBlocks opens cipher, sealed blocks that lie at p, to plain. cipher is part of
// b.data.
func (v *Volume) openBlocks(b *ioBuf, p format.Ptr, cipher []byte, plain [][]byte, tags []byte) error {
	if v.root != nil {
		return v.verifyBlocks(b, p, cipher, plain, tags)
	}
	box, err := v.ring.Box(p.Session)
	if err != nil {
		return err
	}
	b.run = seal.Run{Box: box, Domain: seal.DomainData, Counter: p.Counter, Plain: plain, Cipher: cipher, Tags: tags, Room: true}
	if bad := v.crypt.Open(&b.run); bad >= 0 {
		return notAuthentic(p.Skip(bad))
	}
	return nil
}

// A nodeBuf is what reading nodes needs.
type nodeBuf [cluster * format.NodeSize]byte

// readNodes reads and opens nodes that lie side by side on the host.
func (v *Volume) readNodes(ptrs []format.NodePtr, nodes []*node) error {
	pooled := v.nodeBufs.Get().(*nodeBuf)
	defer v.nodeBufs.Put(pooled)
	buf := pooled[:len(ptrs)*format.NodeSize]
	if err := v.segs.read(ptrs[0].Ptr, buf); err != nil {
		return err
	}
	for i, p := range ptrs {
		n := nodes[i]
		n.ptr = p
		if err := v.openNode(p, n.page, buf[i*format.NodeSize:(i+1)*format.NodeSize]); err != nil {
			return err
		}
	}
	return nil
}
