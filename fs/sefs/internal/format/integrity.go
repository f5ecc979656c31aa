package format

import (
	"bytes"
	"encoding/binary"

	"cloister/fs/sefs/internal/seal"
)

// A volume of ModeIntegrity is not encrypted. A pointer to a node has the SHA-256 hash of the node, an
// extent those of its blocks, and the root is the hash of header and head. The messages that are
// hashed have lengths of their own (BlockSize, NodeSize, HeaderSize and more), so that none of
// one kind is ever one of another.

// Labels of what is hashed beside other bytes; one per use, never changed.
const (
	labelIntegrityUUID = "sefs1 integrity uuid"
	labelIntegrityRoot = "sefs1 integrity root"
)

// hashOff is where the hash in a pointer to a node begins; two zero bytes are before it.
const hashOff = NodePtrSize - seal.HashSize

// HashPtr returns the pointer to a node at a place, with the hash of the node. Counter and Session of
// at do not count.
func HashPtr(at Ptr, hash [seal.HashSize]byte) NodePtr {
	var b [NodePtrSize]byte
	PutPtr(b[:], Ptr{Segment: at.Segment, Block: at.Block})
	copy(b[hashOff:], hash[:])
	return GetNodePtr(b[:])
}

// Hash returns the hash in a pointer that HashPtr made.
func (p NodePtr) Hash() (hash [seal.HashSize]byte) {
	var b [NodePtrSize]byte
	PutNodePtr(b[:], p)
	copy(hash[:], b[hashOff:])
	return hash
}

// IntegrityHead returns the HeadSize bytes of the only head of a volume of ModeIntegrity: its
// tree, and the blocks and segments that it takes.
func IntegrityHead(root NodePtr, height int, used uint64, segments uint32) []byte {
	b := make([]byte, HeadSize)
	EncodeHead(b, &Head{
		Commit: 1, Root: root, Height: uint8(height),
		Active: NoSegment, Next: segments, Used: used, Live: uint64(segments), Header: 1,
	}, HeadPlain{Seq: 1})
	return b
}

// IntegrityUUID returns the identity of the volume with this head: a UUID of version 8
// (RFC 9562), so the same for the same content.
func IntegrityUUID(head []byte) (uuid [16]byte) {
	sum := seal.Checksum(append([]byte(labelIntegrityUUID), head...))
	copy(uuid[:], sum[:])
	uuid[6] = uuid[6]&0x0f | 0x80
	uuid[8] = uuid[8]&0x3f | 0x80
	return uuid
}

// NewIntegrityHeader returns the header of the volume with this head, and its HeaderSize bytes.
func NewIntegrityHeader(head []byte) (*Header, []byte) {
	h := NewHeader(IntegrityUUID(head), CipherNone, 0)
	h.Mode, h.Generation = ModeIntegrity, 1
	h.raw[headerMode] = ModeIntegrity
	binary.LittleEndian.PutUint64(h.raw[headerGeneration:], h.Generation)
	sum := seal.Checksum(h.raw[:headerSum])
	copy(h.raw[headerSum:], sum[:])
	return h, bytes.Clone(h.raw[:])
}

// checkIntegrity checks what a header of ModeIntegrity cannot have.
func (h *Header) checkIntegrity() error {
	var zero [headerSum - headerMAC]byte
	if h.Used() != 0 || h.Created != 0 || h.Generation != 1 || !bytes.Equal(h.raw[headerMAC:headerSum], zero[:]) {
		return damagedHeader("it has what only an encrypted volume has")
	}
	return nil
}

// IntegrityRoot returns the root of the volume with this head: it stands for every byte
// that a reader of the volume ever gets. ok is false if the head is not that of the header.
func (h *Header) IntegrityRoot(head []byte) (root [seal.HashSize]byte, ok bool) {
	b := append([]byte(labelIntegrityRoot), h.raw[:]...)
	return seal.Checksum(append(b, head...)), IntegrityUUID(head) == h.UUID
}
