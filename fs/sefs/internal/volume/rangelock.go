package volume

import (
	"slices"
	"sync"
)

// A blockRange is blocks [from, to) of a file.
type blockRange struct{ ino, from, to uint64 }

func (r blockRange) overlaps(o blockRange) bool {
	return r.ino == o.ino && r.from < o.to && o.from < r.to
}

// A rangeLock excludes those from each other who move the same blocks of files.
type rangeLock struct {
	mu   sync.Mutex
	free *sync.Cond // nil until somebody waits
	held []blockRange
}

// lock waits until nobody holds a block of r.
func (l *rangeLock) lock(r blockRange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slices.ContainsFunc(l.held, r.overlaps) {
		if l.free == nil {
			l.free = sync.NewCond(&l.mu)
		}
		l.free.Wait()
	}
	l.held = append(l.held, r)
}

// unlock ends what lock began.
func (l *rangeLock) unlock(r blockRange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.held, r)
	last := len(l.held) - 1
	l.held[i] = l.held[last]
	l.held = l.held[:last]
	if l.free != nil {
		l.free.Broadcast()
	}
}
