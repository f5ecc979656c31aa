package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"sync"
)

// Domain says what kind of message a nonce is for. It is part of the nonce.
type Domain uint32

const (
	DomainData    Domain = 1 // blocks of files
	DomainNode    Domain = 2 // nodes of the tree
	DomainJournal Domain = 3 // journal records
	DomainHead    Domain = 4 // checkpoint heads
)

// A Box seals and opens messages with the key of one session. Its methods may
// be called concurrently.
type Box struct {
	id    SessionID
	aead  cipher.AEAD
	pool  *sync.Pool // of *scratch
	watch func(key [32]byte, nonce [NonceSize]byte)
	print [32]byte
}

// ID returns the id of the session.
func (b *Box) ID() SessionID { return b.id }

// scratch is what one call needs on the heap: arguments of an interface method
// escape, so they are pooled instead of allocated for each block.
type scratch struct {
	nonce [NonceSize]byte
	part  [maxScratch + TagSize]byte
}

const maxScratch = 8192

func newScratch() any { return new(scratch) }

func (s *scratch) setNonce(d Domain, counter uint64) []byte {
	binary.BigEndian.PutUint32(s.nonce[:], uint32(d))
	binary.BigEndian.PutUint64(s.nonce[4:], counter)
	return s.nonce[:]
}

func (b *Box) note(nonce *[NonceSize]byte) {
	if b.watch != nil {
		b.watch(b.print, *nonce)
	}
}

// Seal encrypts the first n bytes of buf in place and puts the tag behind
// them; buf has n+TagSize bytes. counter comes from Session.Reserve.
func (b *Box) Seal(d Domain, counter uint64, buf []byte, aad []byte) {
	s := b.pool.Get().(*scratch)
	defer b.pool.Put(s)
	nonce := s.setNonce(d, counter)
	b.note(&s.nonce)
	b.aead.Seal(buf[:0], nonce, buf[:len(buf)-TagSize], aad)
}

// Open undoes Seal in place and reports whether buf and aad are authentic. If
// they are not, the content of buf is undefined.
func (b *Box) Open(d Domain, counter uint64, buf []byte, aad []byte) bool {
	if len(buf) < TagSize {
		return false
	}
	s := b.pool.Get().(*scratch)
	defer b.pool.Put(s)
	_, err := b.aead.Open(buf[:0], s.setNonce(d, counter), buf, aad)
	return err == nil
}

// SealDetached encrypts src to dst, which has the same length (at most 8192
// bytes) and does not overlap it, and returns the tag.
func (b *Box) SealDetached(d Domain, counter uint64, dst, src []byte) (tag [TagSize]byte) {
	s := b.pool.Get().(*scratch)
	defer b.pool.Put(s)
	b.sealVia(s, d, counter, dst, src, tag[:])
	return tag
}

// OpenDetached decrypts src to dst, which has the same length (at most 8192
// bytes) and does not overlap it, and reports whether src and tag are
// authentic. If they are not, dst is undefined.
func (b *Box) OpenDetached(d Domain, counter uint64, dst, src, tag []byte) bool {
	s := b.pool.Get().(*scratch)
	defer b.pool.Put(s)
	return b.openVia(s, d, counter, dst, src, tag)
}

// sealVia encrypts through the scratch part: dst has no room for the tag.
func (b *Box) sealVia(s *scratch, d Domain, counter uint64, dst, src, tag []byte) {
	nonce := s.setNonce(d, counter)
	b.note(&s.nonce)
	out := b.aead.Seal(s.part[:0], nonce, src, nil)
	copy(dst, out[:len(src)])
	copy(tag, out[len(src):])
}

// openVia decrypts through the scratch part: src has no room for the tag.
func (b *Box) openVia(s *scratch, d Domain, counter uint64, dst, src, tag []byte) bool {
	n := copy(s.part[:], src)
	copy(s.part[n:], tag)
	_, err := b.aead.Open(dst[:0], s.setNonce(d, counter), s.part[:n+TagSize], nil)
	return err == nil
}
