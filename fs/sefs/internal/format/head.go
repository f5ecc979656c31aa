package format

import "encoding/binary"

// A heads file has two slots of HeadSize bytes, HeadStride apart, written in
// turn by checkpoints.
const (
	HeadSize   = 512
	HeadStride = 4096
	headPlain  = 64 // bytes before the sealed body
	headTag    = HeadSize - 16
)

const headMagic = 0x3144414548464553 // "SEFHEAD1"

// A Head is the root of one checkpoint.
type Head struct {
	Seq     uint64  // number of the checkpoint; the valid head with the highest counts
	Commit  uint64  // number of the last commit that the checkpoint contains
	Root    NodePtr // zero: the tree is empty
	Height  uint8   // level of the root; leaves are level 0
	Active  uint32  // segment being filled; NoSegment: none
	Next    uint32  // number of the next new segment
	Used    uint64  // blocks in use
	Live    uint64  // segments in use
	Journal uint64  // bytes of the journal that may be written
	Time    int64   // nanoseconds since 1970

	Anchored bool     // written under a freshness counter
	Prev     [16]byte // tag of the record, or head, of the commit before
	Header   uint64   // generation of the header when it was written
}

// Offsets within a head slot: in clear, and in the sealed body.
const (
	headSeq     = 8
	headSession = 16
	headCounter = 32

	headCommit  = headPlain + 0
	headRoot    = headPlain + 8
	headHeight  = headPlain + 48
	headActive  = headPlain + 52
	headNext    = headPlain + 56
	headUsed    = headPlain + 64
	headLive    = headPlain + 72
	headJournal = headPlain + 80
	headTime    = headPlain + 88
	headFlags   = headPlain + 49
	headPrev    = headPlain + 96
	headHeader  = headPlain + 112
)

const flagAnchored = 1 // of headFlags

// HeadPlain is what a head slot shows before it is opened: which key and
// nonce to open it with.
type HeadPlain struct {
	Seq     uint64
	Session [12]byte
	Counter uint64
}

// EncodeHead writes h and p to b, which has HeadSize bytes. The bytes of
// HeadBody are then sealed in place, with those of HeadAAD authenticated.
func EncodeHead(b []byte, h *Head, p HeadPlain) {
	clear(b[:HeadSize])
	le := binary.LittleEndian
	le.PutUint64(b, headMagic)
	le.PutUint64(b[headSeq:], p.Seq)
	copy(b[headSession:], p.Session[:])
	le.PutUint64(b[headCounter:], p.Counter)
	le.PutUint64(b[headCommit:], h.Commit)
	PutNodePtr(b[headRoot:], h.Root)
	b[headHeight] = h.Height
	le.PutUint32(b[headActive:], h.Active)
	le.PutUint32(b[headNext:], h.Next)
	le.PutUint64(b[headUsed:], h.Used)
	le.PutUint64(b[headLive:], h.Live)
	le.PutUint64(b[headJournal:], h.Journal)
	le.PutUint64(b[headTime:], uint64(h.Time))
	if h.Anchored {
		b[headFlags] = flagAnchored
	}
	copy(b[headPrev:], h.Prev[:])
	le.PutUint64(b[headHeader:], h.Header)
}

// HeadBody returns the part of an encoded head that is sealed, tag included.
func HeadBody(b []byte) []byte { return b[headPlain:HeadSize] }

// HeadAAD returns the part that is authenticated but in clear.
func HeadAAD(b []byte) []byte { return b[:headPlain] }

// HeadTag returns the tag of a sealed head, to which the journal is chained.
func HeadTag(b []byte) (tag [16]byte) {
	copy(tag[:], b[headTag:])
	return tag
}

// DecodeHeadPlain reads what an unopened slot shows; ok is false if b is no head.
func DecodeHeadPlain(b []byte) (p HeadPlain, ok bool) {
	if len(b) < HeadSize || binary.LittleEndian.Uint64(b) != headMagic {
		return p, false
	}
	p.Seq = binary.LittleEndian.Uint64(b[headSeq:])
	copy(p.Session[:], b[headSession:])
	p.Counter = binary.LittleEndian.Uint64(b[headCounter:])
	return p, true
}

// MaxHeight bounds the height of a tree: far above what 2^64 items need.
const MaxHeight = 20

// MaxJournal is the largest journal, in bytes.
const MaxJournal = 64 << 20

// DecodeHead reads an opened head.
func DecodeHead(b []byte) (h Head, err error) {
	le := binary.LittleEndian
	h = Head{
		Seq:     le.Uint64(b[headSeq:]),
		Commit:  le.Uint64(b[headCommit:]),
		Root:    GetNodePtr(b[headRoot:]),
		Height:  b[headHeight],
		Active:  le.Uint32(b[headActive:]),
		Next:    le.Uint32(b[headNext:]),
		Used:    le.Uint64(b[headUsed:]),
		Live:    le.Uint64(b[headLive:]),
		Journal: le.Uint64(b[headJournal:]),
		Time:    int64(le.Uint64(b[headTime:])),

		Anchored: b[headFlags] == flagAnchored,
		Prev:     [16]byte(b[headPrev:]),
		Header:   le.Uint64(b[headHeader:]),
	}
	switch {
	case b[headFlags]&^flagAnchored != 0:
		return h, &DamageError{"head", "unknown flags"}
	case h.Height > MaxHeight:
		return h, &DamageError{"head", "tree too high"}
	case !h.Root.IsZero() && !h.Root.Check(NodeBlocks):
		return h, &DamageError{"head", "root outside of a segment"}
	case h.Journal > MaxJournal || h.Journal%BlockSize != 0:
		return h, &DamageError{"head", "impossible journal size"}
	case h.Active != NoSegment && h.Active >= h.Next:
		return h, &DamageError{"head", "active segment does not exist"}
	}
	return h, nil
}
