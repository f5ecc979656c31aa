package seal

import "crypto/sha256"

// HashSize is the length of a SHA-256 hash in bytes.
const HashSize = sha256.Size

// NameKey0 and NameKey1 are the key of the name hash of volumes without a secret: "sefs1 integrity ".
// Who reads such a volume never adds a name, so that there is nobody to keep the key from.
const (
	NameKey0 = 0x6e69203173666573
	NameKey1 = 0x2079746972676574
)

// Verify is Open for blocks that are not encrypted: Tags has the SHA-256 hash of each, HashSize bytes.
// It copies every block to its place and returns the number of the first whose hash is another one,
// or -1. Box, Domain, Counter and Room of r do not count.
func (p *Pool) Verify(r *Run) int {
	r.Box = nil
	n := len(r.Plain)
	if helpers := min(p.workers, n/minPart-1); helpers > 0 {
		return p.share(r, true, nil, helpers)
	}
	return r.verifyPart(0, n)
}

// verifyPart verifies blocks [from, to) of r.
func (r *Run) verifyPart(from, to int) int {
	for i := from; i < to; i++ {
		dst := r.Plain[i]
		src := r.Cipher[i*len(dst) : (i+1)*len(dst)]
		if sha256.Sum256(src) != [HashSize]byte(r.Tags[i*HashSize:(i+1)*HashSize]) {
			return i
		}
		copy(dst, src)
	}
	return -1
}
