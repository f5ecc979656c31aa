package volume

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A turn lets one commit run at a time. Unlike a mutex it wakes all who wait at
// once, so that those whom the last commit served leave without queueing, and
// commits become as large as there are callers.
type turn struct {
	mu   sync.Mutex
	busy bool
	over chan struct{} // closed at the end of the turn

	came  atomic.Int64  // callers since the last commit closed its transaction
	group int64         // callers that it served
	took  time.Duration // how long it was at the host, by the clock
}

// maxGather bounds the wait for callers that are likely to come.
const maxGather = time.Millisecond

func newTurn() *turn { return &turn{over: make(chan struct{})} }

// take waits until it is the caller's turn. It returns false, without taking it,
// as soon as served says that another one has done what the caller wants.
func (t *turn) take(served func() bool) bool {
	t.came.Add(1)
	for !served() {
		over, mine := t.tryTake()
		if mine {
			return true
		}
		<-over
	}
	return false
}

// tryTake takes the turn, or returns a channel that is closed at the end of the
// one that is going on.
func (t *turn) tryTake() (over chan struct{}, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy {
		return t.over, false
	}
	t.busy = true
	return nil, true
}

// gather gives those whom the last commit served the time to come again: if
// they do, as threads that sync one small write after the other, one commit can
// serve all of them instead of the first alone. It waits at most for half of what
// the last commit took, and for nobody if that served its caller only.
//
// Preconditions: it is the caller's turn.
func (t *turn) gather() {
	if t.came.Load() >= t.group {
		return
	}
	most := min(t.took/2, maxGather)
	for start := time.Now(); t.came.Load() < t.group && time.Since(start) < most; {
		runtime.Gosched()
	}
}

// closed notes that whoever comes from now on is for the next commit.
//
// Preconditions: it is the caller's turn.
func (t *turn) closed() { t.group = t.came.Swap(0) }

// done notes how long a commit was at the host.
//
// Preconditions: it is the caller's turn.
func (t *turn) done(took time.Duration) { t.took = took }

// give ends the caller's turn.
func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	close(t.over)
	t.over = make(chan struct{})
}
