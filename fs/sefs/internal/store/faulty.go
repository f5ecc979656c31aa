package store

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A Fault is what happens to one call. The zero value is nothing.
type Fault struct {
	Errno unix.Errno // what it fails with
	Part  int        // KindWrite: bytes that are written nevertheless
	Short bool       // KindRead, without Errno: the file seems to end in the middle of what is read
}

// Faulty is a Store in which chosen calls fail.
type Faulty struct {
	*Hooked
	mu    sync.Mutex
	calls int
	fault func(n int, c Call) Fault
}

// NewFaulty returns a store over st that asks fault before call number n,
// counted from 0, for concurrent calls concurrently.
func NewFaulty(st Store, fault func(n int, c Call) Fault) *Faulty {
	f := &Faulty{fault: fault}
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
	n := f.calls
	f.calls++
	f.mu.Unlock() // the function may use the store itself
	fault := f.fault(n, c)
	if fault.Errno == 0 {
		if fault.Short && c.Kind == KindRead {
			return errShort
		}
		return nil
	}
	return &faultError{fault, fmt.Errorf("sefs store: %v %s: %w", c.Kind, c.Name, fault.Errno)}
}

func (f *Faulty) after(Call, error) {}

// errShort is how Faulty tells Hooked to read less.
var errShort = errors.New("short read")

// faultError is how Faulty tells Hooked to write a part first.
type faultError struct {
	fault Fault
	error
}

func (e *faultError) Unwrap() error { return e.error }
