package volume

import (
	"context"
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// how says what a commit is for.
type how int

const (
	ifNeeded      how = iota // make durable what is not
	checkpointNow            // and write everything to its place
	untilClean               // and leave an empty journal
)

// A journal is the state of the journal file. Whose Volume.turn it is may use it.
type journal struct {
	file  store.File
	size  int64              // bytes that may be written
	off   int64              // where the next record goes
	tag   [seal.TagSize]byte // of the record before, or of the head
	seq   atomic.Uint64      // number of the last commit
	grow  bool               // it was too small since the last checkpoint
	spare []byte             // buffer for the next redo log
	lock  store.File         // nil for a reader without lock file
	pid   bool               // the lock file says who we are
	aad   [format.RecordHeader + seal.TagSize]byte
}

// maxSpare is the largest buffer of a redo log that is kept without need, in bytes.
const maxSpare = 1 << 20

// commit makes durable all that ended before the call. A caller that finds
// that a commit which began after it came has succeeded has nothing to do.
func (v *Volume) commit(ctx context.Context, h how) error {
	need := v.started.Load() + 1
	served := func() bool {
		return h == ifNeeded && v.completed.Load() >= need || h == checkpointNow && v.overLimit() == 0
	}
	if !v.turn.take(served) {
		return nil
	}
	defer v.turn.give()
	if err := v.tx.check(ctx); err != nil {
		return err
	}
	if h == ifNeeded {
		v.turn.gather()
	}
	if v.pages.newBytes() > maxInlineCommit {
		// The bulk goes out while other transactions go on.
		v.gate.RLock()
		err := v.writeBack(newDirty)
		v.gate.RUnlock()
		if err != nil {
			return err
		}
	}
	if err := v.settleAll(); err != nil {
		return err
	}
	return v.commitLocked(h, v.cfg.Flush)
}

// commitLocked closes the running transaction and makes it durable.
//
// Preconditions: it is the caller's turn, or nobody else uses the volume yet.
func (v *Volume) commitLocked(h how, flush func(*Tx) error) error {
	v.gate.Lock()
	n := v.started.Add(1)
	v.turn.closed()
	finish, err := v.closeTransaction(h, flush)
	v.gate.Unlock()
	if err == nil && finish != nil {
		v.sayWho()
		start := time.Now() // not Config.Now: it is about the host, not about files
		err = finish()
		v.turn.done(time.Since(start))
	}
	if err == nil {
		v.completed.Store(n)
	}
	return err
}

// closeTransaction collects what a commit writes. What it returns writes it,
// when the next transaction may already run; nil if there is nothing.
//
// Preconditions: it is the caller's turn, gate held exclusively.
func (v *Volume) closeTransaction(h how, flush func(*Tx) error) (finish func() error, err error) {
	if v.pages.newBytes() > maxInlineCommit {
		if err := v.writeBack(newDirty); err != nil {
			return nil, err
		}
	}
	if err := v.settleAll(); err != nil {
		return nil, err
	}
	if flush != nil {
		if err := flush(&v.tx); err != nil {
			return nil, err
		}
	}
	t, j := v.tree, &v.journal
	t.mu.RLock()
	pending, ops := !t.redo.empty(), max(0, len(t.redo.buf)-redoStart)
	whole := t.redo.lost || ops > maxLog-2*maxInlineCommit || len(t.dirty) > maxDirtyNodes/format.NodeSize
	t.mu.RUnlock()
	inline := v.pages.newBytes()
	pending = pending || inline > 0
	switch {
	case h == untilClean && !pending && j.off == 0 && !v.alloc.unsettled():
		return nil, nil
	case h == untilClean, h == checkpointNow, pending && whole:
		return v.prepareCheckpoint()
	case !pending:
		return nil, nil
	}
	most := ops + int(inline) + int(inline)/format.BlockSize*pageOpHead
	if j.off+int64(format.RecordSize(most)) > j.size {
		j.grow = true
		return v.prepareCheckpoint()
	}
	record := v.takeRecord()
	return func() error { return v.writeRecord(record) }, nil
}

// pageOpHead is what an operation for a page takes beside its content, in bytes.
const pageOpHead = 1 + 8 + 8 + 2

// takeRecord takes the redo log and the dirty pages as a journal record, not
// yet sealed.
func (v *Volume) takeRecord() []byte {
	t, j := v.tree, &v.journal
	t.mu.Lock()
	defer t.mu.Unlock()
	t.redo.buf = v.pages.log(t.redo.add())
	record := t.redo.take(j.spare)
	j.spare = nil
	return record
}

// log appends the dirty pages to a redo log and marks them as being there.
//
// Preconditions: no transaction is open.
func (c *pageCache) log(buf []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := c.lists[pageDirty].head; id != 0; id = c.lists[pageDirty].head {
		p := &c.pages[id]
		buf = format.AppendPage(buf, p.key.ino, p.key.block, c.bytesLocked(id))
		c.setStateLocked(id, pageLogged)
	}
	return buf
}

// writeRecord seals a record, appends it to the journal and waits until it and
// the data it refers to are durable.
func (v *Volume) writeRecord(record []byte) error {
	j := &v.journal
	used := len(record)
	size := format.RecordSize(used - redoStart)
	record = slices.Grow(record, size-used)[:size]
	clear(record[used:])

	box, counter, err := v.sess.Reserve(1)
	if err != nil {
		return v.fail(err)
	}
	seq := j.seq.Load() + 1
	format.PutRecordPlain(record, format.RecordPlain{
		Bytes:   uint32(size),
		Seq:     seq,
		Head:    v.head.seq,
		Session: box.ID(),
		Counter: counter,
	})
	copy(j.aad[:], record[:format.RecordHeader])
	copy(j.aad[format.RecordHeader:], j.tag[:])
	box.Seal(seal.DomainJournal, counter, record[format.RecordHeader:], j.aad[:])
	// Where there is a record, there is what it refers to.
	if err := v.segs.sync(); err != nil {
		return v.fail(err)
	}
	if err := j.file.WriteAt(record, j.off); isFull(err) {
		v.tree.loseRedo()
		return err
	} else if err != nil {
		return v.fail(err)
	}
	if err := j.file.Sync(); err != nil {
		return v.fail(err)
	}
	j.off += int64(size)
	copy(j.tag[:], record[size-seal.TagSize:])
	j.seq.Store(seq)
	if err := v.confirm(seq, j.tag); err != nil {
		return v.fail(err)
	}
	if cap(record) <= maxSpare {
		j.spare = record[:0]
	}
	return nil
}

// loseRedo is called when a record found no room on the host: what it held can
// only become durable in a checkpoint, which the next commit will be.
func (t *tree) loseRedo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.redo.lost, t.redo.buf = true, nil
}

// sayWho writes the process number to the lock file, for the message that
// another process gets; the first commit is early enough.
func (v *Volume) sayWho() {
	j := &v.journal
	if j.pid || j.lock == nil {
		return
	}
	j.pid = true
	var text [16]byte
	line := strconv.AppendInt(text[:0], int64(os.Getpid()), 10)
	for len(line) < len(text)-1 {
		line = append(line, ' ')
	}
	line = append(line, '\n')
	if err := j.lock.WriteAt(line, 0); err != nil {
		v.log.Debug("lock file not written", "error", err)
	}
}

// seed is mixed into the ids of sessions.
func (v *Volume) seed() []byte {
	b := append([]byte(nil), v.journal.tag[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(v.now().UnixNano()))
	return binary.LittleEndian.AppendUint64(b, uint64(os.Getpid()))
}
