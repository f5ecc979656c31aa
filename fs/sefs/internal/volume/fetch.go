package volume

import (
	"slices"
	"sync"

	"cloister/fs/sefs/internal/format"
)

// A fetch reads sealed blocks of a file that a sequential reader will soon ask for,
// while it opens those before. It does not open them: that is work for all processors.
type fetch struct {
	v *Volume
	b *ioBuf // that this is part of

	mu      sync.Mutex // held while reading
	done    bool
	ino     uint64
	block   uint64
	n       int    // blocks
	version uint64 // stripe.version before
	err     error
}

// fetches are those of a volume, oldest first, at most fetchDepth for each file.
type fetches struct {
	mu   sync.Mutex
	list []*fetch
}

// maxFetches bounds them, and their memory.
const (
	maxFetches = 8
	fetchDepth = 2 // for each file: one that is read while another one is waiting to be opened
)

// fetchAhead begins to read the blocks of a file from block on, fetchDepth times n of them or
// those before end, if there is a processor for it. What else was fetched of the file is
// forgotten.
func (v *Volume) fetchAhead(ino, block uint64, n int, end uint64) {
	most := min(2*fetchDepth*v.crypt.Workers(), maxFetches)
	if most == 0 {
		return
	}
	s := &v.fetches
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.list) - 1; i >= 0; i-- {
		if x := s.list[i]; x.ino == ino && (x.block < block || x.block >= block+fetchDepth*uint64(n) || (x.block-block)%uint64(n) != 0) {
			v.dropLocked(i)
		}
	}
	for range fetchDepth {
		n = int(min(uint64(n), max(end, block)-block))
		if n < directRead {
			return
		}
		v.fetchLocked(ino, block, n, most)
		block += uint64(n)
	}
}

// fetchLocked begins to read n blocks unless that was begun before.
func (v *Volume) fetchLocked(ino, block uint64, n, most int) {
	s := &v.fetches
	if slices.ContainsFunc(s.list, func(x *fetch) bool { return x.ino == ino && x.block == block }) {
		return
	}
	if len(s.list) == most {
		v.dropLocked(0)
	}
	x := &v.getBuf().fetch
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ino, x.block, x.n = ino, block, n
	x.version, x.err, x.done = v.stripe(ino).version.Load(), nil, false
	s.list = append(s.list, x)
	v.crypt.Go(x)
}

// dropLocked forgets a fetch that nobody asked for.
func (v *Volume) dropLocked(i int) {
	x := v.fetches.list[i]
	v.fetches.list = slices.Delete(v.fetches.list, i, i+1)
	x.mu.Lock()
	x.done = true
	x.mu.Unlock()
	v.putBuf(x.b)
}

// Do implements seal.Task. Who needs the blocks before a worker gets to it calls it,
// too.
func (x *fetch) Do() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	x.done = true
	x.err = x.v.fetchBlocks(x.ino, x.block, x.n, ahead, x.b)
}

// fetched returns the buffer with n sealed blocks of a file from block on, if they were
// fetched and have not moved since; otherwise nil. The caller puts it back.
func (v *Volume) fetched(ino, block uint64, n int, hint scanHint) *ioBuf {
	if hint != steady {
		return nil
	}
	s := &v.fetches
	s.mu.Lock()
	i := slices.IndexFunc(s.list, func(x *fetch) bool { return x.ino == ino && x.block == block && x.n == n })
	if i < 0 {
		s.mu.Unlock()
		return nil
	}
	x := s.list[i]
	s.list = slices.Delete(s.list, i, i+1)
	s.mu.Unlock()
	x.Do()
	if x.err != nil || v.stripe(ino).version.Load() != x.version {
		v.putBuf(x.b)
		return nil
	}
	return x.b
}

// fetchBlocks fills b.pieces with what blocks [block, block+n) of a file consist of,
// and b.data with the sealed blocks of all pieces, one behind the other.
func (v *Volume) fetchBlocks(ino, block uint64, n int, hint scanHint, b *ioBuf) error {
	if err := v.tree.collect(ino, block, block+uint64(n), hint, b); err != nil {
		return err
	}
	data := b.data[:]
	for i := 0; i < len(b.pieces); {
		p := b.pieces[i]
		i++
		if p.inline {
			continue
		}
		// Pieces that lie side by side on the host are one read.
		total := p.n
		for ; i < len(b.pieces) && b.pieces[i].ptr.Follows(p.ptr, total); i++ {
			total += b.pieces[i].n
		}
		size := total * format.BlockSize
		if err := v.readSealed(p.ptr, data[:size]); err != nil {
			return err
		}
		data = data[size:]
	}
	return nil
}

// openPieces opens what fetchBlocks has put into b to plain, which are blocks from block
// on.
func (v *Volume) openPieces(b *ioBuf, block uint64, plain [][]byte) error {
	data := b.data[:]
	at := 0 // blocks of plain that are done
	for i := 0; i < len(b.pieces); {
		p := b.pieces[i]
		i++
		for ; at < int(p.block-block); at++ {
			clear(plain[at])
		}
		if p.inline {
			copy(plain[at], b.inline[:])
			at++
			continue
		}
		// Pieces that were sealed one after the other open together.
		tags := p.tags
		for ; i < len(b.pieces) && b.pieces[i].continues(p); i++ {
			p.n += b.pieces[i].n
			tags = tags[:len(tags)+len(b.pieces[i].tags)]
		}
		size := p.n * format.BlockSize
		if err := v.openBlocks(b, p.ptr, data[:size], plain[at:at+p.n], tags); err != nil {
			return err
		}
		at += p.n
		data = data[size:]
	}
	for ; at < len(plain); at++ {
		clear(plain[at])
	}
	return nil
}

// continues reports whether p begins where o ends: in the file, on the host, and in the
// order of sealing.
func (p *piece) continues(o piece) bool {
	return p.block == o.block+uint64(o.n) && p.ptr == o.ptr.Skip(o.n) && !p.inline
}
