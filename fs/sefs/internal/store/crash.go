package store

import "strings"

const sectorSize = 512 // what a disk writes whole or not at all

// Fate is what a crash does to a call that nothing has made durable.
type Fate int

const (
	Kept Fate = iota
	Lost
	Torn // writes only: every second 512-byte sector is lost
)

// Crash returns the content after the first n calls and a crash: calls made
// durable by a later Sync are kept, fate decides about each of the others; nil:
// all are kept. The Memory is the caller's.
//
// A sync of a file makes its writes, its name and the directory that it is in
// durable, as file systems with a journal do; SyncDir makes the names at the top
// durable. A removal further down is never certain.
func (r *Recorder) Crash(n int, fate func(i int, c Call) Fate) *Memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := window{durable: r.base.Clone()}
	for i, c := range r.log[:n] {
		w.add(i, c)
	}
	lost := make(lostNames)
	for _, p := range w.pending {
		k := keepAll
		if fate != nil {
			k = [...]cut{Kept: keepAll, Lost: {}, Torn: {kind: cutEven}}[fate(p.at, p.Call)]
		}
		w.durable.replay(p.Call, k, lost)
	}
	return w.durable
}

// A window is a prefix of the recorded calls: what a crash cannot take back, and
// the calls that it can.
type window struct {
	durable *Memory
	pending []pendingCall
}

type pendingCall struct {
	Call
	at int // number of the call
}

func (w *window) add(i int, c Call) {
	if c.Kind != KindSync {
		w.pending = append(w.pending, pendingCall{c, i})
		return
	}
	kept := w.pending[:0]
	for _, p := range w.pending {
		if !c.settles(p.Call) {
			kept = append(kept, p)
			continue
		}
		w.durable.replay(p.Call, keepAll, nil)
		switch p.Kind {
		case KindOpen:
			kept = withoutUnlink(kept, p.Name)
		case KindRename:
			for i := range kept {
				if kept[i].Kind == KindWrite && kept[i].Name == p.Name {
					kept[i].Name = p.To
				}
			}
		}
	}
	w.pending = kept
}

// withoutUnlink leaves out the removal of a name that has since been taken again.
func withoutUnlink(list []pendingCall, name string) []pendingCall {
	out := list[:0]
	for _, p := range list {
		if p.Kind != KindUnlink || p.Name != name {
			out = append(out, p)
		}
	}
	return out
}

// settles reports whether sync c makes the earlier call p durable.
func (c Call) settles(p Call) bool {
	top := !strings.Contains(p.Name, "/")
	switch p.Kind {
	case KindWrite:
		return p.Name == c.Name
	case KindOpen:
		return p.Name == c.Name || c.Name == "." && top
	case KindMkdir:
		return strings.HasPrefix(c.Name, p.Name+"/") || c.Name == "." && top
	default:
		return c.Name == "." && top
	}
}

// A cut says which sectors of a write a crash keeps; of another call, whether it
// keeps it. The zero value keeps nothing.
type cut struct {
	kind cutKind
	n    uint64
}

type cutKind int

const (
	cutAll     cutKind = iota // keeps none
	cutNone                   // keeps all
	cutEven                   // keeps every second one, from the first on
	cutBehind                 // keeps the first n
	cutBefore                 // keeps all but the first n
	cutScatter                // keeps a random half, of which n is the seed
)

var keepAll = cut{kind: cutNone}

func (c cut) keeps(sector int) bool {
	switch c.kind {
	case cutNone:
		return true
	case cutEven:
		return sector%2 == 0
	case cutBehind:
		return uint64(sector) < c.n
	case cutBefore:
		return uint64(sector) >= c.n
	case cutScatter:
		return mix(c.n+uint64(sector)*0x9e3779b97f4a7c15)&1 == 0
	}
	return false
}

func (c cut) String() string {
	return [...]string{"lost", "kept", "every second sector", "first sectors", "last sectors", "some sectors"}[c.kind]
}

// lostNames are files whose creation a crash took back, and what was written to
// them with it.
type lostNames map[string]bool

func (m *Memory) replay(c Call, k cut, lost lostNames) {
	kept := k.kind != cutAll
	switch c.Kind {
	case KindMkdir:
		if kept {
			m.dirs[c.Name] = struct{}{}
		}
	case KindOpen:
		if kept {
			kept = m.parentLocked("open", c.Name) == nil
		}
		if kept {
			m.files[c.Name] = &memoryFile{}
		}
		if lost != nil {
			lost[c.Name] = !kept
		}
	case KindWrite:
		if file := m.files[c.Name]; file != nil && !lost[c.Name] {
			file.replay(c, k)
		}
	case KindUnlink:
		if kept {
			delete(m.files, c.Name)
			delete(m.dirs, c.Name)
		}
	case KindRename:
		if file := m.files[c.Name]; file != nil && kept {
			delete(m.files, c.Name)
			m.files[c.To] = file
		}
	}
}

func (f *memoryFile) replay(c Call, k cut) {
	if k == keepAll {
		f.write(c.Data, c.Off)
		return
	}
	for from := 0; from < len(c.Data); {
		to := min(from+sectorSize, len(c.Data))
		if k.keeps(from / sectorSize) {
			f.write(c.Data[from:to], c.Off+int64(from))
		}
		from = to
	}
}
