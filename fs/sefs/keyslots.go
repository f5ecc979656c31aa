package sefs

import (
	"encoding/hex"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
)

// MaxKeySlots is the number of key slots that an image has room for.
const MaxKeySlots = len(volume.Identity{}.Slots)

// KeyKind says where the key of a slot comes from.
type KeyKind = volume.SlotKind

const (
	KeyGiven      = volume.KeyGiven      // the user has it
	KeySealed     = volume.KeySealed     // the enclave platform derives it
	KeyPassphrase = volume.KeyPassphrase // random, in KeySlot.Wrapped under a passphrase
	KeyAge        = volume.KeyAge        // random, in KeySlot.Wrapped for age recipients
)

// A KeySlot is one way to open an image. Nothing of it is secret.
type KeySlot struct {
	Number  int // 0 to MaxKeySlots-1; a slot keeps its number
	Kind    KeyKind
	Label   string // at most 32 bytes
	Created time.Time

	Platform string // KeySealed: "sgx" or "simulation"
	Policy   string // KeySealed: "product" or "unique"
	Version  uint16 // KeySealed: security version of the enclave that sealed it

	// Wrapped is the slot's key as a tool has wrapped it (NewKey.Wrap):
	// KeyPassphrase and KeyAge. This package does not look into it.
	Wrapped []byte
}

func keySlots(id *volume.Identity) (slots []KeySlot) {
	for i, s := range id.Slots {
		if s.Kind == volume.KeyNone {
			continue
		}
		k := KeySlot{Number: i, Kind: s.Kind, Label: s.Label, Created: time.Unix(s.Created, 0).UTC()}
		switch s.Kind {
		case KeySealed:
			k.Platform, k.Policy, k.Version = s.Platform, s.Policy, s.Sealer.Version
		case KeyPassphrase, KeyAge:
			k.Wrapped = s.KeyInfo
		}
		slots = append(slots, k)
	}
	return slots
}

// A NewKey says how a slot is to be opened.
type NewKey struct {
	Kind  KeyKind
	Label string // at most 32 bytes of printable text

	Key mountopt.Key // KeyGiven: the key

	Platform enclave.Platform // KeySealed: whose key
	Policy   enclave.Policy   // KeySealed: which enclaves get it

	// Wrap, for KeyPassphrase and KeyAge, wraps the slot's new random key of 32
	// bytes so that only who knows the passphrase or has the identity gets it
	// back; at most 1728 bytes. It keeps no copy of the key.
	Wrap func(key []byte) (wrapped []byte, err error)
}

// slot returns the slot and its key, which the caller wipes.
func (n *NewKey) slot() (slot volume.Slot, key []byte, err error) {
	if !printable(n.Label) {
		return slot, nil, fmt.Errorf("sefs: the label of a key slot must be printable text: %w", unix.EINVAL)
	}
	switch n.Kind {
	case KeyGiven:
		if n.Key.IsZero() {
			return slot, nil, fmt.Errorf("sefs: a slot for a given key needs one: %w", unix.EINVAL)
		}
		source := keySource{key: n.Key}
		slot, key, err = source.make()
	case KeySealed:
		if n.Platform == nil {
			return slot, nil, keyError(KeyPlatform, "outside an enclave there is no key to seal with")
		}
		slot, key, err = sealedSlot(n.Platform, n.Policy)
	case KeyPassphrase, KeyAge:
		if n.Wrap == nil {
			return slot, nil, fmt.Errorf("sefs: a slot of kind %v needs something that wraps its key: %w", n.Kind, unix.EINVAL)
		}
		key = make([]byte, seal.SecretSize)
		seal.Random(key)
		slot.Kind = n.Kind
		slot.KeyInfo, err = n.Wrap(key)
	default:
		return slot, nil, fmt.Errorf("sefs: unknown kind of key slot: %w", unix.EINVAL)
	}
	if err != nil {
		clear(key)
		return slot, nil, err
	}
	slot.Label = n.Label
	return slot, key, nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// KeysConfig says how OpenKeys opens an image.
type KeysConfig struct {
	Key      mountopt.Key     // as OpenConfig
	Platform enclave.Platform // as OpenConfig
	Now      func() time.Time // nil: time.Now

	// OpenStore is as in Config.
	OpenStore func(dir string, access Access) (store.Store, error)
}

// Keys are the key slots of an image that nobody else has open. A change is
// atomic and durable when the call returns. The files in the image do not change, nor
// does the secret that all slots wrap: see docs/sefs-format.md, Keys, for what the
// removal of a slot does and what it does not.
type Keys struct{ keys *volume.Keys }

// OpenKeys opens the key slots of the image in a directory of the host.
//
// Errors: as Open.
func OpenKeys(dir string, cfg KeysConfig) (*Keys, error) {
	open := cfg.OpenStore
	if open == nil {
		open = openHost
	}
	st, err := open(dir, ReadWrite)
	if err != nil {
		return nil, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	source := keySource{key: cfg.Key, platform: cfg.Platform}
	k, err := volume.OpenKeys(st, volume.KeysConfig{Unlocking: source.unlocking(), Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	return &Keys{keys: k}, nil
}

// Close forgets the secret and releases the image.
func (k *Keys) Close() error { return k.keys.Close() }

// Slots returns the slots in use, by number.
func (k *Keys) Slots() []KeySlot {
	id := k.keys.Identity()
	return keySlots(&id)
}

// OpenedBy returns the number of the slot that opened the image.
func (k *Keys) OpenedBy() int { return k.keys.OpenedBy() }

// Add makes a new slot and returns its number.
//
// Errors: EINVAL for a NewKey that is not complete; EEXIST if the key opens a slot
// already; ENOSPC if all slots are in use; those of the platform, of NewKey.Wrap
// and of the host.
func (k *Keys) Add(n NewKey) (number int, err error) {
	slot, key, err := n.slot()
	if err != nil {
		return 0, err
	}
	defer clear(key)
	return k.keys.Add(slot, key)
}

// Replace makes a slot that is in use open with another key, and no more with the
// one that it had.
//
// Errors: ENOENT if the slot is free; otherwise as Add.
func (k *Keys) Replace(number int, n NewKey) error {
	slot, key, err := n.slot()
	if err != nil {
		return err
	}
	defer clear(key)
	return k.keys.Replace(number, slot, key)
}

// Remove makes a slot free: its key opens the image no more.
//
// Errors: ENOENT if it is free; EPERM if it is the last one; those of the host.
func (k *Keys) Remove(number int) error { return k.keys.Remove(number) }

// Info is what is known about an image; none of it is secret.
type Info struct {
	Integrity  bool      // integrity-only: not encrypted, without keys
	UUID       string    // 32 hex digits
	Generation uint64    // of the header: 1, and one more with every change of the key slots
	Slots      []KeySlot // those in use, by number

	Given    bool   // a slot opens with a key, a passphrase or an identity
	Sealed   bool   // a slot is sealed to an enclave
	Platform string // of the first sealed slot
	Policy   string // of the first sealed slot
}

// Inspect reads what the header of an image says. Nothing of it is
// authenticated: Open does that.
//
// Errors: ENOENT, ENOTDIR; EINVAL if the directory holds no image.
func Inspect(dir string) (Info, error) {
	st, err := openHost(dir, ReadOnly)
	if err != nil {
		return Info{}, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	defer st.Close()
	id, err := volume.Peek(st)
	if err != nil {
		return Info{}, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	return infoOf(&id), nil
}

// Info returns what is known about the image.
func (fs *FS) Info() Info {
	id := fs.vol.Identity()
	return infoOf(&id)
}

func infoOf(id *volume.Identity) Info {
	info := Info{Integrity: id.Integrity(), UUID: hex.EncodeToString(id.UUID[:]), Generation: id.Generation, Slots: keySlots(id)}
	for _, s := range info.Slots {
		switch {
		case s.Kind != KeySealed:
			info.Given = true
		case !info.Sealed:
			info.Sealed, info.Platform, info.Policy = true, s.Platform, s.Policy
		}
	}
	return info
}
