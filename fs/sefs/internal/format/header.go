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
	HeaderSize    = 16384
	NodeSize      = 8192
	NodeBlocks    = NodeSize / BlockSize
	SegmentBlocks = 16384 // 64 MiB
)

// Modes of a volume.
const (
	ModeEncrypted = 1 // encrypted and authenticated
	ModeIntegrity = 2 // authenticated by its root only; never written again
)

// Ciphers.
const (
	CipherAES128 = 1 // AES-128-GCM
	CipherAES256 = 2 // AES-256-GCM
	CipherNone   = 3 // none, with SHA-256; ModeIntegrity only
)

var magic = []byte("\x89SEFS\r\n\x1a")

// MaxSlots is the number of key slots that a header has room for.
const MaxSlots = 8

// Offsets within the header.
const (
	headerMajor      = 8
	headerMinor      = 10
	headerLen        = 12
	headerIncompat   = 16
	headerROCompat   = 24
	headerCompat     = 32
	headerUUID       = 40
	headerMode       = 56
	headerCipher     = 57
	headerBlock      = 60 // headerUUID to here: what every wrapped secret authenticates
	headerNode       = 64
	headerSegment    = 68
	headerCreated    = 72
	headerGeneration = 80
	headerSlots      = 256
	headerMAC        = headerSum - 32
	headerSum        = HeaderSize - 32
)

// A Header is the superblock of a volume: the file SEFS.
//
// Three things guard it. The wrapped secret of a slot authenticates the volume's
// identity, its cipher and the slot's own description. A code under the volume
// secret (seal.HeaderMAC) authenticates all of the header, slots that were not used
// included. A checksum tells damage before any key is known.
type Header struct {
	UUID       [16]byte
	Mode       uint8
	Cipher     uint8
	ROCompat   uint64
	Compat     uint64
	Created    int64  // seconds since 1970
	Generation uint64 // 1 for a new volume, one more with every change of the header
	Slots      [MaxSlots]Slot

	wrapped [MaxSlots]seal.Wrapped
	raw     [HeaderSize]byte // as read or encoded
}

// KeySize returns the length of the volume's AES keys, in bytes.
func (h *Header) KeySize() int {
	if h.Cipher == CipherAES256 {
		return 32
	}
	return 16
}

// NewHeader returns the header of a new volume, without key slots.
func NewHeader(uuid [16]byte, cipher uint8, created int64) *Header {
	h := &Header{UUID: uuid, Mode: ModeEncrypted, Cipher: cipher, Created: created}
	b := h.raw[:]
	copy(b, magic)
	binary.LittleEndian.PutUint16(b[headerMajor:], Major)
	binary.LittleEndian.PutUint16(b[headerMinor:], Minor)
	binary.LittleEndian.PutUint32(b[headerLen:], HeaderSize)
	copy(b[headerUUID:], uuid[:])
	b[headerMode] = ModeEncrypted
	b[headerCipher] = cipher
	binary.LittleEndian.PutUint32(b[headerBlock:], BlockSize)
	binary.LittleEndian.PutUint32(b[headerNode:], NodeSize)
	binary.LittleEndian.PutUint32(b[headerSegment:], SegmentBlocks)
	binary.LittleEndian.PutUint64(b[headerCreated:], uint64(created))
	return h
}

func (h *Header) slot(i int) []byte { return h.raw[headerSlots+i*slotSize:][:slotSize] }

// slotAAD returns what the wrapped secret of slot i authenticates.
func (h *Header) slotAAD(i int) []byte {
	aad := bytes.Clone(h.raw[headerUUID:headerBlock])
	return append(aad, h.slot(i)[:slotCheck]...)
}

// SetSlot makes slot i what s describes, with the secret wrapped under userKey.
//
// Errors: EINVAL if s cannot be stored, or userKey cannot be a key.
func (h *Header) SetSlot(i int, s Slot, userKey []byte, secret *[seal.SecretSize]byte) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := seal.CheckUserKey(userKey); err != nil {
		return err
	}
	b := h.slot(i)
	s.put(b)
	w, err := seal.Wrap(userKey, h.UUID, secret, h.slotAAD(i))
	if err != nil {
		return err
	}
	copy(b[slotCheck:], w.Check[:])
	copy(b[slotNonce:], w.Nonce[:])
	copy(b[slotBox:], w.Box[:])
	h.Slots[i], h.wrapped[i] = s, w
	return nil
}

// ClearSlot makes slot i a free one.
func (h *Header) ClearSlot(i int) {
	clear(h.slot(i))
	h.Slots[i], h.wrapped[i] = Slot{}, seal.Wrapped{}
}

// FindKey returns the first slot that userKey fits, or -1.
func (h *Header) FindKey(userKey []byte) int {
	for i := range h.Slots {
		if h.Slots[i].Kind != KeyNone && h.wrapped[i].Fits(userKey, h.UUID) {
			return i
		}
	}
	return -1
}

// Used returns how many slots are not free.
func (h *Header) Used() (n int) {
	for i := range h.Slots {
		if h.Slots[i].Kind != KeyNone {
			n++
		}
	}
	return n
}

// Open unwraps the secret in slot i and authenticates the header with it.
//
// Errors: *seal.KeyError, KeyWrong if userKey is not the slot's, else
// KeyTampered; EINVAL if userKey cannot be a key.
func (h *Header) Open(i int, userKey []byte) (secret [seal.SecretSize]byte, err error) {
	secret, err = seal.Unwrap(userKey, h.UUID, &h.wrapped[i], h.slotAAD(i))
	if err != nil {
		return secret, err
	}
	if err := seal.CheckHeaderMAC(&secret, h.raw[:headerMAC], h.raw[headerMAC:headerSum]); err != nil {
		clear(secret[:])
		return secret, err
	}
	return secret, nil
}

// Encode raises the generation and returns the HeaderSize bytes of the header.
func (h *Header) Encode(secret *[seal.SecretSize]byte) ([]byte, error) {
	h.Generation++
	binary.LittleEndian.PutUint64(h.raw[headerGeneration:], h.Generation)
	mac, err := seal.HeaderMAC(secret, h.raw[:headerMAC])
	if err != nil {
		return nil, err
	}
	copy(h.raw[headerMAC:], mac[:])
	sum := seal.Checksum(h.raw[:headerSum])
	copy(h.raw[headerSum:], sum[:])
	return bytes.Clone(h.raw[:]), nil
}

// DecodeHeader reads a header. What it returns is not authenticated before a
// slot has been opened.
//
// Errors: EINVAL if b is no header, or of a version or with features that this
// package does not know; *seal.KeyError (EACCES) if the header is damaged.
func DecodeHeader(b []byte) (*Header, error) {
	if len(b) < len(magic) || !bytes.Equal(b[:len(magic)], magic) {
		return nil, fmt.Errorf("format: no SEFS superblock: %w", unix.EINVAL)
	}
	if len(b) >= headerMajor+2 {
		if v := binary.LittleEndian.Uint16(b[headerMajor:]); v != Major {
			return nil, fmt.Errorf("format: superblock of version %d, this program knows %d: %w", v, Major, unix.EINVAL)
		}
	}
	if len(b) < HeaderSize {
		return nil, damagedHeader("it is cut off")
	}
	h := &Header{}
	copy(h.raw[:], b)
	b = h.raw[:]
	if sum := seal.Checksum(b[:headerSum]); !bytes.Equal(sum[:], b[headerSum:]) {
		return nil, damagedHeader("its checksum is wrong")
	}
	if bits := binary.LittleEndian.Uint64(b[headerIncompat:]) &^ knownIncompat; bits != 0 {
		return nil, fmt.Errorf("format: unknown incompatible features %#x: %w", bits, unix.EINVAL)
	}
	switch {
	case b[headerMode] != ModeEncrypted && b[headerMode] != ModeIntegrity:
		return nil, fmt.Errorf("format: unknown mode %d of a volume: %w", b[headerMode], unix.EINVAL)
	case (b[headerMode] == ModeIntegrity) != (b[headerCipher] == CipherNone) || b[headerCipher] < CipherAES128 || b[headerCipher] > CipherNone:
		return nil, fmt.Errorf("format: unknown cipher %d: %w", b[headerCipher], unix.EINVAL)
	case binary.LittleEndian.Uint32(b[headerLen:]) != HeaderSize,
		binary.LittleEndian.Uint32(b[headerBlock:]) != BlockSize,
		binary.LittleEndian.Uint32(b[headerNode:]) != NodeSize,
		binary.LittleEndian.Uint32(b[headerSegment:]) != SegmentBlocks:
		return nil, fmt.Errorf("format: superblock with unknown sizes: %w", unix.EINVAL)
	}
	copy(h.UUID[:], b[headerUUID:])
	h.Mode, h.Cipher = b[headerMode], b[headerCipher]
	h.ROCompat = binary.LittleEndian.Uint64(b[headerROCompat:])
	h.Compat = binary.LittleEndian.Uint64(b[headerCompat:])
	h.Created = int64(binary.LittleEndian.Uint64(b[headerCreated:]))
	h.Generation = binary.LittleEndian.Uint64(b[headerGeneration:])
	var err error
	for i := range h.Slots {
		if h.Slots[i], h.wrapped[i], err = getSlot(h.slot(i)); err != nil {
			return nil, damagedHeader("a key slot has impossible lengths")
		}
	}
	switch {
	case h.Mode == ModeIntegrity:
		return h, h.checkIntegrity()
	case h.Used() == 0:
		return nil, damagedHeader("it has no key slot")
	}
	return h, nil
}

func damagedHeader(how string) error {
	return &seal.KeyError{Problem: seal.KeyTampered, Reason: "the header of the volume is damaged: " + how}
}

// CheckWritable returns EROFS if the volume has features that this version may
// read but not write.
func (h *Header) CheckWritable() error {
	if bits := h.ROCompat &^ knownROCompat; bits != 0 {
		return fmt.Errorf("format: features %#x are unknown, the volume can only be read: %w", bits, unix.EROFS)
	}
	return nil
}
