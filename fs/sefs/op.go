package sefs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
)

// An op is one change of the file system: everything between begin and end is
// atomic in a crash. Errors stick: after the first one, puts and deletes do
// nothing and end returns it. It corresponds to a handle_t of jbd2.
//
// Attributes in memory are changed before end, and only if err is nil.
type op struct {
	fs      *FS
	tx      *volume.Tx
	changed bool // the tree was changed
	err     error
}

// errFailed is what changes get after one broke off half-way.
var errFailed = fmt.Errorf("sefs: read-only after an error: %w", unix.EROFS)

// begin opens an op. Errors: EROFS.
//
// Preconditions:
//   - the caller has no other op open.
//   - all inodes that the op changes are locked.
func (fs *FS) begin(ctx context.Context) (op, error) {
	if fs.readOnly {
		return op{}, unix.EROFS
	}
	if fs.failed.Load() {
		return op{}, errFailed
	}
	tx, err := fs.vol.Begin(ctx)
	if err != nil {
		return op{}, err
	}
	return op{fs: fs, tx: tx}, nil
}

// end closes o and returns the error that stuck.
func (o *op) end() error {
	if o.err != nil && o.changed && o.fs.failed.CompareAndSwap(false, true) {
		// Half of a change is in the running transaction, which must not be committed any more.
		o.fs.log.Error("sefs: a change broke off, the file system is read-only now", "err", o.err)
	}
	o.tx.End()
	return o.err
}

func (o *op) put(k format.Key, val []byte) {
	if o.err != nil {
		return
	}
	if o.err = o.tx.Put(k, val); o.err == nil {
		o.changed = true
	}
}

func (o *op) delete(k format.Key) {
	if o.err != nil {
		return
	}
	if o.err = o.tx.Delete(k); o.err == nil {
		o.changed = true
	}
}

// fail makes err stick, unless it is nil or another one did before.
func (o *op) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// deleteRange deletes all items from key from up to, not including, key to.
func (o *op) deleteRange(from, to format.Key) {
	const batch = 256
	var keys [batch]format.Key
	for n := batch; n == batch && o.err == nil; {
		n = 0
		o.fail(o.fs.vol.Scan(from, to, func(k format.Key, _ []byte) bool {
			keys[n] = k
			n++
			return n < batch
		}))
		for _, k := range keys[:n] {
			o.delete(k)
		}
	}
}

// get reads an item that an inode says is there: a missing one is EUCLEAN.
func (fs *FS) get(k format.Key, dst []byte) ([]byte, error) {
	val, err := fs.vol.Get(k, dst)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("sefs: inode %d lacks an item of type %d: %w", k.Ino, k.Type, unix.EUCLEAN)
	}
	return val, err
}
