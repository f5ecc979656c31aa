package format

import (
	"encoding/binary"
	"fmt"

	"cloister/fs/sefs/internal/seal"
)

// PtrSize is the encoded length of a Ptr, NodePtrSize of a NodePtr, in bytes.
const (
	PtrSize     = 24
	NodePtrSize = PtrSize + seal.TagSize
)

// NoSegment is a segment number that no segment has. A NodePtr with it stands
// for a node that has no place on the host yet, named by Counter.
const NoSegment = 1<<32 - 1

// maxCounter is the largest counter that a pointer holds: 48 bits.
const maxCounter = 1<<48 - 1

// A Ptr tells where on the host a run of blocks begins, and the session and
// counter under which its first block was sealed.
type Ptr struct {
	Segment uint32
	Block   uint16
	Counter uint64 // below 2^48
	Session seal.SessionID
}

// String names the block for errors.
func (p Ptr) String() string { return fmt.Sprintf("segment %d block %d", p.Segment, p.Block) }

// Skip returns the pointer to the block n blocks further.
func (p Ptr) Skip(n int) Ptr {
	p.Block += uint16(n)
	p.Counter += uint64(n)
	return p
}

// Follows reports whether p is the block right behind n blocks at o, on the
// host and in the order of sealing.
func (p Ptr) Follows(o Ptr, n int) bool {
	return p.Segment == o.Segment && int(p.Block) == int(o.Block)+n
}

// Check reports whether n blocks at p can be in a segment.
func (p Ptr) Check(n int) bool {
	return p.Segment != NoSegment && n > 0 && int(p.Block)+n <= SegmentBlocks && p.Counter <= maxCounter-uint64(n)
}

// PutPtr writes p to the first PtrSize bytes of b.
func PutPtr(b []byte, p Ptr) {
	_ = b[PtrSize-1]
	binary.LittleEndian.PutUint32(b, p.Segment)
	binary.LittleEndian.PutUint64(b[4:], p.Counter<<16|uint64(p.Block))
	copy(b[12:PtrSize], p.Session[:])
}

// GetPtr reads a pointer from the first PtrSize bytes of b.
func GetPtr(b []byte) (p Ptr) {
	_ = b[PtrSize-1]
	p.Segment = binary.LittleEndian.Uint32(b)
	both := binary.LittleEndian.Uint64(b[4:])
	p.Block, p.Counter = uint16(both), both>>16
	copy(p.Session[:], b[12:PtrSize])
	return p
}

// A NodePtr is the pointer to a node of the tree with the tag that
// authenticates its content.
type NodePtr struct {
	Ptr
	Tag [seal.TagSize]byte
}

// IsZero reports whether p is the zero value, which stands for "no node".
func (p NodePtr) IsZero() bool { return p == NodePtr{} }

// PutNodePtr writes p to the first NodePtrSize bytes of b.
func PutNodePtr(b []byte, p NodePtr) {
	PutPtr(b, p.Ptr)
	copy(b[PtrSize:NodePtrSize], p.Tag[:])
}

// GetNodePtr reads a pointer from the first NodePtrSize bytes of b.
func GetNodePtr(b []byte) (p NodePtr) {
	p.Ptr = GetPtr(b)
	copy(p.Tag[:], b[PtrSize:NodePtrSize])
	return p
}
