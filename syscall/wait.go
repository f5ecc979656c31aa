package syscall

import (
	"context"
	"sync"
)

// waitSet holds the calls of a process that wait.
type waitSet struct {
	mu     sync.Mutex
	lastID int
	cancel map[int]context.CancelFunc
	dead   bool // after Exit: nobody waits any more
}

// begin returns a context for a call that may wait; done ends it.
func (s *waitSet) begin() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		cancel()
		return ctx, cancel
	}
	if s.cancel == nil {
		s.cancel = make(map[int]context.CancelFunc)
	}
	s.lastID++
	id := s.lastID
	s.cancel[id] = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.cancel, id)
	}
}

// interrupt ends the contexts of all calls that wait now.
func (s *waitSet) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.cancel {
		cancel()
	}
}

// close ends all waits, those to come, too.
func (s *waitSet) close() {
	s.mu.Lock()
	s.dead = true
	s.mu.Unlock()
	s.interrupt()
}

// Interrupt makes the calls of the process that wait for a lock fail with
// EINTR, as a signal with a handler does that is set up without SA_RESTART.
func (t *Task) Interrupt() { t.waits.interrupt() }
