package enclave

import "context"

// A CounterState is one state of something that is kept on the untrusted host. The
// zero CounterState is none.
type CounterState struct {
	Seq  uint64   // rises with every state
	Root [32]byte // hash that stands for all of the state
}

// A Counter is a small memory that the host cannot turn back. It holds the newest
// state of each of a number of things, by id, so that an older state that the host
// presents is noticed, and so are two histories that part.
//
// It must be outside of the host's reach: a service in another enclave, non-volatile
// memory of a device, a machine that is trusted. Who can write to it can roll back what it
// guards. Methods are safe for concurrent use, and end by themselves: commits wait for
// them, and nobody else sets a limit of time.
type Counter interface {
	// State returns the newest state of id, the zero CounterState if there is none.
	//
	// Errors: EIO, or another errno, if the counter cannot be asked.
	State(ctx context.Context, id [16]byte) (CounterState, error)

	// Advance makes next the newest state of id if old is the newest one now, in
	// one atomic step, and durably. When it returns an error other than ESTALE, it
	// is open whether that has happened.
	//
	// Errors: ESTALE if the newest state is not old; EINVAL if next.Seq is not
	// above old.Seq, unless there was no state; otherwise as State.
	Advance(ctx context.Context, id [16]byte, old, next CounterState) error
}
