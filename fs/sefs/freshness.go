package sefs

import (
	"context"
	"log/slog"

	"cloister/enclave"
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
)

// Freshness says what guards an open image against being put back to an older
// state as a whole. Within one mount nothing can be rolled back unnoticed, whatever it says.
type Freshness struct {
	// Counter: the image is under a freshness counter, as it said itself when it was
	// opened. For writing it then opens only with one.
	Counter bool
	// Checked: this mount asks the counter. An older state or a fork was refused, and
	// every commit is with the counter before it is acknowledged.
	Checked bool
}

// Freshness returns how the image is guarded.
func (fs *FS) Freshness() Freshness {
	marked, asked := fs.vol.Anchored()
	return Freshness{Counter: marked, Checked: asked}
}

// RootMAC returns the root MAC of the newest committed state: it stands for all that the
// image holds, and changes with every commit. A mount with mac= takes this state and no other.
func (fs *FS) RootMAC() mountopt.MAC { return fs.vol.State().Root }

// anchor is an enclave.Counter as a volume wants it.
type anchor struct{ counter enclave.Counter }

// anchorOf returns the anchor over a counter, nil for none.
func anchorOf(c enclave.Counter) volume.Anchor {
	if c == nil {
		return nil
	}
	return anchor{c}
}

// State implements volume.Anchor.
func (a anchor) State(ctx context.Context, uuid [16]byte) (volume.State, error) {
	s, err := a.counter.State(ctx, uuid)
	return volume.State(s), err
}

// Advance implements volume.Anchor.
func (a anchor) Advance(ctx context.Context, uuid [16]byte, old, next volume.State) error {
	return a.counter.Advance(ctx, uuid, enclave.CounterState(old), enclave.CounterState(next))
}

// warnOfSlowAES says in the log, once for each mount, that the processor does not help.
func warnOfSlowAES(log *slog.Logger, dir string, fast bool) {
	if !fast {
		log.Warn("no AES instructions: encryption is slow, and its timing may leak", "image", dir)
	}
}
