package store

import (
	"slices"
	"sync"
)

// A Recorder is a Store that keeps a log of every call that changed something
// or made it durable, for rebuilding what a crash at any point may leave.
type Recorder struct {
	*Hooked
	mu   sync.Mutex
	base *Memory
	log  []Call
}

// NewRecorder returns a recording store that starts from the content of mem.
func NewRecorder(mem *Memory) *Recorder {
	r := &Recorder{base: mem.Clone()}
	r.Hooked = newHooked(mem, r)
	return r
}

// Len returns the number of recorded calls.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.log)
}

// Log returns the recorded calls.
func (r *Recorder) Log() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

func (r *Recorder) before(Call) error { return nil }

func (r *Recorder) after(c Call, err error) {
	if err != nil {
		return
	}
	switch c.Kind {
	case KindWrite:
		c.Data = slices.Clone(c.Data)
	case KindOpen:
		if !c.Make {
			return
		}
	case KindSync, KindUnlink, KindRename, KindMkdir:
	default:
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, c)
}
