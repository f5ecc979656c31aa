package volume

import (
	"sync"

	"cloister/fs/sefs/internal/format"
)

// A sending is an I/O buffer on its way to a segment in the background, so that one
// processor can seal while another one is in a host call. From send to the end of
// the write its blocks are read from memory. A write that the host refuses stays
// one, and is tried again by everybody who needs it done.
type sending struct {
	v   *Volume
	b   *ioBuf
	p   format.Ptr
	n   int // blocks
	seg *segment
	err error // not nil: the host refused it
}

// maxSending is how many buffers may be on their way for each worker: one that
// it writes and one that it writes next.
const maxSending = 2

// sendings are those of a volume, oldest first.
type sendings struct {
	mu    sync.Mutex
	moved *sync.Cond // one of list was written, or refused
	list  []*sending
}

// minSending is the least number of blocks worth sending.
const minSending = 64

// send begins to write the first n blocks of b.data, which are sealed, to p, and there
// is nothing else in b. The caller records where they lie and calls sent. On
// one processor the write is done on return.
func (v *Volume) send(b *ioBuf, p format.Ptr, n int) (*sending, error) {
	if v.crypt.Workers() == 0 || n < minSending {
		return nil, v.segs.write(p, b.data[:n*format.BlockSize])
	}
	g, err := v.segs.get(p.Segment, true)
	if err != nil {
		return nil, err
	}
	s := &v.sendings
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &b.sending
	*w = sending{v: v, b: b, p: p, n: n, seg: g}
	s.list = append(s.list, w)
	return w, nil
}

// sent lets go of b, of which w is what send returned.
func (v *Volume) sent(w *sending, b *ioBuf) {
	if w == nil {
		v.putBuf(b)
		return
	}
	v.crypt.Go(w)
}

// Do implements seal.Task.
func (w *sending) Do() { w.v.sendings.settle(w, w.write()) }

func (w *sending) write() error {
	return w.v.segs.writeTo(w.seg, w.p, w.b.data[:w.n*format.BlockSize])
}

// settle notes how the write of w ended.
func (s *sendings) settle(w *sending, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.err = err
	if err == nil {
		i := 0
		for s.list[i] != w {
			i++
		}
		s.list = append(s.list[:i], s.list[i+1:]...)
		w.v.segs.release(w.seg)
		w.v.putBuf(w.b)
	}
	s.moved.Broadcast()
}

// makeRoom waits until another buffer may be sent.
//
// Errors: those of a write that was refused, ENOSPC above all, and is again.
func (v *Volume) makeRoom() error { return v.settleSendings(v.crypt.Workers()*maxSending - 1) }

// settleAll waits until nothing is on its way.
//
// Errors: as makeRoom.
func (v *Volume) settleAll() error { return v.settleSendings(0) }

// settleSendings waits until at most n buffers are on their way and none is refused.
func (v *Volume) settleSendings(most int) error {
	s := &v.sendings
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		w := s.refusedLocked()
		if w == nil && len(s.list) <= max(most, 0) {
			return nil
		}
		if w == nil {
			s.moved.Wait()
			continue
		}
		w.err = nil // it is this caller's now
		s.mu.Unlock()
		err := w.write()
		s.settle(w, err)
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
}

func (s *sendings) refusedLocked() *sending {
	for _, w := range s.list {
		if w.err != nil {
			return w
		}
	}
	return nil
}

// peek copies sealed blocks at p that are on their way to data, and returns how many it
// copied. If it is none, the first of them that are on their way come after n
// blocks.
func (s *sendings) peek(p format.Ptr, data []byte) (copied, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = len(data) / format.BlockSize
	for _, w := range s.list {
		if w.p.Segment != p.Segment {
			continue
		}
		first, at := int(w.p.Block), int(p.Block)
		switch {
		case first <= at && at < first+w.n:
			have := w.b.data[(at-first)*format.BlockSize : w.n*format.BlockSize]
			return copy(data, have) / format.BlockSize, 0
		case first > at:
			n = min(n, first-at)
		}
	}
	return 0, n
}

// readSealed fills data with the sealed blocks at p.
func (v *Volume) readSealed(p format.Ptr, data []byte) error {
	for len(data) > 0 {
		copied, n := v.sendings.peek(p, data)
		if copied == 0 {
			if err := v.segs.read(p, data[:n*format.BlockSize]); err != nil {
				return err
			}
			copied = n
		}
		p, data = p.Skip(copied), data[copied*format.BlockSize:]
	}
	return nil
}
