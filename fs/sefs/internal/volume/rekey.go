package volume

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// KeysConfig says how to open the key slots of a volume.
type KeysConfig struct {
	Unlocking
	Now func() time.Time // nil: time.Now
}

// Keys are the key slots of a volume that nobody else uses. Every change is
// atomic: after a crash the header on the host is the one before or the one after.
//
// The host can put an older header back, and a slot that was removed with it. Who
// has that slot's key then opens the volume again: the secret that it wraps is the
// same for the life of the volume.
type Keys struct {
	st     store.Store
	header *format.Header
	secret [seal.SecretSize]byte
	slot   int
	now    func() time.Time
	broken error // what is on the host is not certain any more
}

// OpenKeys opens the key slots of a volume for changes. It takes over st: Close
// closes it, and so does OpenKeys when it fails.
//
// Errors: those of Open, except that nothing but the header is looked at.
func OpenKeys(st store.Store, cfg KeysConfig) (_ *Keys, err error) {
	defer func() {
		if err != nil {
			st.Close()
		}
	}()
	// Before the lock, which makes a file.
	seen, err := Peek(st)
	if err != nil {
		return nil, err
	}
	if seen.Integrity() {
		return nil, fmt.Errorf("sefs: the volume is integrity-only and has no keys: %w", unix.EINVAL)
	}
	if _, err := st.Lock(ReadWrite); err != nil {
		return nil, err
	}
	k := &Keys{st: st, now: cfg.Now}
	if k.now == nil {
		k.now = time.Now
	}
	h, f, err := readHeader(st)
	if f != nil {
		defer f.Close()
	}
	if err != nil {
		return nil, err
	}
	if err := h.CheckWritable(); err != nil {
		return nil, err
	}
	k.header = h
	if k.secret, k.slot, err = openHeader(h, &cfg.Unlocking); err != nil {
		return nil, err
	}
	return k, nil
}

// Close forgets the secret and releases the volume.
func (k *Keys) Close() error {
	clear(k.secret[:])
	k.broken = fmt.Errorf("sefs: key slots are closed: %w", unix.EBADF)
	return k.st.Close()
}

// Identity returns what the header says.
func (k *Keys) Identity() Identity { return identityOf(k.header) }

// OpenedBy returns the number of the slot that opened the volume.
func (k *Keys) OpenedBy() int { return k.slot }

// Add makes a slot in the first free place and returns its number.
//
// Errors: EINVAL if slot or userKey are not valid; EEXIST if userKey opens a slot
// already; ENOSPC if no place is free; those of the host.
func (k *Keys) Add(slot Slot, userKey []byte) (number int, err error) {
	for i := range k.header.Slots {
		if k.header.Slots[i].Kind == KeyNone {
			return i, k.set(i, slot, userKey)
		}
	}
	return 0, fmt.Errorf("sefs: all %d key slots are in use: %w", format.MaxSlots, unix.ENOSPC)
}

// Replace wraps the secret anew in a used slot.
//
// Errors: ENOENT if the slot is free; otherwise those of Add.
func (k *Keys) Replace(number int, slot Slot, userKey []byte) error {
	if err := k.check(number); err != nil {
		return err
	}
	return k.set(number, slot, userKey)
}

// Remove makes a slot free.
//
// Errors: ENOENT if it is free; EPERM if it is the last one: nothing could open
// the volume any more; those of the host.
func (k *Keys) Remove(number int) error {
	if err := k.check(number); err != nil {
		return err
	}
	if k.header.Used() == 1 {
		return fmt.Errorf("sefs: slot %d is the last one: %w", number, unix.EPERM)
	}
	next := *k.header
	next.ClearSlot(number)
	return k.write(&next)
}

func (k *Keys) check(number int) error {
	if number < 0 || number >= format.MaxSlots || k.header.Slots[number].Kind == KeyNone {
		return fmt.Errorf("sefs: there is no key slot %d: %w", number, unix.ENOENT)
	}
	return nil
}

func (k *Keys) set(number int, slot Slot, userKey []byte) error {
	// A key in two slots would still open the volume when one of them is removed.
	if i := k.header.FindKey(userKey); i >= 0 && i != number {
		return fmt.Errorf("sefs: this key opens slot %d already: %w", i, unix.EEXIST)
	}
	slot.Created = k.now().Unix()
	next := *k.header
	if err := next.SetSlot(number, slot, userKey, &k.secret); err != nil {
		return err
	}
	return k.write(&next)
}

// write makes next the header of the volume.
func (k *Keys) write(next *format.Header) error {
	if k.broken != nil {
		return k.broken
	}
	b, err := next.Encode(&k.secret)
	if err != nil {
		return err
	}
	f, err := k.st.Create(newHeaderName)
	if err != nil {
		return err
	}
	if err := fillFile(f, func(f store.File) error { return f.WriteAt(b, 0) }); err != nil {
		_ = k.st.Unlink(newHeaderName) // the next change overwrites it
		return err
	}
	// From here on either header may be the one that a crash leaves.
	err = k.st.Rename(newHeaderName, headerName)
	if err != nil {
		_ = k.st.Unlink(newHeaderName)
	} else {
		err = k.st.SyncDir()
	}
	if err != nil {
		k.broken = fmt.Errorf("sefs: key slots are in doubt after an error, open them again: %w", unix.EIO)
		return err
	}
	k.header = next
	return nil
}
