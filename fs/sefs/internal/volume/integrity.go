package volume

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// ErrPinned is the error of a volume of format.ModeIntegrity that is opened without its root.
func ErrPinned() error {
	return &seal.KeyError{Problem: seal.KeyRoot, Reason: "it is integrity-only: anybody can make one, and only a root MAC (mac=) tells which is meant"}
}

// ErrIntegrity is the error of changing a volume of format.ModeIntegrity.
func ErrIntegrity() error {
	return fmt.Errorf("sefs: the volume is integrity-only and is never changed: %w", unix.EROFS)
}

// Integrity reports whether the volume is not encrypted and has no key.
func (i *Identity) Integrity() bool { return i.Mode == format.ModeIntegrity }

// openIntegrity opens a volume of format.ModeIntegrity. There is no key, no journal and no
// session: everything hangs on the root.
//
// Errors: EROFS; *seal.KeyError (EACCES); EIO (*seal.CorruptError).
func (v *Volume) openIntegrity() error {
	switch {
	case v.cfg.Access == ReadWrite:
		return ErrIntegrity()
	case v.cfg.Root == nil && !v.cfg.Unpinned:
		return ErrPinned()
	}
	v.cfg.Anchor = nil // what never changes cannot be rolled back
	v.slot = -1
	v.k0, v.k1 = seal.NameKey0, seal.NameKey1
	h, err := v.readIntegrityHead()
	if err != nil {
		return err
	}
	v.tree.load(&h)
	v.alloc.load(&h)
	v.journal.seq.Store(h.Commit)
	return nil
}

// readIntegrityHead returns the head. Of the two copies the one counts that has the root asked for.
func (v *Volume) readIntegrityHead() (h format.Head, err error) {
	if v.head.file, err = v.st.Open(headsName, ReadOnly); err != nil {
		return h, missing(headsName, err)
	}
	b := make([]byte, format.HeadStride+format.HeadSize)
	n, err := v.head.file.ReadAt(b, 0)
	if err != nil {
		return h, err
	}
	other := false
	for _, at := range headSlots {
		if int(at)+format.HeadSize > n {
			break
		}
		slot := b[at : at+format.HeadSize]
		root, ok := v.header.IntegrityRoot(slot)
		switch {
		case !ok:
			continue
		case v.cfg.Root != nil && root != *v.cfg.Root:
			other = true
			continue
		}
		if h, err = format.DecodeHead(slot); err != nil {
			return h, &seal.CorruptError{Block: headsName, Reason: err.Error()}
		}
		v.root = &root
		return h, nil
	}
	if other {
		return h, &seal.KeyError{Problem: seal.KeyRoot, Reason: "the root MAC is another one: the volume was changed or replaced"}
	}
	return h, &seal.CorruptError{Block: headsName, Reason: "no head that fits the header"}
}

// goodHead reports whether a copy of the head is the one that it should be.
func (v *Volume) goodHead(slot []byte) bool {
	if v.root == nil {
		_, ok, err := openHead(v.ring, slot, v.header.UUID)
		return ok && err == nil
	}
	root, ok := v.header.IntegrityRoot(slot)
	return ok && root == *v.root
}

// tagSize is what each block has in an extent, in bytes.
func (v *Volume) tagSize() int {
	if v.root != nil {
		return seal.HashSize
	}
	return seal.TagSize
}

// extent decodes the extent of a file that begins at block start.
func (v *Volume) extent(start uint64, val []byte) (format.Extent, error) {
	e, err := decodeExtent(start, val)
	if err == nil && e.Hashed() != (v.root != nil) {
		err = &seal.CorruptError{Block: "tree", Reason: "an extent of another kind of volume"}
	}
	return e, err
}

// openNode opens sealed, the node that lies at p, to page.
func (v *Volume) openNode(p format.NodePtr, page, sealed []byte) error {
	if v.root != nil {
		if seal.Checksum(sealed) != p.Hash() {
			return notAuthentic(p.Ptr)
		}
		copy(page, sealed)
		return nil
	}
	box, err := v.ring.Box(p.Session)
	if err != nil {
		return err
	}
	if !box.OpenDetached(seal.DomainNode, p.Counter, page, sealed, p.Tag[:]) {
		return notAuthentic(p.Ptr)
	}
	return nil
}

// verifyBlocks is openBlocks for a volume of format.ModeIntegrity.
func (v *Volume) verifyBlocks(b *ioBuf, p format.Ptr, data []byte, plain [][]byte, hashes []byte) error {
	if len(hashes) != len(plain)*seal.HashSize {
		return &seal.CorruptError{Block: "tree", Reason: "an extent of another kind of volume"}
	}
	b.run = seal.Run{Plain: plain, Cipher: data, Tags: hashes}
	if bad := v.crypt.Verify(&b.run); bad >= 0 {
		return notAuthentic(p.Skip(bad))
	}
	return nil
}

func notAuthentic(p format.Ptr) error {
	return &seal.CorruptError{Block: p.String(), Reason: "not authentic"}
}

// isNotAuthentic reports whether err is about the bytes that the host has given.
func isNotAuthentic(err error) bool { return errors.As(err, new(*seal.CorruptError)) }

// packed is space for a volume of format.ModeIntegrity, which records no space: blocks in use lie side
// by side from the front of each segment.
func (c *checker) packed() {
	if c.nodesLost {
		return
	}
	for _, seg := range slices.Sorted(maps.Keys(c.used)) {
		m := c.used[seg]
		if first, n := m.Next(0, true); first != 0 || n != m.Used() {
			c.wrongSpace(fmt.Sprintf("segment %d", seg), "there are blocks in it that belong to nothing")
		}
	}
	if used, live := c.v.alloc.usage(); used != c.count || live != uint64(len(c.used)) {
		c.wrongSpace("head", fmt.Sprintf("it says %d blocks in %d segments, there are %d in %d", used, live, c.count, len(c.used)))
	}
}
