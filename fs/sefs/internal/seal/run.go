package seal

import (
	"runtime"
	"sync"
)

// A Run is a sequence of blocks of equal size (at most 8192 bytes) that lie
// side by side on the host and take consecutive counters.
type Run struct {
	Box     *Box
	Domain  Domain
	Counter uint64   // of the first block
	Cipher  []byte   // all blocks, encrypted
	Plain   [][]byte // each block, not overlapping Cipher
	Tags    []byte   // TagSize bytes for each block
}

// sealPart encrypts blocks [from, to) of r. A block is encrypted straight to
// its place; its tag lands on the first bytes of the next one, is taken from
// there and overwritten by the next block. Only the last one takes a copy.
func (r *Run) sealPart(s *scratch, from, to int) {
	for i := from; i < to; i++ {
		src := r.Plain[i]
		size := len(src)
		tag := r.Tags[i*TagSize : (i+1)*TagSize]
		if i == to-1 {
			r.Box.sealVia(s, r.Domain, r.Counter+uint64(i), r.Cipher[i*size:(i+1)*size], src, tag)
			return
		}
		nonce := s.setNonce(r.Domain, r.Counter+uint64(i))
		r.Box.note(&s.nonce)
		out := r.Box.aead.Seal(r.Cipher[i*size:i*size], nonce, src, nil)
		copy(tag, out[size:])
	}
}

// openPart decrypts blocks [from, to) of r and returns the number of the first
// that is not authentic, or -1. The tag is planted behind each block for the
// call, where the next block is, whose first bytes are kept aside.
func (r *Run) openPart(s *scratch, from, to int) int {
	var kept [TagSize]byte
	for i := from; i < to; i++ {
		dst := r.Plain[i]
		size := len(dst)
		tag := r.Tags[i*TagSize : (i+1)*TagSize]
		if i == to-1 {
			if !r.Box.openVia(s, r.Domain, r.Counter+uint64(i), dst, r.Cipher[i*size:(i+1)*size], tag) {
				return i
			}
			break
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

// minPart is the least number of blocks worth waking another worker for.
const minPart = 32

// A Pool seals and opens runs on all processors.
type Pool struct {
	jobs    chan job
	workers int
	wg      sync.WaitGroup
	results sync.Pool // of *results
}

type job struct {
	run      *Run
	open     bool
	from, to int
	done     *results
}

type results struct {
	sync.WaitGroup
	mu  sync.Mutex
	bad int // lowest number of a block that is not authentic; -1: none
}

func (r *results) add(bad int) {
	if bad < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad < 0 || bad < r.bad {
		r.bad = bad
	}
}

// NewPool starts workers for all processors but the caller's. Close ends them.
func NewPool() *Pool {
	p := &Pool{
		jobs:    make(chan job),
		workers: min(runtime.GOMAXPROCS(0), 16) - 1,
		results: sync.Pool{New: func() any { return new(results) }},
	}
	for range p.workers {
		p.wg.Go(p.work)
	}
	return p
}

// Close ends the workers, which must have no run left.
func (p *Pool) Close() {
	close(p.jobs)
	p.wg.Wait()
}

func (p *Pool) work() {
	s := new(scratch)
	for j := range p.jobs {
		j.do(s)
		j.done.Done()
	}
}

func (j *job) do(s *scratch) {
	if j.open {
		j.done.add(j.run.openPart(s, j.from, j.to))
		return
	}
	j.run.sealPart(s, j.from, j.to)
}

// Seal encrypts every block of r and sets its tag.
func (p *Pool) Seal(r *Run) { p.do(r, false) }

// Open decrypts every block of r. It returns the number of the first block
// that is not authentic, or -1; after that no block of r may be used.
func (p *Pool) Open(r *Run) int { return p.do(r, true) }

func (p *Pool) do(r *Run, open bool) int {
	n := len(r.Plain)
	s := r.Box.pool.Get().(*scratch)
	defer r.Box.pool.Put(s)
	parts := min(p.workers+1, n/minPart)
	if parts <= 1 {
		if open {
			return r.openPart(s, 0, n)
		}
		r.sealPart(s, 0, n)
		return -1
	}
	res := p.results.Get().(*results)
	defer p.results.Put(res)
	res.bad = -1
	from := 0
	for i := range parts - 1 {
		to := n * (i + 1) / parts
		res.Add(1)
		select {
		case p.jobs <- job{run: r, open: open, from: from, to: to, done: res}:
			from = to
		default: // no worker is idle: the caller does what is left
			res.Done()
		}
	}
	mine := job{run: r, open: open, from: from, to: n, done: res}
	mine.do(s)
	res.Wait()
	return res.bad
}
