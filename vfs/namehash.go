package vfs

import (
	"hash/maphash"
	"math/bits"
)

// nameHash hashes names under secret keys, so that nobody can choose names that collide. Most names
// are short, and a walk hashes one per component: for those, two words are multiplied in
// the manner of wyhash, without a call.
type nameHash struct {
	seed       maphash.Seed
	key0, key1 uint64
}

func newNameHash() nameHash {
	seed := maphash.MakeSeed()
	return nameHash{seed: seed, key0: maphash.Comparable(seed, uint64(0)), key1: maphash.Comparable(seed, uint64(1))}
}

func (h *nameHash) sum(name string) uint32 {
	var a, b uint64
	switch n := len(name); {
	case n > 16:
		return uint32(maphash.String(h.seed, name))
	case n > 8:
		a, b = word8(name), word8(name[n-8:])
	case n >= 4:
		a, b = word4(name), word4(name[n-4:])
	case n > 0:
		a = uint64(name[0]) | uint64(name[n/2])<<8 | uint64(name[n-1])<<16
	}
	hi, lo := bits.Mul64(a^h.key0, b^h.key1^uint64(len(name))<<56)
	return uint32(hi ^ lo)
}

// word8 returns the first eight bytes of s as a number.
func word8(s string) uint64 {
	return word4(s) | word4(s[4:])<<32
}

// word4 returns the first four bytes of s as a number.
func word4(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
