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

// Fate is what a crash does to a call that nothing has made durable.
type Fate int

const (
	Kept Fate = iota
	Lost
	Torn // writes only: every second 512-byte sector is lost
)

// Crash returns the content after the first n calls and a crash: calls made
// durable by a later Sync are kept, fate decides about each of the others. A
// sync of a file makes its writes and its name durable. fate may be nil: all
// are kept.
func (r *Recorder) Crash(n int, fate func(i int, c Call) Fate) *Memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.base.Clone()
	lost := make(map[string]bool) // files whose creation was lost
	for i, c := range r.log[:n] {
		f := Kept
		if fate != nil && !durable(r.log[i+1:n], c) {
			f = fate(i, c)
		}
		m.replay(c, f, lost)
	}
	return m
}

// durable reports whether one of the later calls makes c durable.
func durable(later []Call, c Call) bool {
	return c.Kind == KindMkdir || slices.ContainsFunc(later, func(l Call) bool {
		return l.Kind == KindSync && (l.Name == c.Name && c.Kind != KindUnlink || l.Name == ".")
	})
}

func (m *Memory) replay(c Call, f Fate, lost map[string]bool) {
	switch c.Kind {
	case KindMkdir:
		m.dirs[c.Name] = struct{}{}
	case KindOpen:
		lost[c.Name] = f == Lost
		if f != Lost {
			m.files[c.Name] = &memoryFile{}
		}
	case KindWrite:
		if file := m.files[c.Name]; file != nil && !lost[c.Name] {
			file.replay(c, f)
		}
	case KindUnlink:
		if f != Lost {
			delete(m.files, c.Name)
			delete(m.dirs, c.Name)
		}
	case KindRename:
		if file := m.files[c.Name]; file != nil && f != Lost {
			delete(m.files, c.Name)
			m.files[c.To] = file
		}
	}
}

func (f *memoryFile) replay(c Call, fate Fate) {
	const sector = 512
	switch fate {
	case Kept:
		f.write(c.Data, c.Off)
	case Torn:
		for at := 0; at < len(c.Data); at += 2 * sector {
			f.write(c.Data[at:min(at+sector, len(c.Data))], c.Off+int64(at))
		}
	}
}
