package volume

import (
	"slices"
	"sync"

	"cloister/fs/sefs/internal/format"
)

// A sending is an I/O buffer on its way to a segment in the background, so that one
// processor can seal while another one is in a host call. From send to the end of
// the write its blocks are read from memory. A write that the host refuses stays
// one, and is tried again by everybody who needs it done.
type sending struct {
	v *Volume
	b *ioBuf // that this is part of; its spots say where to

	// Guarded by sendings.mu.
	state sendingState
	held  bool // the caller of send still uses the buffer
}

// segment returns the number of the segment that w goes to, the first of them.
func (w *sending) segment() uint32 { return w.b.spots[0].at.Segment }

type sendingState uint8

const (
	sendingOff     sendingState = iota // it is none
	sendingQueued                      // to be written by the first who comes
	sendingNow                         // being written
	sendingRefused                     // the host refused it
)

// maxSending is how many buffers may be on their way: one that is being written to each
// of two segments, and those that are next.
const maxSending = 4

// sendings are those of a volume, oldest first.
type sendings struct {
	mu    sync.Mutex
	moved *sync.Cond // one of list was written, or refused
	list  []*sending
}

// minSending is the least number of blocks worth sending.
const minSending = 64

// send begins to write the first n blocks of b.data, which are sealed, to b.spots. The
// caller records where they lie and calls sent. On one processor the write is done
// on return.
func (v *Volume) send(b *ioBuf, n int) (*sending, error) {
	w := &b.sending
	if v.crypt.Workers() == 0 || n < minSending {
		return nil, w.put()
	}
	s := &v.sendings
	s.mu.Lock()
	defer s.mu.Unlock()
	w.state, w.held = sendingQueued, true
	s.list = append(s.list, w)
	v.crypt.Go(w)
	return w, nil
}

// put writes the buffer.
func (w *sending) put() error {
	data := w.b.data[:]
	for _, s := range w.b.spots {
		size := s.n * format.BlockSize
		if err := w.v.segs.write(s.at, data[:size]); err != nil {
			return err
		}
		data = data[size:]
	}
	return nil
}

// sent lets go of b, of which w is what send returned.
func (v *Volume) sent(w *sending, b *ioBuf) {
	if w != nil {
		v.sendings.mu.Lock()
		w.held = false
		underWay := w.state != sendingOff
		v.sendings.mu.Unlock()
		if underWay { // who writes it puts it back
			return
		}
	}
	v.putBuf(b)
}

// Do implements seal.Task. Somebody else may have been faster, and the buffer may even be
// on its way again.
func (w *sending) Do() {
	s := &w.v.sendings
	s.mu.Lock()
	mine := w.state == sendingQueued
	if mine {
		w.state = sendingNow
	}
	s.mu.Unlock()
	if mine {
		w.write()
	}
}

// write writes w, which is the caller's to write, and notes how that ended.
func (w *sending) write() error {
	v, s := w.v, &w.v.sendings
	err := w.put()
	s.mu.Lock()
	defer s.mu.Unlock()
	w.state = sendingRefused
	if err == nil {
		i := slices.Index(s.list, w)
		s.list = slices.Delete(s.list, i, i+1)
		w.state = sendingOff
		if !w.held {
			v.putBuf(w.b)
		}
	}
	s.moved.Broadcast()
	return err
}

// makeRoom waits until another buffer may be sent.
//
// Errors: those of a write that was refused, ENOSPC above all, and is again.
func (v *Volume) makeRoom() error { return v.waitSendings(min(2*v.crypt.Workers(), maxSending) - 1) }

// settleAll waits until nothing is on its way.
//
// Errors: as makeRoom.
func (v *Volume) settleAll() error { return v.waitSendings(0) }

// waitSendings waits until at most so many buffers are on their way and none is refused. It
// writes itself what nobody else writes yet.
func (v *Volume) waitSendings(most int) error {
	s := &v.sendings
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.list) > max(most, 0) || s.refused() {
		w := s.nextLocked()
		if w == nil {
			v.alloc.widen() // the host takes one write at a time for each segment
			s.moved.Wait()
			continue
		}
		w.state = sendingNow
		s.mu.Unlock()
		err := w.write()
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sendings) refused() bool {
	return slices.ContainsFunc(s.list, func(w *sending) bool { return w.state == sendingRefused })
}

// nextLocked returns what the caller may write: what was refused, or what would not
// have to wait for another write to the same segment; nil if there is none.
func (s *sendings) nextLocked() *sending {
	for i, w := range s.list {
		busy := slices.ContainsFunc(s.list[:i], func(o *sending) bool { return o.segment() == w.segment() })
		if w.state == sendingRefused || w.state == sendingQueued && !busy {
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
		have := w.b.data[:]
		for _, spot := range w.b.spots {
			from := int(p.Block) - int(spot.at.Block) // blocks of the spot before p
			size := spot.n * format.BlockSize
			switch {
			case spot.at.Segment != p.Segment || from >= spot.n:
			case from < 0:
				n = min(n, -from)
			default:
				return copy(data, have[from*format.BlockSize:size]) / format.BlockSize, 0
			}
			have = have[size:]
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
