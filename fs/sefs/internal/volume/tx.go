package volume

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// A Tx is a handle on the running transaction: what is done between Begin and
// End is in one commit, or in none. It corresponds to handle_t of jbd2.
type Tx struct{ v *Volume }

// Begin opens a handle. Many may be open at a time; a commit waits for all to
// end. Nobody may call Begin, Commit or Close while having a handle open, nor
// while holding a lock that Config.Flush takes. If limits of memory are
// reached, Begin commits first.
//
// Errors: EROFS for a volume opened ReadOnly; EIO after an error that left the
// volume read-only; what Commit returns, if limits are far exceeded.
func (v *Volume) Begin(ctx context.Context) (*Tx, error) {
	if err := v.tx.check(ctx); err != nil {
		return nil, err
	}
	if over := v.overLimit(); over > 0 {
		// On a full host a delete must still be possible.
		if err := v.commit(ctx, checkpointNow); err != nil && over > 1 {
			return nil, err
		}
	}
	v.gate.RLock()
	return &v.tx, nil
}

// overLimit returns by how many times dirty nodes, the redo log or the blocks
// that only a checkpoint makes free again exceed their limits.
func (v *Volume) overLimit() int64 {
	t := v.tree
	t.mu.RLock()
	defer t.mu.RUnlock()
	over := int64(len(t.dirty)) * format.NodeSize / maxDirtyNodes
	if t.redo.lost || v.alloc.wasteful() {
		over = max(over, 1)
	}
	return over
}

// End closes the handle.
func (tx *Tx) End() { tx.v.gate.RUnlock() }

func (tx *Tx) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return tx.v.writable()
}

// Put sets the value of k.
//
// Errors: EINVAL if val is longer than format.MaxValue. Any other error leaves
// the volume read-only, since the transaction cannot be undone.
func (tx *Tx) Put(k format.Key, val []byte) error {
	if len(val) > format.MaxValue {
		return fmt.Errorf("sefs: value of %d bytes: %w", len(val), unix.EINVAL)
	}
	if err := tx.v.writable(); err != nil {
		return err
	}
	t := tx.v.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.putLocked(k, val); err != nil {
		return tx.v.fail(err)
	}
	t.redo.put(k, val)
	return nil
}

// Delete removes k; that there is none is no error.
func (tx *Tx) Delete(k format.Key) error {
	if err := tx.v.writable(); err != nil {
		return err
	}
	t := tx.v.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	was, err := t.deleteLocked(k)
	if err != nil {
		return tx.v.fail(err)
	}
	if was {
		t.redo.delete(k)
	}
	return nil
}

// Get appends the value of k to dst[:0] and returns it.
//
// Errors: ENOENT; *seal.CorruptError (EIO).
func (v *Volume) Get(k format.Key, dst []byte) ([]byte, error) {
	return v.tree.get(k, dst[:0])
}

// Scan calls fn for the items with from <= key < to, in order, until it
// returns false. val is valid only during the call. fn must not call the
// volume.
func (v *Volume) Scan(from, to format.Key, fn func(k format.Key, val []byte) bool) error {
	return v.tree.scan(from, to, fn)
}

// Commit makes durable everything that ended before the call; callers at the
// same time share the work. A volume with nothing to commit calls no host.
//
// Errors: ENOSPC, EDQUOT if the host has no room, after which the volume can
// still be used and the commit tried again; EIO, with the volume read-only
// from then on, if the host failed to make data durable.
func (v *Volume) Commit(ctx context.Context) error {
	if v.cfg.Access == ReadOnly {
		return nil
	}
	return v.commit(ctx, ifNeeded)
}
