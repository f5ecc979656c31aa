package volume

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// SlotKind and Slot describe how the volume secret is wrapped.
type (
	SlotKind = format.SlotKind
	Slot     = format.Slot
	Sealer   = format.Sealer
)

const (
	KeyNone       = format.KeyNone
	KeyGiven      = format.KeyGiven
	KeySealed     = format.KeySealed
	KeyPassphrase = format.KeyPassphrase
	KeyAge        = format.KeyAge
)

// Unlocking says how the key slots of a volume are opened.
type Unlocking struct {
	// Unlock returns the user key (16 or 32 bytes) for a slot of the header,
	// which is wiped after use. It is asked for each used slot until one opens
	// the volume.
	Unlock func(Slot) (userKey []byte, err error)

	// Explain, if set, returns what is known about why the key that Unlock
	// returned does not fit; nil: it is a wrong key.
	Explain func(Slot) error
}

// Identity is what a header says of a volume. Before Open it is only what the
// host says.
type Identity struct {
	UUID       [16]byte
	Mode       uint8                 // format.ModeEncrypted or ModeIntegrity
	Generation uint64                // 1, and one more with every change of the header
	Slots      [format.MaxSlots]Slot // KeyNone: free
}

func identityOf(h *format.Header) Identity {
	return Identity{UUID: h.UUID, Mode: h.Mode, Generation: h.Generation, Slots: h.Slots}
}

// Peek reads the header of a volume without a key.
//
// Errors: as of Open.
func Peek(st store.Store) (Identity, error) {
	h, f, err := readHeader(st)
	if f != nil {
		defer f.Close()
	}
	if err != nil {
		return Identity{}, err
	}
	return identityOf(h), nil
}

// Identity returns what the authenticated header says.
func (v *Volume) Identity() Identity { return identityOf(v.header) }

// OpenedBy returns the number of the key slot that opened the volume; -1 if it is
// integrity-only and has none.
func (v *Volume) OpenedBy() int { return v.slot }

// readHeader opens and reads the header, which is not authenticated by that.
func readHeader(st store.Store) (*format.Header, store.File, error) {
	f, err := st.Open(headerName, ReadOnly)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil, fmt.Errorf("sefs: no volume here: %w", unix.EINVAL)
	}
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, format.HeaderSize)
	n, err := f.ReadAt(b, 0)
	if err != nil {
		return nil, f, err
	}
	h, err := format.DecodeHeader(b[:n])
	return h, f, err
}

// openHeader asks for the key of each slot until one opens the header. It
// returns the secret and the number of the slot.
func openHeader(h *format.Header, u *Unlocking) (secret [seal.SecretSize]byte, slot int, err error) {
	var refused refusals
	for i, s := range h.Slots {
		if s.Kind == KeyNone {
			continue
		}
		secret, err = openSlot(h, i, u)
		if err == nil {
			return secret, i, nil
		}
		refused.add(i, s, err)
	}
	return secret, 0, refused.err()
}

func openSlot(h *format.Header, i int, u *Unlocking) (secret [seal.SecretSize]byte, err error) {
	if u.Unlock == nil {
		return secret, &seal.KeyError{Problem: seal.KeyMissing, Reason: "the volume needs a key"}
	}
	key, err := u.Unlock(h.Slots[i])
	if err != nil {
		return secret, err
	}
	defer clear(key)
	secret, err = h.Open(i, key)
	if e, ok := errors.AsType[*seal.KeyError](err); ok && e.Problem == seal.KeyWrong && u.Explain != nil {
		if known := u.Explain(h.Slots[i]); known != nil {
			err = known
		}
	}
	return secret, err
}

// refusals are the reasons why no slot opened.
type refusals struct {
	other   error // the first that is not about keys: it may be passing
	keys    []*seal.KeyError
	reasons []string // one for each key error, with its slot
}

func (r *refusals) add(i int, s Slot, err error) {
	e, ok := errors.AsType[*seal.KeyError](err)
	if !ok {
		if r.other == nil {
			r.other = err
		}
		return
	}
	r.keys = append(r.keys, e)
	r.reasons = append(r.reasons, fmt.Sprintf("slot %d (%v): %s", i, s.Kind, e.Reason))
}

// err returns one error for all slots. The lowest problem is the most telling:
// that of a slot that a key was tried on, before that of one where none was.
func (r *refusals) err() error {
	if r.other != nil {
		return r.other
	}
	if len(r.keys) == 1 {
		return r.keys[0]
	}
	all := seal.KeyError{Problem: seal.KeyMissing}
	for _, e := range r.keys {
		all.Problem = min(all.Problem, e.Problem)
	}
	all.Reason = "no key slot opens: " + strings.Join(r.reasons, "; ")
	return &all
}
