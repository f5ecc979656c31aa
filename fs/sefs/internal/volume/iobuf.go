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
	runs   []placed
	inline [format.BlockSize]byte
	ids    [ioBlocks]pageID
	isNew  [ioBlocks]bool
	hole   [ioBlocks]bool

	sending sending
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
		return new(ioBuf)
	}
	b := v.bufs.free[n-1]
	v.bufs.free = v.bufs.free[:n-1]
	return b
}

func (v *Volume) putBuf(b *ioBuf) {
	for i := 0; i < ioBlocks && b.plain[i] != nil; i++ {
		b.plain[i] = nil // do not keep the callers' memory alive
	}
	b.run, b.sending = seal.Run{}, sending{}
	v.bufs.mu.Lock()
	defer v.bufs.mu.Unlock()
	if len(v.bufs.free) < keptBufs {
		v.bufs.free = append(v.bufs.free, b)
	}
}

// sealBlocks seals b.plain[from:to] to the same places of b.data and sets the
// tags; the blocks will lie at p and behind it. It returns p completed.
func (v *Volume) sealBlocks(b *ioBuf, p format.Ptr, from, to int) (format.Ptr, error) {
	box, counter, err := v.sess.Reserve(to - from)
	if err != nil {
		return p, err
	}
	b.run = seal.Run{
		Box:     box,
		Domain:  seal.DomainData,
		Counter: counter,
		Plain:   b.plain[from:to],
		Cipher:  b.data[from*format.BlockSize : to*format.BlockSize],
		Tags:    b.tags[from*seal.TagSize : to*seal.TagSize],
		Room:    true,
	}
	v.crypt.Seal(&b.run)
	p.Counter, p.Session = counter, box.ID()
	return p, nil
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
