// Package kernelrun runs scripts on the real kernel, so that Linux itself judges
// their expectations. It needs root.
package kernelrun

import (
	"context"

	"cloister/harness/internal/replay"
	"cloister/internal/kernel"
)

// System is the kernel of this machine. The zero value is ready.
type System struct {
	kernel.System
}

// Start makes a new mount namespace with an empty root and its first process.
// The kernel has no identity.
func (s *System) Start(context.Context, replay.Identity) (replay.Task, error) {
	t, err := s.System.Start()
	if err != nil {
		return nil, err
	}
	return task{t}, nil
}

// Stop removes the mount point; the namespace has gone with its last process.
func (s *System) Stop(context.Context) error { return s.System.Stop() }

// Kill is Stop: a kernel keeps what was written.
func (s *System) Kill() { _ = s.System.Stop() }

// Abort removes the mount point while calls are in progress. It may be called
// from any goroutine.
func (s *System) Abort() { _ = s.System.Stop() }

// task makes a kernel.Task a replay.Task.
type task struct{ *kernel.Task }

// Fork is fork(2).
func (t task) Fork() (replay.Task, error) {
	c, err := t.Task.Fork()
	if err != nil {
		return nil, err
	}
	return task{c}, nil
}
