package volume

import (
	"runtime"
	"sync"
	"time"
)

// A turn lets one commit run at a time. Unlike a mutex it wakes all who wait at
// once, so that those whom the last commit served leave without queueing, and
// commits become as large as there are callers.
type turn struct {
	mu   sync.Mutex
	free *sync.Cond
	busy bool

	came  int           // callers since the last commit closed its transaction
	group int           // callers that it served
	took  time.Duration // how long it was at the host, by the clock
}

// maxGather bounds the wait for callers that are likely to come.
const maxGather = time.Millisecond

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
	t.came++
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

// gather gives those whom the last commit served the time to come again: if
// they do, as threads that sync one small write after the other, one commit can
// serve all of them instead of the first alone. It waits at most for half of what
// the last commit took, and for nobody if that served its caller only.
//
// Preconditions: it is the caller's turn.
func (t *turn) gather() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.came >= t.group {
		return
	}
	most := min(t.took/2, maxGather)
	for start := time.Now(); t.came < t.group && time.Since(start) < most; {
		t.mu.Unlock()
		runtime.Gosched()
		t.mu.Lock()
	}
}

// closed notes that whoever comes from now on is for the next commit.
func (t *turn) closed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.came, t.group = 0, t.came
}

// done notes how long a commit was at the host.
func (t *turn) done(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = took
}

// give ends the caller's turn.
func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	t.free.Broadcast()
}
