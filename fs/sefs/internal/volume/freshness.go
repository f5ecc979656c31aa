package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// A State is one committed state of a volume. The zero State is none.
type State struct {
	Seq  uint64   // number of the commit
	Root [32]byte // stands for everything that the volume held then
}

// An Anchor keeps the newest state of volumes where the host cannot turn it back.
type Anchor interface {
	// State returns the newest state of a volume, the zero State if there is none.
	State(ctx context.Context, uuid [16]byte) (State, error)
	// Advance makes next the newest state, if that is old now; ESTALE if it is
	// another one.
	Advance(ctx context.Context, uuid [16]byte, old, next State) error
}

// freshness is what is known of the newest state. Whose Volume.turn it is may use it.
//
// A commit is durable on the host, then the anchor is told, then the commit is
// acknowledged. So the host has the anchor's state, or that and one commit more,
// which nobody was promised; Open takes both. Everything else is an older state or a fork.
// That the newer one follows the anchor's state is seen from the chain of tags: each
// record is sealed with the tag of the one before, and a head names it.
type freshness struct {
	tag     [seal.TagSize]byte // of the newest record, or head
	uuid    [16]byte
	anchor  State // what the anchor has
	reached bool  // the chain on the host has passed that
	marked  bool  // when it was opened, the volume said that it is under a counter
}

// stateOf names a state by the tag of its record or head, which depends on all of it.
func stateOf(uuid [16]byte, seq uint64, tag [seal.TagSize]byte) State {
	b := append([]byte("sefs1 state"), uuid[:]...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	return State{Seq: seq, Root: seal.Checksum(append(b, tag[:]...))}
}

// passed notes that the chain on the host has a commit.
func (f *freshness) passed(seq uint64, tag [seal.TagSize]byte) {
	f.tag = tag
	f.reached = f.reached || stateOf(f.uuid, seq, tag) == f.anchor
}

// readAnchor asks the anchor for the newest state, before the journal is replayed,
// and starts the chain with the head h.
func (v *Volume) readAnchor(ctx context.Context, h *format.Head) (err error) {
	f := &v.fresh
	f.uuid, f.marked = v.header.UUID, h.Anchored
	if v.cfg.Anchor == nil {
		f.tag = v.journal.tag
		return v.withoutAnchor()
	}
	if f.anchor, err = v.cfg.Anchor.State(ctx, f.uuid); err != nil {
		return anchorError("read", err)
	}
	if h.Commit > 0 {
		f.passed(h.Commit-1, h.Prev)
	}
	f.passed(h.Commit, v.journal.tag)
	return nil
}

// withoutAnchor says what becomes of a volume that is under a counter and opened
// without one: what it would write, the counter would refuse later.
func (v *Volume) withoutAnchor() error {
	switch {
	case !v.fresh.marked:
		return nil
	case v.cfg.Access == ReadWrite:
		return &seal.StaleError{Reason: "the volume is under a freshness counter, and without it it can only be read"}
	}
	v.log.Warn("the volume is under a freshness counter, which is not asked: this may be an older state")
	return nil
}

// checkFreshness compares the state that recovery has ended in with Config.Root and with
// the anchor's, and brings the anchor up to it. adopted says that the head must be written, because
// it does not say yet that the volume is under a counter.
//
// Errors: *seal.KeyError (EACCES) for Config.Root, *seal.StaleError (ESTALE).
func (v *Volume) checkFreshness(ctx context.Context) (adopted bool, err error) {
	f := &v.fresh
	if v.cfg.Anchor == nil && v.cfg.Root == nil {
		return false, nil
	}
	found := stateOf(f.uuid, v.journal.seq.Load(), f.tag)
	switch {
	case v.cfg.Root != nil && *v.cfg.Root != found.Root:
		return false, &seal.KeyError{Problem: seal.KeyRoot, Reason: "the root MAC is another one: the volume was changed, rolled back or replaced"}
	case v.cfg.Anchor == nil:
		return false, nil
	case f.anchor == State{} && f.marked:
		return false, &seal.StaleError{Reason: "the volume is under a freshness counter, which is another one or has lost its state"}
	case f.anchor == State{} && v.cfg.Access == ReadOnly:
		return false, nil // a reader takes nothing under a counter
	case f.anchor == State{}, f.reached:
		return !f.marked, v.advance(ctx, found)
	case found.Seq < f.anchor.Seq:
		return false, &seal.StaleError{Reason: fmt.Sprintf("the host presents an older state, commit %d; the newest is %d", found.Seq, f.anchor.Seq)}
	}
	return false, &seal.StaleError{Reason: fmt.Sprintf("the host presents a fork: commit %d does not follow from commit %d that the counter knows", found.Seq, f.anchor.Seq)}
}

// State returns the newest committed state.
func (v *Volume) State() State {
	if v.root != nil {
		return State{Seq: v.journal.seq.Load(), Root: *v.root}
	}
	v.turn.take(func() bool { return false })
	defer v.turn.give()
	return stateOf(v.fresh.uuid, v.journal.seq.Load(), v.fresh.tag)
}

// confirm tells the anchor of a commit that is durable. Only then may it be acknowledged.
func (v *Volume) confirm(seq uint64, tag [seal.TagSize]byte) error {
	v.fresh.tag = tag
	if v.cfg.Anchor == nil {
		return nil
	}
	// What is on the host already is not stopped half-way.
	return v.advance(context.Background(), stateOf(v.fresh.uuid, seq, tag))
}

// advance makes next the anchor's state.
func (v *Volume) advance(ctx context.Context, next State) error {
	f := &v.fresh
	if next == f.anchor {
		return nil
	}
	err := v.cfg.Anchor.Advance(ctx, f.uuid, f.anchor, next)
	if errors.Is(err, unix.ESTALE) {
		// Another reader may have been faster.
		if now, again := v.cfg.Anchor.State(ctx, f.uuid); again != nil || now != next {
			return &seal.StaleError{Reason: "the freshness counter has moved on: the volume is in use elsewhere, in another copy"}
		}
		err = nil
	}
	if err != nil {
		return anchorError("advance", err)
	}
	f.anchor = next
	return nil
}

// anchorError gives an error of the counter one errno: its own, or EIO.
func anchorError(op string, err error) error {
	if _, ok := errors.AsType[unix.Errno](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sefs: %s freshness counter: %w", op, err)
	}
	return fmt.Errorf("sefs: %s freshness counter: %w: %w", op, err, unix.EIO)
}

// Anchored reports whether the volume said, when it was opened, that it is under a
// freshness counter, and whether one is asked now.
func (v *Volume) Anchored() (marked, asked bool) { return v.fresh.marked, v.cfg.Anchor != nil }
