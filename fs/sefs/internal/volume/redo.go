package volume

import (
	"encoding/binary"
	"slices"

	"cloister/fs/sefs/internal/format"
)

// redoStart is where the operations begin in the buffer of a redo log: the
// buffer becomes the journal record, header and tag around them.
const redoStart = format.RecordHeader + 4

// A redoLog collects the operations since the last commit, in the order in
// which they changed the tree. tree.mu guards it.
type redoLog struct {
	buf  []byte
	off  bool // nothing is collected: during recovery
	lost bool // it grew too long; the next commit must be a checkpoint
}

// add returns the buffer to append an operation to, or nil if there is no need.
func (r *redoLog) add() []byte {
	switch {
	case r.off || r.lost:
		return nil
	case len(r.buf) > maxLog:
		r.lost, r.buf = true, r.buf[:0]
		return nil
	case r.buf == nil:
		r.buf = make([]byte, redoStart, 64<<10)
	case len(r.buf) == 0:
		r.buf = r.buf[:redoStart]
	case cap(r.buf)-len(r.buf) < format.NodeSize: // more than most operations take
		r.buf = slices.Grow(r.buf, cap(r.buf)) // append would throw away more on its way
	}
	return r.buf
}

func (r *redoLog) put(k format.Key, val []byte) {
	if b := r.add(); b != nil {
		r.buf = format.AppendPut(b, k, val)
	}
}

func (r *redoLog) delete(k format.Key) {
	if b := r.add(); b != nil {
		r.buf = format.AppendDelete(b, k)
	}
}

func (r *redoLog) mapped(ino, block uint64, e format.Extent) {
	if b := r.add(); b != nil {
		r.buf = format.AppendMap(b, ino, block, e)
	}
}

func (r *redoLog) unmapped(ino, from, to uint64) {
	if b := r.add(); b != nil {
		r.buf = format.AppendUnmap(b, ino, from, to)
	}
}

func (r *redoLog) shifted(ino, from, to uint64) {
	if b := r.add(); b != nil {
		r.buf = format.AppendShift(b, ino, from, to)
	}
}

// empty reports whether there is nothing to commit.
func (r *redoLog) empty() bool { return len(r.buf) == 0 && !r.lost }

// take returns the operations, of which there is at least one, as the beginning
// of a journal record, and goes on in spare, which must be empty.
func (r *redoLog) take(spare []byte) []byte {
	b := r.buf
	r.buf = spare[:0]
	binary.LittleEndian.PutUint32(b[format.RecordHeader:], uint32(len(b)-redoStart))
	return b
}

// reset drops the operations: a checkpoint holds what they did.
func (r *redoLog) reset() {
	if !r.lost && len(r.buf) < cap(r.buf)/8 && cap(r.buf) > maxSpare {
		r.buf = nil // so much is not needed any more
	}
	r.lost, r.buf = false, r.buf[:0]
}
