package volume_test

import (
	"encoding/binary"
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
	seen     map[[32]byte]*usedNonces
	total    int
	repeated int
	strange  int // not made of a domain and a counter
}

// usedNonces has, for each domain, a bit for each counter.
type usedNonces [seal.DomainHead + 1][]uint64

func (l *nonceLog) note(key [32]byte, nonce [seal.NonceSize]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	domain, counter := binary.BigEndian.Uint32(nonce[:]), binary.BigEndian.Uint64(nonce[4:])
	if domain > uint32(seal.DomainHead) || counter > 1<<24 {
		l.strange++
		return
	}
	of := l.seen[key]
	if of == nil {
		of = new(usedNonces)
		l.seen[key] = of
	}
	bits := &of[domain]
	word, bit := int(counter/64), uint64(1)<<(counter%64)
	if word >= len(*bits) {
		*bits = append(*bits, make([]uint64, word+1-len(*bits))...)
	}
	if (*bits)[word]&bit != 0 {
		l.repeated++
	}
	(*bits)[word] |= bit
}

// TestNonceLog shows that the log sees a repetition.
func TestNonceLog(t *testing.T) {
	l := &nonceLog{seen: make(map[[32]byte]*usedNonces)}
	nonce := func(domain, counter byte) (n [seal.NonceSize]byte) {
		n[3], n[11] = domain, counter
		return n
	}
	for _, n := range [][seal.NonceSize]byte{nonce(1, 0), nonce(2, 0), nonce(1, 200), nonce(1, 3)} {
		l.note([32]byte{1}, n)
		l.note([32]byte{2}, n)
	}
	require.Zero(t, l.repeated)
	l.note([32]byte{2}, nonce(1, 200))
	require.Equal(t, 1, l.repeated)
	l.note([32]byte{2}, nonce(9, 0))
	require.Equal(t, 1, l.strange)
}

// TestNoncesNeverRepeat rolls a volume back, crashes it, forks it and goes on
// with each copy, and looks for a nonce that one key was used with twice.
func TestNoncesNeverRepeat(t *testing.T) {
	rounds, bulk := 150, 0
	if long() {
		rounds, bulk = 1000, 11
	}
	log := &nonceLog{seen: make(map[[32]byte]*usedNonces)}
	cfg := config()
	volume.Watch(&cfg, log.note)
	mem := store.NewMemory()
	makeVolume(t, mem)
	r := rand.New(rand.NewPCG(1, 1))
	images := []*store.Memory{mem}
	for round := range rounds {
		// Two forks of one image, of any time, open at the same time.
		image := images[r.IntN(len(images))]
		var forks [2]*volume.Volume
		var stores [2]*store.Memory
		var recs [2]*store.Recorder
		for i := range forks {
			stores[i] = image.Clone()
			if round%4 == 3 {
				recs[i] = store.NewRecorder(stores[i])
				forks[i] = openLoose(t, recs[i], cfg)
			} else {
				forks[i] = openLoose(t, stores[i], cfg)
			}
		}
		for i, v := range forks {
			w := newWorkload(uint64(round), func() int { return 0 })
			for range 1 + r.IntN(6) {
				w.step(t, v)
				if r.IntN(2) == 0 {
					commit(t, v)
				}
			}
			f := v.File(99, 0)
			for n := range bulk { // seals by the thousand
				p := pattern(round+n, 2<<20)
				tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, p, 0)) })
				commit(t, v)
			}
			if r.IntN(2) == 0 {
				closeVolume(t, v)
			} else {
				v.Abandon()
			}
			if rec := recs[i]; rec != nil { // what a crash at any moment before left
				stores[i] = rec.Crash(r.IntN(rec.Len()+1), func(int, store.Call) store.Fate { return store.Fate(r.IntN(3)) })
			}
		}
		images = append(images, stores[:]...)
		if len(images) > 12 {
			images = images[len(images)-12:]
		}
	}
	t.Logf("%d messages under %d keys in %d rounds of two forks", log.total, len(log.seen), rounds)
	require.Zero(t, log.repeated, "repeated (key, nonce) pairs among %d", log.total)
	require.Zero(t, log.strange)
	require.Greater(t, log.total, 10*rounds, "messages sealed")
	require.Greater(t, len(log.seen), rounds, "keys: every mount that writes has its own")
	if long() {
		require.Greater(t, log.total, 10_000_000)
	}
}
