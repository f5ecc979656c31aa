package format

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/seal"
)

// SlotKind says where the key that opens a slot comes from.
type SlotKind uint8

const (
	KeyNone       SlotKind = 0 // the slot is free
	KeyGiven      SlotKind = 1 // handed over by the user
	KeySealed     SlotKind = 2 // derived by the enclave platform
	KeyPassphrase SlotKind = 3 // random, kept in KeyInfo under a passphrase, by a tool
	KeyAge        SlotKind = 4 // random, kept in KeyInfo for age recipients, by a tool
)

// String returns the name of the kind, as tools print it.
func (k SlotKind) String() string {
	switch k {
	case KeyNone:
		return "free"
	case KeyGiven:
		return "given"
	case KeySealed:
		return "sealed"
	case KeyPassphrase:
		return "passphrase"
	case KeyAge:
		return "age"
	}
	return fmt.Sprintf("unknown(%d)", uint8(k))
}

// Limits in bytes.
const (
	MaxKeyInfo  = 1728 // Slot.KeyInfo
	maxSlotName = 32   // Slot.Platform, Policy and Label
)

// A Slot describes how the volume secret is wrapped. None of it is secret; all
// of it is authenticated once the key is known. The zero Slot is a free one.
type Slot struct {
	Kind    SlotKind
	Label   string // what people call it; at most 32 bytes
	Created int64  // seconds since 1970

	Platform string // KeySealed: "sgx" or "simulation"; at most 32 bytes
	Policy   string // KeySealed: "product" or "unique"; at most 32 bytes
	Sealer   Sealer // KeySealed: the enclave that sealed it

	// KeyInfo is what the key is got from. KeySealed: what the platform derives
	// it again from; KeyPassphrase, KeyAge: what the tool opens. At most 1728 bytes.
	KeyInfo []byte
}

// A Sealer is who sealed a slot. It tells why a key does not fit, and decides nothing.
type Sealer struct {
	Signer  [32]byte // MRSIGNER
	Program [32]byte // MRENCLAVE
	Product uint16   // ISVPRODID
	Version uint16   // ISVSVN
	Debug   bool
}

// Check returns EINVAL if s cannot be stored.
func (s *Slot) Check() error {
	switch {
	case s.Kind < KeyGiven || s.Kind > KeyAge:
		return fmt.Errorf("format: unknown kind %d of key slot: %w", s.Kind, unix.EINVAL)
	case len(s.Platform) > maxSlotName || len(s.Policy) > maxSlotName || len(s.Label) > maxSlotName:
		return fmt.Errorf("format: platform, policy and label of a key slot have at most %d bytes: %w", maxSlotName, unix.EINVAL)
	case len(s.KeyInfo) > MaxKeyInfo:
		return fmt.Errorf("format: key info of a slot has at most %d bytes: %w", MaxKeyInfo, unix.EINVAL)
	}
	return nil
}

// Offsets within an encoded slot.
const (
	slotKind     = 0
	slotPlatLen  = 1
	slotPolLen   = 2
	slotLabelLen = 3
	slotInfoLen  = 4
	slotFlags    = 6
	slotCreated  = 8
	slotPlatform = 16
	slotPolicy   = slotPlatform + maxSlotName
	slotLabel    = slotPolicy + maxSlotName
	slotSigner   = slotLabel + maxSlotName
	slotProgram  = slotSigner + 32
	slotProduct  = slotProgram + 32
	slotVersion  = slotProduct + 2
	slotInfo     = slotVersion + 6
	slotCheck    = slotInfo + MaxKeyInfo // what is before is the description
	slotNonce    = slotCheck + seal.CheckSize
	slotBox      = slotNonce + seal.NonceSize
	slotEnd      = slotBox + seal.WrappedSize
	slotSize     = 2000
)

const flagDebug = 1 // of slotFlags

// put writes s without its wrapped secret to the first slotSize bytes of b.
func (s *Slot) put(b []byte) {
	le := binary.LittleEndian
	clear(b[:slotSize])
	b[slotKind] = byte(s.Kind)
	b[slotPlatLen] = byte(len(s.Platform))
	b[slotPolLen] = byte(len(s.Policy))
	b[slotLabelLen] = byte(len(s.Label))
	le.PutUint16(b[slotInfoLen:], uint16(len(s.KeyInfo)))
	if s.Sealer.Debug {
		b[slotFlags] |= flagDebug
	}
	le.PutUint64(b[slotCreated:], uint64(s.Created))
	copy(b[slotPlatform:slotPolicy], s.Platform)
	copy(b[slotPolicy:slotLabel], s.Policy)
	copy(b[slotLabel:slotSigner], s.Label)
	copy(b[slotSigner:], s.Sealer.Signer[:])
	copy(b[slotProgram:], s.Sealer.Program[:])
	le.PutUint16(b[slotProduct:], s.Sealer.Product)
	le.PutUint16(b[slotVersion:], s.Sealer.Version)
	copy(b[slotInfo:slotCheck], s.KeyInfo)
}

func getSlot(b []byte) (s Slot, w seal.Wrapped, err error) {
	le := binary.LittleEndian
	if SlotKind(b[slotKind]) == KeyNone {
		return s, w, nil
	}
	plat, pol, label := int(b[slotPlatLen]), int(b[slotPolLen]), int(b[slotLabelLen])
	info := int(le.Uint16(b[slotInfoLen:]))
	if plat > maxSlotName || pol > maxSlotName || label > maxSlotName || info > MaxKeyInfo {
		return s, w, &DamageError{"header", "key slot with impossible lengths"}
	}
	s = Slot{
		Kind:     SlotKind(b[slotKind]),
		Label:    string(b[slotLabel : slotLabel+label]),
		Created:  int64(le.Uint64(b[slotCreated:])),
		Platform: string(b[slotPlatform : slotPlatform+plat]),
		Policy:   string(b[slotPolicy : slotPolicy+pol]),
		Sealer: Sealer{
			Signer:  [32]byte(b[slotSigner:]),
			Program: [32]byte(b[slotProgram:]),
			Product: le.Uint16(b[slotProduct:]),
			Version: le.Uint16(b[slotVersion:]),
			Debug:   b[slotFlags]&flagDebug != 0,
		},
		KeyInfo: append([]byte(nil), b[slotInfo:slotInfo+info]...),
	}
	copy(w.Check[:], b[slotCheck:])
	copy(w.Nonce[:], b[slotNonce:])
	copy(w.Box[:], b[slotBox:slotEnd])
	return s, w, nil
}
