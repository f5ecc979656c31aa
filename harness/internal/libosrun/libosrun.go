// Package libosrun runs scripts on the library OS, in this process, in a
// simulated enclave.
package libosrun

import (
	"context"

	"cloister/enclave/sim"
	"cloister/harness/internal/replay"
	"cloister/libos"
	"cloister/syscall"
)

// System is a library OS that is started, stopped and killed as a script
// says. The zero value is ready.
type System struct {
	os *libos.LibOS
}

// Start boots a library OS with the platform that id describes.
func (s *System) Start(ctx context.Context, id replay.Identity) (replay.Task, error) {
	lo, err := Boot(ctx, id)
	if err != nil {
		return nil, err
	}
	s.os = lo
	return task{s.os.NewTask()}, nil
}

// Boot starts a library OS in a simulated enclave with the identity id.
func Boot(ctx context.Context, id replay.Identity) (*libos.LibOS, error) {
	platform, err := sim.New(sim.Config{
		MachineSecret:   secret(id.Machine),
		Signer:          [32]byte(secret(id.Signer)),
		ProductID:       id.Product,
		SecurityVersion: id.Version,
	})
	if err != nil {
		return nil, err
	}
	return libos.Start(ctx, libos.Config{Platform: platform})
}

// secret returns 32 bytes that differ for different names. Nothing is secret
// about them: names stand in scripts.
func secret(name string) []byte {
	b := make([]byte, replay.MaxName)
	copy(b, name)
	return b
}

// Stop unmounts everything and writes it out.
func (s *System) Stop(ctx context.Context) error { return s.os.Close(ctx) }

// Kill drops what is not written.
func (s *System) Kill() { s.os.Kill() }

// task makes a syscall.Task a replay.Task.
type task struct{ *syscall.Task }

// Fork is fork(2).
func (t task) Fork() (replay.Task, error) { return task{t.Task.Fork()}, nil }
