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
	KeyGiven  SlotKind = 1 // handed over by the user
	KeySealed SlotKind = 2 // derived by the enclave platform
)

// MaxKeyInfo is the longest Slot.KeyInfo, in bytes.
const MaxKeyInfo = 1024

// maxSlotName is the longest Platform and Policy, in bytes.
const maxSlotName = 32

// A Slot describes how the volume secret is wrapped. None of it is secret; all
// of it is authenticated once the key is known.
type Slot struct {
	Kind     SlotKind
	Platform string // KeySealed: "sgx" or "simulation"; at most 32 bytes
	Policy   string // KeySealed: "product" or "unique"; at most 32 bytes
	KeyInfo  []byte // KeySealed: what re-derives the sealing key; at most 1 KiB
}

// Check returns EINVAL if s cannot be stored.
func (s *Slot) Check() error {
	switch {
	case s.Kind != KeyGiven && s.Kind != KeySealed:
		return fmt.Errorf("format: unknown kind %d of key slot: %w", s.Kind, unix.EINVAL)
	case len(s.Platform) > maxSlotName || len(s.Policy) > maxSlotName:
		return fmt.Errorf("format: platform and policy of a key slot have at most %d bytes: %w", maxSlotName, unix.EINVAL)
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
	slotInfoLen  = 4
	slotPlatform = 8
	slotPolicy   = slotPlatform + maxSlotName
	slotInfo     = slotPolicy + maxSlotName
	slotCheck    = slotInfo + MaxKeyInfo
	slotNonce    = slotCheck + seal.CheckSize
	slotBox      = slotNonce + seal.NonceSize
	slotEnd      = slotBox + seal.WrappedSize
	slotSize     = 1264
)

// put writes s without its wrapped secret to the first slotSize bytes of b.
func (s *Slot) put(b []byte) {
	clear(b[:slotSize])
	b[slotKind] = byte(s.Kind)
	b[slotPlatLen] = byte(len(s.Platform))
	b[slotPolLen] = byte(len(s.Policy))
	binary.LittleEndian.PutUint16(b[slotInfoLen:], uint16(len(s.KeyInfo)))
	copy(b[slotPlatform:slotPolicy], s.Platform)
	copy(b[slotPolicy:slotInfo], s.Policy)
	copy(b[slotInfo:slotCheck], s.KeyInfo)
}

func getSlot(b []byte) (s Slot, w seal.Wrapped, err error) {
	plat, pol := int(b[slotPlatLen]), int(b[slotPolLen])
	info := int(binary.LittleEndian.Uint16(b[slotInfoLen:]))
	if plat > maxSlotName || pol > maxSlotName || info > MaxKeyInfo {
		return s, w, &DamageError{"header", "key slot with impossible lengths"}
	}
	s = Slot{
		Kind:     SlotKind(b[slotKind]),
		Platform: string(b[slotPlatform : slotPlatform+plat]),
		Policy:   string(b[slotPolicy : slotPolicy+pol]),
		KeyInfo:  append([]byte(nil), b[slotInfo:slotInfo+info]...),
	}
	copy(w.Check[:], b[slotCheck:])
	copy(w.Nonce[:], b[slotNonce:])
	copy(w.Box[:], b[slotBox:slotEnd])
	return s, w, nil
}
