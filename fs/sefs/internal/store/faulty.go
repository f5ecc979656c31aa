package store

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Faulty is a Store in which chosen calls fail.
type Faulty struct {
	*Hooked
	mu    sync.Mutex
	calls int
	fail  func(n int, c Call) unix.Errno
}

// NewFaulty returns a store over st that asks fail before call number n,
// counted from 0, and fails the call without effect if the answer is not 0. A
// write to be torn is for fail to do: it sees the bytes in c.Data.
func NewFaulty(st Store, fail func(n int, c Call) unix.Errno) *Faulty {
	f := &Faulty{fail: fail}
	f.Hooked = newHooked(st, f)
	return f
}

// Calls returns the number of calls so far.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *Faulty) before(c Call) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.calls
	f.calls++
	if errno := f.fail(n, c); errno != 0 {
		return fmt.Errorf("sefs store: %v %s: %w", c.Kind, c.Name, errno)
	}
	return nil
}

func (f *Faulty) after(Call, error) {}
