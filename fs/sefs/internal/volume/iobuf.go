package volume

import (
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
	data   [ioSize]byte // sealed blocks
	plain  [ioBlocks][]byte
	tags   [ioBlocks * seal.TagSize]byte
	run    seal.Run
	pieces []piece
	inline [format.BlockSize]byte
	ids    [ioBlocks]pageID
}

func (v *Volume) getBuf() *ioBuf {
	select {
	case b := <-v.bufs:
		return b
	default:
		return new(ioBuf)
	}
}

func (v *Volume) putBuf(b *ioBuf) {
	clear(b.plain[:]) // do not keep the callers' memory alive
	b.run = seal.Run{}
	select {
	case v.bufs <- b:
	default:
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
	}
	v.crypt.Seal(&b.run)
	p.Counter, p.Session = counter, box.ID()
	return p, nil
}

// openBlocks opens cipher, sealed blocks that lie at p, to plain.
func (v *Volume) openBlocks(b *ioBuf, p format.Ptr, cipher []byte, plain [][]byte, tags []byte) error {
	box, err := v.ring.Box(p.Session)
	if err != nil {
		return err
	}
	b.run = seal.Run{Box: box, Domain: seal.DomainData, Counter: p.Counter, Plain: plain, Cipher: cipher, Tags: tags}
	if bad := v.crypt.Open(&b.run); bad >= 0 {
		return &seal.CorruptError{Block: p.Skip(bad).String(), Reason: "not authentic"}
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
		box, err := v.ring.Box(p.Session)
		if err != nil {
			return err
		}
		n := nodes[i]
		n.ptr = p
		if !box.OpenDetached(seal.DomainNode, p.Counter, n.page, buf[i*format.NodeSize:(i+1)*format.NodeSize], p.Tag[:]) {
			return &seal.CorruptError{Block: p.String(), Reason: "not authentic"}
		}
	}
	return nil
}
