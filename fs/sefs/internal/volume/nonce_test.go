package volume_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// nonceLog remembers which nonces were used with which key.
type nonceLog struct {
	mu       sync.Mutex
	seen     map[[32]byte]map[[seal.NonceSize]byte]struct{}
	total    int
	repeated int
}

func (l *nonceLog) note(key [32]byte, nonce [seal.NonceSize]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.seen[key]
	if of == nil {
		of = make(map[[seal.NonceSize]byte]struct{})
		l.seen[key] = of
	}
	if _, again := of[nonce]; again {
		l.repeated++
	}
	of[nonce] = struct{}{}
	l.total++
}

// TestNoncesNeverRepeat rolls a volume back, crashes it, forks it and goes on
// with each copy, and looks for a nonce that one key was used with twice.
func TestNoncesNeverRepeat(t *testing.T) {
	log := &nonceLog{seen: make(map[[32]byte]map[[seal.NonceSize]byte]struct{})}
	cfg := config()
	volume.Watch(&cfg, log.note)
	mem := store.NewMemory()
	makeVolume(t, mem)
	r := rand.New(rand.NewPCG(1, 1))
	images := []*store.Memory{mem}
	const rounds = 150
	for round := range rounds {
		// Two copies of one image at the same time, from any time.
		image := images[r.IntN(len(images))]
		for range 2 {
			m := image.Clone()
			v := openLoose(t, m, cfg)
			w := newWorkload(uint64(round), func() int { return 0 })
			w.files = map[uint64]*volume.File{}
			for range 1 + r.IntN(6) {
				w.step(t, v)
				if r.IntN(2) == 0 {
					commit(t, v)
				}
			}
			if r.IntN(2) == 0 {
				closeVolume(t, v)
			} else {
				v.Abandon()
			}
			images = append(images, m)
		}
		if len(images) > 12 {
			images = images[len(images)-12:]
		}
	}
	require.Zero(t, log.repeated, "repeated (key, nonce) pairs among %d", log.total)
	require.Greater(t, log.total, 10*rounds, "messages sealed")
	require.Greater(t, len(log.seen), rounds, "keys: every mount that writes has its own")
}
