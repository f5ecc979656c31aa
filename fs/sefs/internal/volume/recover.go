package volume

import (
	"context"
	"fmt"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// firstRead is how much of the journal is read to see whether it holds
// anything; later reads take more.
const firstRead = 64 << 10

// recover replays the journal. A volume opened for writing then writes a
// checkpoint, which makes the journal empty again. Before that, nothing is written:
// the freshness of what was found comes first.
func (v *Volume) recover(ctx context.Context, h *format.Head) (err error) {
	j := &v.journal
	if j.file, err = v.st.Open(journalName, v.cfg.Access); err != nil {
		if err = missing(journalName, err); !v.mend.takes(err) {
			return err
		}
	}
	v.tree.redo.off = true
	if v.mend != nil {
		if err := v.cutDamaged(ctx); err != nil {
			return err
		}
	}
	if j.file != nil {
		r := recordReader{file: j.file, end: j.size, head: h.Seq, ring: v.ring}
		copy(r.tag[:], j.tag[:])
		if err := v.replayAll(ctx, &r, h.Commit); err != nil && !v.mend.takes(err) {
			return err
		}
	}
	v.tree.redo.off = v.mend != nil
	adopted, err := v.checkFreshness(ctx)
	if err != nil || v.cfg.Access == ReadOnly || v.mend != nil {
		return err
	}
	if err := v.mendHeads(); err != nil {
		return err
	}
	if v.crashes == 0 && !adopted {
		return nil
	}
	if v.crashes > 0 {
		v.log.Info("volume was not closed, journal replayed", "commits", v.crashes)
	}
	return v.commitLocked(checkpointNow, nil)
}

// replayAll replays records in order. What a record refers to was durable before
// the record was written.
func (v *Volume) replayAll(ctx context.Context, r *recordReader, commit uint64) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, ok, err := r.next()
		if !ok || err != nil || next.Seq != commit+1 {
			return err
		}
		if err := v.replay(next.ops); err != nil {
			return err
		}
		v.crashes++
		commit = next.Seq
		v.journal.seq.Store(commit)
		v.fresh.passed(commit, next.tag)
	}
}

func damagedJournal(err error) error {
	if err == nil {
		return nil
	}
	return &seal.CorruptError{Block: journalName, Reason: err.Error()}
}

// replay does again what a commit did.
func (v *Volume) replay(ops []byte) error {
	it := format.NewOps(ops)
	for op, ok := it.Next(); ok; op, ok = it.Next() {
		if err := v.replayOp(&op); err != nil {
			return err
		}
	}
	return damagedJournal(it.Err())
}

func (v *Volume) replayOp(op *format.Op) error {
	t := v.tree
	switch op.Kind {
	case format.OpPut:
		if op.Key.Type == format.TypeInline {
			v.pages.drop(op.Key.Ino, 0, 1)
		}
		return t.set(op.Key, op.Val)
	case format.OpDelete:
		return t.delete(op.Key)
	case format.OpMap:
		n := op.Extent.Len()
		v.alloc.replay(op.Extent.Ptr, n)
		v.pages.drop(op.Ino, op.Block, op.Block+uint64(n))
		_, err := t.mapExtent(op.Ino, op.Block, op.Extent)
		return err
	case format.OpUnmap:
		v.pages.drop(op.Ino, op.Block, op.To)
		_, err := t.unmap(op.Ino, op.Block, op.To, false)
		return err
	case format.OpShift:
		return t.shift(op.Ino, op.Block, op.To)
	case format.OpPage:
		v.pages.restore(op.Ino, op.Block, op.Val)
	}
	return nil
}

// restore puts the page of a block that is in the journal back.
func (c *pageCache) restore(ino, block uint64, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := pageKey{ino, block}
	id := c.index[key]
	if id == 0 {
		id = c.frameLocked(true)
		c.insertLocked(id, key, pageLogged)
	}
	b := c.bytesLocked(id)
	clear(b[copy(b, data):])
}

// A record is an opened journal record.
type record struct {
	format.RecordPlain
	ops []byte // not nil
	tag [seal.TagSize]byte
}

// A recordReader reads the records of a journal up to the first that does not
// follow the one before.
type recordReader struct {
	file store.File
	ring *seal.Keyring
	head uint64 // number of the checkpoint that the records belong to
	end  int64  // of the journal
	tag  [seal.TagSize]byte

	off   int64  // of the next record
	win   []byte // bytes of the file from winAt on
	winAt int64
	aad   [format.RecordHeader + seal.TagSize]byte
}

// next returns the next record; ok is false behind the last.
func (r *recordReader) next() (rec record, ok bool, err error) {
	b, err := r.bytes(format.RecordHeader)
	if b == nil || err != nil {
		return rec, false, err
	}
	p, ok := format.GetRecordPlain(b)
	if !ok || p.Head != r.head {
		return rec, false, nil
	}
	if b, err = r.bytes(int64(p.Bytes)); b == nil || err != nil {
		return rec, false, err
	}
	// The window may have been read again, and the host may have lied once.
	if again, ok := format.GetRecordPlain(b); !ok || again != p {
		return rec, false, nil
	}
	box, err := r.ring.Box(p.Session)
	if err != nil {
		return rec, false, err
	}
	copy(r.aad[:], b[:format.RecordHeader])
	copy(r.aad[format.RecordHeader:], r.tag[:])
	var tag [seal.TagSize]byte
	copy(tag[:], b[len(b)-seal.TagSize:])
	body := b[format.RecordHeader:]
	if !box.Open(seal.DomainJournal, p.Counter, body, r.aad[:]) {
		return rec, false, r.checkTail(p, tag)
	}
	ops, err := format.RecordOps(body[:len(body)-seal.TagSize])
	if err != nil {
		return rec, false, damagedJournal(err)
	}
	r.off += int64(p.Bytes)
	r.tag = tag
	return record{p, ops, tag}, true, nil
}

// checkTail looks behind a record that does not open. What a crash tore is the last
// one; if the next one opens, chained to the tag that this one has, then this
// one was whole once and has been changed since.
func (r *recordReader) checkTail(p format.RecordPlain, tag [seal.TagSize]byte) error {
	after := *r
	after.off += int64(p.Bytes)
	after.tag = tag
	next, ok, err := after.next()
	if err != nil || !ok || next.Seq != p.Seq+1 {
		return err
	}
	return &seal.CorruptError{Block: fmt.Sprintf("journal record %d", p.Seq), Reason: "changed after it was written"}
}

// bytes returns n bytes at r.off, nil if the journal ends before.
func (r *recordReader) bytes(n int64) ([]byte, error) {
	if n > r.end-r.off {
		return nil, nil
	}
	at := r.off - r.winAt
	if at+n > int64(len(r.win)) {
		size := max(n, ioSize)
		if r.win == nil {
			size = max(n, firstRead)
		}
		// A new buffer: the record before may still be needed.
		win := make([]byte, min(size, r.end-r.off))
		got, err := r.file.ReadAt(win, r.off)
		if err != nil {
			return nil, err
		}
		r.win, r.winAt, at = win[:got], r.off, 0
	}
	if at+n > int64(len(r.win)) {
		return nil, nil
	}
	return r.win[at : at+n], nil
}
