package volume

import "sync"

// A turn lets one commit run at a time. Unlike a mutex it wakes all who wait at
// once, so that those whom the last commit served leave without queueing, and
// commits become as large as there are callers.
type turn struct {
	mu   sync.Mutex
	free *sync.Cond
	busy bool
}

func newTurn() *turn {
	t := &turn{}
	t.free = sync.NewCond(&t.mu)
	return t
}

// take waits until it is the caller's turn. It returns false, without taking it,
// as soon as served says that another one has done what the caller wants.
func (t *turn) take(served func() bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if served() {
			return false
		}
		if !t.busy {
			t.busy = true
			return true
		}
		t.free.Wait()
	}
}

// give ends the caller's turn.
func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	t.free.Broadcast()
}
