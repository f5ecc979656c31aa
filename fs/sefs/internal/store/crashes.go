package store

import (
	"fmt"
	"iter"
)

// A CrashImage is what one crash may leave on the host.
type CrashImage struct {
	Memory *Memory // until the next image is asked for
	Calls  int     // the crash came after this many recorded calls
	Fate   string  // what became of those that nothing had made durable
}

// CrashConfig says which crashes Crashes makes.
type CrashConfig struct {
	Rand Rand
	From int // the first number of calls
	Each int // images tried for each number of calls, at most
}

// Rand is a source of random numbers: a *rand.Rand of math/rand/v2.
type Rand interface {
	IntN(n int) int
	Uint64() uint64
	Uint64N(n uint64) uint64
}

// Crashes returns what a crash after any number of calls may leave: everything kept and everything lost;
// all subsets of few calls that nothing has made durable, of many those with one
// lost, with one kept, and random ones; and for each write the beginning, the end
// and random sectors of it. Each content comes once.
//
// What a crash can take back is as for Crash.
func (r *Recorder) Crashes(cfg CrashConfig) iter.Seq[CrashImage] {
	return func(yield func(CrashImage) bool) {
		log := r.Log()
		w := window{durable: r.base.Clone()}
		seen := make(map[uint64]struct{})
		for n := 0; n <= len(log); n++ {
			if n >= cfg.From && !w.crash(n, cfg, seen, yield) {
				return
			}
			if n < len(log) {
				w.add(n, log[n])
			}
		}
	}
}

// allSubsets is the number of calls that may be undone up to which all subsets
// of them are.
const allSubsets = 5

func (w *window) crash(n int, cfg CrashConfig, seen map[uint64]struct{}, yield func(CrashImage) bool) bool {
	cuts := make([]cut, len(w.pending))
	left := cfg.Each
	try := func() bool {
		if left--; left < 0 {
			return true
		}
		m := w.durable.fork()
		lost := make(lostNames)
		for i, p := range w.pending {
			m.replay(p.Call, cuts[i], lost)
		}
		sum := m.digest()
		if _, again := seen[sum]; again {
			return true
		}
		seen[sum] = struct{}{}
		return yield(CrashImage{Memory: m, Calls: n, Fate: w.fate(cuts)})
	}
	return w.wholeCalls(cuts, try) && w.tornCalls(cfg.Rand, cuts, try) && w.anything(cfg.Rand, cuts, &left, try)
}

func fill(cuts []cut, c cut) {
	for i := range cuts {
		cuts[i] = c
	}
}

// latest is how many calls are lost alone, or kept alone, when there are more.
const latest = 16

// wholeCalls keeps and loses whole calls.
func (w *window) wholeCalls(cuts []cut, try func() bool) bool {
	if len(cuts) <= allSubsets {
		for set := range 1 << len(cuts) {
			for i := range cuts {
				cuts[i] = [2]cut{keepAll, {}}[set>>i&1]
			}
			if !try() {
				return false
			}
		}
		return true
	}
	for _, all := range []cut{keepAll, {}} {
		fill(cuts, all)
		if !try() {
			return false
		}
		for i := len(cuts) - 1; i >= max(0, len(cuts)-latest); i-- {
			cuts[i] = [...]cut{cutNone: {}, cutAll: keepAll}[all.kind]
			if !try() {
				return false
			}
			cuts[i] = all
		}
	}
	return true
}

// tornCalls tears the latest writes.
func (w *window) tornCalls(r Rand, cuts []cut, try func() bool) bool {
	const writes, places = 4, 6
	left := writes
	for i := len(cuts) - 1; i >= 0 && left > 0; i-- {
		sectors := (len(w.pending[i].Data) + sectorSize - 1) / sectorSize
		if w.pending[i].Kind != KindWrite || sectors < 2 {
			continue
		}
		left--
		for place := range min(places, sectors-1) {
			at := uint64(1 + place)
			if sectors-1 > places {
				at = 1 + r.Uint64N(uint64(sectors-1))
			}
			for _, torn := range []cut{{cutBehind, at}, {cutBefore, at}, {cutScatter, r.Uint64()}} {
				fill(cuts, keepAll)
				cuts[i] = torn
				if !try() {
					return false
				}
			}
		}
	}
	return true
}

// anything does random things to all calls as long as there are images left.
func (w *window) anything(r Rand, cuts []cut, left *int, try func() bool) bool {
	if len(cuts) == 0 {
		return true
	}
	for *left > 0 {
		for i := range cuts {
			switch r.IntN(4) {
			case 0:
				cuts[i] = keepAll
			case 1:
				cuts[i] = cut{}
			case 2:
				cuts[i] = cut{cutScatter, r.Uint64()}
			case 3:
				cuts[i] = cut{[2]cutKind{cutBehind, cutBefore}[r.IntN(2)], r.Uint64N(64)}
			}
		}
		if !try() {
			return false
		}
	}
	return true
}

// fate describes cuts.
func (w *window) fate(cuts []cut) string {
	text := ""
	for i, p := range w.pending {
		if cuts[i] != keepAll {
			text += fmt.Sprintf("; call %d, %v %s: %v %d", p.at, p.Kind, p.Name, cuts[i], cuts[i].n)
		}
	}
	if text == "" {
		return "nothing is lost"
	}
	return text[2:]
}
