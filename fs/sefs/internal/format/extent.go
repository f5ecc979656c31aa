package format

import "cloister/fs/sefs/internal/seal"

// MaxExtent is the largest number of blocks in one extent, MaxHashExtent that of a volume
// that is not encrypted.
const (
	MaxExtent     = 128
	MaxHashExtent = MaxExtent * seal.TagSize / seal.HashSize
)

// An Extent is the value of a TypeExtent item: consecutive blocks of a file
// that are consecutive on the host.
type Extent struct {
	Ptr
	Tags []byte // seal.TagSize for each block; seal.HashSize if it is Hashed
}

// Hashed reports whether the blocks are not sealed, and Tags are their SHA-256 hashes.
func (e Extent) Hashed() bool { return e.Session == seal.SessionID{} }

func (e Extent) tagSize() int {
	if e.Hashed() {
		return seal.HashSize
	}
	return seal.TagSize
}

// Len returns the number of blocks.
func (e Extent) Len() int { return len(e.Tags) / e.tagSize() }

// Part returns blocks [from, to) of e, with the tags shared.
func (e Extent) Part(from, to int) Extent {
	n := e.tagSize()
	return Extent{Ptr: e.Ptr.Skip(from), Tags: e.Tags[from*n : to*n]}
}

// AppendExtent appends the encoded extent to dst.
func AppendExtent(dst []byte, e Extent) []byte {
	var b [PtrSize]byte
	PutPtr(b[:], e.Ptr)
	return append(append(dst, b[:]...), e.Tags...)
}

// DecodeExtent reads an extent; the tags are shared with b.
func DecodeExtent(b []byte) (Extent, error) {
	tags := len(b) - PtrSize
	if tags <= 0 || tags > MaxExtent*seal.TagSize {
		return Extent{}, &DamageError{"extent", "impossible length"}
	}
	e := Extent{Ptr: GetPtr(b), Tags: b[PtrSize:]}
	if tags%e.tagSize() != 0 {
		return Extent{}, &DamageError{"extent", "impossible length"}
	}
	if !e.Check(e.Len()) {
		return Extent{}, &DamageError{"extent", "outside of a segment"}
	}
	return e, nil
}
