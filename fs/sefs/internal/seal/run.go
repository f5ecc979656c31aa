package seal

// A Run is a sequence of blocks of equal size (at most 8192 bytes) that lie
// side by side on the host and take consecutive counters.
type Run struct {
	Box     *Box
	Domain  Domain
	Counter uint64   // of the first block
	Cipher  []byte   // all blocks, encrypted
	Plain   [][]byte // each block, not overlapping Cipher
	Tags    []byte   // TagSize bytes for each block

	// Room says that the TagSize bytes behind Cipher, within its capacity, are
	// nobody else's during the call. Open leaves them as they were, Seal does not.
	Room bool
}

// hasRoom reports whether a tag may lie behind block i for a moment when blocks
// up to, not including, to are the caller's.
func (r *Run) hasRoom(i, to int) bool {
	return i < to-1 || r.Room && to == len(r.Plain)
}

// sealPart encrypts blocks [from, to) of r. A block is encrypted straight to
// its place; its tag lands on the first bytes of the next one, is taken from
// there and overwritten by the next block.
func (r *Run) sealPart(s *scratch, from, to int) {
	for i := from; i < to; i++ {
		src := r.Plain[i]
		size := len(src)
		tag := r.Tags[i*TagSize : (i+1)*TagSize]
		if !r.hasRoom(i, to) {
			r.Box.sealVia(s, r.Domain, r.Counter+uint64(i), r.Cipher[i*size:(i+1)*size], src, tag)
			continue
		}
		nonce := s.setNonce(r.Domain, r.Counter+uint64(i))
		r.Box.note(&s.nonce)
		out := r.Box.aead.Seal(r.Cipher[i*size:i*size], nonce, src, nil)
		copy(tag, out[size:])
	}
}

// openPart decrypts blocks [from, to) of r and returns the number of the first
// that is not authentic, or -1. The tag is planted behind each block for the
// call; what is there is kept aside.
func (r *Run) openPart(s *scratch, from, to int) int {
	if r.Box == nil { // Verify
		return r.verifyPart(from, to)
	}
	var kept [TagSize]byte
	for i := from; i < to; i++ {
		dst := r.Plain[i]
		size := len(dst)
		tag := r.Tags[i*TagSize : (i+1)*TagSize]
		if !r.hasRoom(i, to) {
			if !r.Box.openVia(s, r.Domain, r.Counter+uint64(i), dst, r.Cipher[i*size:(i+1)*size], tag) {
				return i
			}
			continue
		}
		behind := r.Cipher[(i+1)*size : (i+1)*size+TagSize]
		copy(kept[:], behind)
		copy(behind, tag)
		nonce := s.setNonce(r.Domain, r.Counter+uint64(i))
		_, err := r.Box.aead.Open(dst[:0], nonce, r.Cipher[i*size:(i+1)*size+TagSize], nil)
		copy(behind, kept[:])
		if err != nil {
			return i
		}
	}
	return -1
}
