package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// A SessionID names a session. It is random, stands in clear beside whatever
// was sealed in the session, and selects the key.
type SessionID [12]byte

// maxMessages is how many messages one session seals before the next session
// takes over: 2^32 blocks, 16 TiB.
const maxMessages = 1 << 32

// A Session hands out nonces for sealing. Its counter exists in memory only
// and never goes back.
type Session struct {
	ring *Keyring
	seed []byte

	mu   sync.Mutex
	box  *Box // nil until the first Reserve
	next uint64
	max  uint64
}

// NewSession returns a session that takes its id when it first seals. seed is
// mixed into the id beside the randomness, so that two clones of one machine,
// random generator included, still part as soon as anything about them differs.
func NewSession(ring *Keyring, seed []byte) *Session {
	return &Session{ring: ring, seed: seed, max: maxMessages}
}

// Reserve returns the key to use and the first of n counters that nobody else
// gets. n is at most 2^16.
func (s *Session) Reserve(n int) (*Box, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box == nil || s.next+uint64(n) > s.max {
		box, err := s.ring.Box(s.newID())
		if err != nil {
			return nil, 0, err
		}
		s.box, s.next = box, 0
	}
	first := s.next
	s.next += uint64(n)
	return s.box, first, nil
}

func (s *Session) newID() (id SessionID) {
	var fresh [32]byte
	rand.Read(fresh[:])
	h := sha256.New()
	h.Write(fresh[:])
	h.Write(s.seed)
	copy(id[:], h.Sum(nil))
	return id
}
