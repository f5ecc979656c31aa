package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// mending is what a volume that is open for repair knows beside the others.
type mending struct {
	lost    []lostNode // cut off the tree in memory, in the order of keys
	journal error      // why the end of the journal was left out
	began   bool
}

// takes reports whether err is damage of the journal that a repair leaves behind, and notes it.
func (m *mending) takes(err error) bool {
	corrupt, ok := errors.AsType[*seal.CorruptError](err)
	if m == nil || !ok || !strings.HasPrefix(corrupt.Block, journalName) {
		return false
	}
	m.journal = err
	return true
}

// OpenRepair opens a volume to check and to mend it, alone: nobody else may have it open. In memory
// it cuts what cannot be read off the tree, and then replays the journal up to damage. It writes nothing;
// Repair and what follows it do. Close is Abandon.
//
// What is damaged on the host is what Check reports, the parts that were cut off too.
//
// Errors: as Open; EIO if the root of the tree is damaged, for then there is nothing to mend.
func OpenRepair(ctx context.Context, st store.Store, cfg Config) (*Volume, error) {
	cfg.Access, cfg.CommitInterval, cfg.Flush = ReadWrite, -1, nil
	// Not even a lock file is made where nothing can be written.
	id, err := Peek(st)
	if err == nil && id.Integrity() {
		err = ErrIntegrity()
	}
	if err != nil {
		st.Close()
		return nil, err
	}
	return openVolume(ctx, st, cfg, new(mending))
}

// cutDamaged takes every node that cannot be read out of the tree.
func (v *Volume) cutDamaged(ctx context.Context) error {
	m := v.mend
	w := walker{
		v: v, ctx: ctx,
		item: func(format.Key, []byte) error { return nil },
		lost: func(l lostNode) { m.lost = append(m.lost, l) },
	}
	if err := w.walk(); err != nil {
		return err
	}
	t := v.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range m.lost {
		if l.level >= t.height {
			return fmt.Errorf("sefs: the root of the tree is lost: %w", l.err)
		}
		if err := t.pruneLocked(l); err != nil {
			return err
		}
	}
	return nil
}

// pruneLocked takes a node out of the tree, and those above it that have no other child.
//
// Preconditions: t.mu held exclusively; l is not the root.
func (t *tree) pruneLocked(l lostNode) error {
	n, err := t.dirtyRootLocked()
	if err != nil {
		return err
	}
	var path [format.MaxHeight + 1]step
	level := t.height
	for ; ; level-- {
		i := n.page.ChildOf(l.from)
		path[level] = step{n, i}
		if level == l.level+1 {
			break
		}
		child, err := t.childLocked(n, i, single)
		if err != nil {
			return err
		}
		t.dirtyChildLocked(n, i, child)
		n = child
	}
	for ; ; level++ {
		s := path[level]
		s.n.page.Remove(s.i)
		if s.n.page.Len() > 0 || level == t.height {
			break
		}
		t.dropLocked(s.n)
	}
	t.lowerLocked()
	return nil
}

// Repair begins to mend a volume that OpenRepair has opened. What the transaction changes goes to
// places where nothing is in use, by whatever account, and counts when EndRepair has
// succeeded: until then the host has the old state. The transaction is not ended, and nothing else but Get,
// Scan and Walk may be called meanwhile.
//
// Errors: as those of Commit. Whatever it is, the volume is Abandoned then.
func (v *Volume) Repair(ctx context.Context) (*Tx, error) {
	if v.mend == nil {
		return nil, fmt.Errorf("sefs: repair of a volume that is not open for it: %w", unix.EINVAL)
	}
	if err := v.tx.check(ctx); err != nil {
		return nil, err
	}
	if err := v.mendHeads(); err != nil {
		return nil, err
	}
	if err := v.mendJournal(); err != nil {
		return nil, err
	}
	u, err := v.inUse(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.alloc.isolate(u); err != nil {
		return nil, err
	}
	v.mend.began = true
	// Blocks that are in the journal only would be taken for lost.
	return &v.tx, v.writeBack(allDirty)
}

// mendJournal makes the journal file if it is missing.
func (v *Volume) mendJournal() error {
	j := &v.journal
	if j.file != nil {
		return nil
	}
	f, err := v.st.Create(journalName)
	if err != nil {
		return err
	}
	if err := fillZeros(f, 0, min(j.size, firstJournal)); err != nil {
		return err
	}
	j.file = f
	return v.st.SyncDir()
}

// Drop removes the item of k and leaves the blocks that it may name to nobody.
func (tx *Tx) Drop(k format.Key) error { return tx.v.tree.delete(k) }

// Remap maps an extent again: what other extents say of its blocks of the file counts no longer.
func (tx *Tx) Remap(k format.Key, val []byte) error {
	e, err := decodeExtent(k.Off, val)
	if err != nil {
		return err
	}
	if err := tx.v.tree.delete(k); err != nil {
		return err
	}
	_, err = tx.v.tree.mapExtent(k.Ino, k.Off, e)
	return err
}

// Unmap makes blocks [from, to) of a file holes.
func (tx *Tx) Unmap(ino, from, to uint64) error {
	_, err := tx.v.tree.unmap(ino, from, to, false)
	return err
}

// Spoil makes blocks [from, to) of a file unreadable: they take space on the host in which nothing ever
// was written that would open. Whoever reads them gets EIO until they are written, or cut off.
func (tx *Tx) Spoil(ino, from, to uint64) error {
	v := tx.v
	var tags [format.MaxExtent * seal.TagSize]byte
	for from < to {
		p, n, err := v.alloc.take(int(min(to-from, format.MaxExtent)), 1)
		if err != nil {
			return err
		}
		// Numbers that no message will have: no ciphertext can ever fit them.
		box, counter, err := v.sess.Reserve(n)
		if err != nil {
			return err
		}
		p.Counter, p.Session = counter, box.ID()
		if _, err := v.tree.mapExtent(ino, from, format.Extent{Ptr: p, Tags: tags[:n*seal.TagSize]}); err != nil {
			return err
		}
		from += uint64(n)
	}
	return nil
}

// EndRepair finds out which blocks are in use, records that, and commits all that was changed. After an
// error the host has the old state, or the new one if the error came from its last step; the volume is
// Abandoned in any case.
//
// Errors: as Commit; that of ctx.
func (v *Volume) EndRepair(ctx context.Context) error {
	if v.mend == nil || !v.mend.began {
		return fmt.Errorf("sefs: no repair has begun: %w", unix.EINVAL)
	}
	if err := v.rebuildSpace(ctx); err != nil {
		return err
	}
	if err := v.tx.check(ctx); err != nil {
		return err
	}
	v.turn.take(func() bool { return false })
	defer v.turn.give()
	return v.commitLocked(checkpointNow, nil)
}
