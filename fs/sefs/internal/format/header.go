package format

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/seal"
)

// Version of the format that this package writes. A reader refuses another
// major version; minor versions only add what features announce.
const (
	Major = 1
	Minor = 0
)

// Feature bits known to this version: none yet. An unknown incompatible bit
// refuses the mount, an unknown read-only-compatible bit a read-write mount.
const (
	knownIncompat = 0
	knownROCompat = 0
)

// Sizes fixed by version 1, in bytes and blocks.
const (
	HeaderSize    = 4096
	NodeSize      = 8192
	NodeBlocks    = NodeSize / BlockSize
	SegmentBlocks = 16384 // 64 MiB
)

// ModeEncrypted is a volume that is encrypted and authenticated. Mode 2 is
// kept for volumes that are only authenticated.
const ModeEncrypted = 1

// Ciphers.
const (
	CipherAES128 = 1 // AES-128-GCM
	CipherAES256 = 2 // AES-256-GCM
)

var magic = []byte("\x89SEFS\r\n\x1a")

// MaxSlots is the number of key slots that a header has room for.
const MaxSlots = 3

// Offsets within the header.
const (
	headerMajor    = 8
	headerMinor    = 10
	headerLen      = 12
	headerIncompat = 16
	headerROCompat = 24
	headerCompat   = 32
	headerUUID     = 40
	headerMode     = 56
	headerCipher   = 57
	headerSlots    = 58
	headerBlock    = 60
	headerNode     = 64
	headerSegment  = 68
	headerCreated  = 72
	headerFixed    = 256 // what comes before the slots
	headerSum      = HeaderSize - 32
)

// A Header is the superblock of a volume: the file SEFS.
type Header struct {
	UUID     [16]byte
	Cipher   uint8
	ROCompat uint64
	Compat   uint64
	Created  int64 // seconds since 1970
	Slots    []Slot
	Wrapped  []seal.Wrapped // one for each slot

	raw [HeaderSize]byte // as read or encoded: what AAD covers
}

// KeySize returns the length of the volume's AES keys, in bytes.
func (h *Header) KeySize() int {
	if h.Cipher == CipherAES256 {
		return 32
	}
	return 16
}

// NewHeader returns the header of a new volume. Its slots have no wrapped
// secret yet: for each one call AAD and SetWrapped, then Encode.
func NewHeader(uuid [16]byte, cipher uint8, created int64, slots ...Slot) (*Header, error) {
	if len(slots) == 0 || len(slots) > MaxSlots {
		return nil, fmt.Errorf("format: a volume has 1 to %d key slots, not %d: %w", MaxSlots, len(slots), unix.EINVAL)
	}
	h := &Header{UUID: uuid, Cipher: cipher, Created: created, Slots: slots, Wrapped: make([]seal.Wrapped, len(slots))}
	b := h.raw[:]
	copy(b, magic)
	binary.LittleEndian.PutUint16(b[headerMajor:], Major)
	binary.LittleEndian.PutUint16(b[headerMinor:], Minor)
	binary.LittleEndian.PutUint32(b[headerLen:], HeaderSize)
	copy(b[headerUUID:], uuid[:])
	b[headerMode] = ModeEncrypted
	b[headerCipher] = cipher
	b[headerSlots] = byte(len(slots))
	binary.LittleEndian.PutUint32(b[headerBlock:], BlockSize)
	binary.LittleEndian.PutUint32(b[headerNode:], NodeSize)
	binary.LittleEndian.PutUint32(b[headerSegment:], SegmentBlocks)
	binary.LittleEndian.PutUint64(b[headerCreated:], uint64(created))
	for i := range slots {
		if err := slots[i].Check(); err != nil {
			return nil, err
		}
		slots[i].put(b[headerFixed+i*slotSize:])
	}
	return h, nil
}

// AAD returns what the wrapped secret of slot i authenticates: the header up
// to the slots, without their number, and the slot's own description.
func (h *Header) AAD(i int) []byte {
	aad := bytes.Clone(h.raw[:headerFixed])
	aad[headerSlots] = 0
	at := headerFixed + i*slotSize
	return append(aad, h.raw[at:at+slotCheck]...)
}

// SetWrapped sets the wrapped secret of slot i.
func (h *Header) SetWrapped(i int, w seal.Wrapped) {
	h.Wrapped[i] = w
	b := h.raw[headerFixed+i*slotSize:]
	copy(b[slotCheck:], w.Check[:])
	copy(b[slotNonce:], w.Nonce[:])
	copy(b[slotBox:], w.Box[:])
}

// Encode returns the HeaderSize bytes of the header.
func (h *Header) Encode() []byte {
	sum := seal.Checksum(h.raw[:headerSum])
	copy(h.raw[headerSum:], sum[:])
	return bytes.Clone(h.raw[:])
}

// DecodeHeader reads a header. What it returns is not authenticated before a
// slot has been opened.
//
// Errors: EINVAL if b is no header, or of a version or with features that this
// package does not know; *seal.KeyError (EACCES) if the header is damaged.
func DecodeHeader(b []byte) (*Header, error) {
	if len(b) < HeaderSize || !bytes.Equal(b[:len(magic)], magic) {
		return nil, fmt.Errorf("format: no SEFS superblock: %w", unix.EINVAL)
	}
	h := &Header{}
	copy(h.raw[:], b)
	b = h.raw[:]
	if v := binary.LittleEndian.Uint16(b[headerMajor:]); v != Major {
		return nil, fmt.Errorf("format: superblock of version %d, this program knows %d: %w", v, Major, unix.EINVAL)
	}
	if sum := seal.Checksum(b[:headerSum]); !bytes.Equal(sum[:], b[headerSum:]) {
		return nil, &seal.KeyError{Reason: "the header of the volume is damaged"}
	}
	if bits := binary.LittleEndian.Uint64(b[headerIncompat:]) &^ knownIncompat; bits != 0 {
		return nil, fmt.Errorf("format: unknown incompatible features %#x: %w", bits, unix.EINVAL)
	}
	switch {
	case b[headerMode] != ModeEncrypted:
		return nil, fmt.Errorf("format: unknown mode %d of a volume: %w", b[headerMode], unix.EINVAL)
	case b[headerCipher] != CipherAES128 && b[headerCipher] != CipherAES256:
		return nil, fmt.Errorf("format: unknown cipher %d: %w", b[headerCipher], unix.EINVAL)
	case binary.LittleEndian.Uint32(b[headerLen:]) != HeaderSize,
		binary.LittleEndian.Uint32(b[headerBlock:]) != BlockSize,
		binary.LittleEndian.Uint32(b[headerNode:]) != NodeSize,
		binary.LittleEndian.Uint32(b[headerSegment:]) != SegmentBlocks:
		return nil, fmt.Errorf("format: superblock with unknown sizes: %w", unix.EINVAL)
	case b[headerSlots] == 0 || b[headerSlots] > MaxSlots:
		return nil, fmt.Errorf("format: superblock with %d key slots: %w", b[headerSlots], unix.EINVAL)
	}
	copy(h.UUID[:], b[headerUUID:])
	h.Cipher = b[headerCipher]
	h.ROCompat = binary.LittleEndian.Uint64(b[headerROCompat:])
	h.Compat = binary.LittleEndian.Uint64(b[headerCompat:])
	h.Created = int64(binary.LittleEndian.Uint64(b[headerCreated:]))
	for i := range int(b[headerSlots]) {
		s, w, err := getSlot(b[headerFixed+i*slotSize:])
		if err != nil {
			return nil, &seal.KeyError{Reason: "the header of the volume is damaged"}
		}
		h.Slots, h.Wrapped = append(h.Slots, s), append(h.Wrapped, w)
	}
	return h, nil
}

// CheckWritable returns EROFS if the volume has features that this version may
// read but not write.
func (h *Header) CheckWritable() error {
	if bits := h.ROCompat &^ knownROCompat; bits != 0 {
		return fmt.Errorf("format: features %#x are unknown, the volume can only be read: %w", bits, unix.EROFS)
	}
	return nil
}
