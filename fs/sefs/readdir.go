package sefs

import (
	"context"
	"math"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// dirHandle is an open directory. It keeps no state: a position says all.
type dirHandle struct{ d *dir }

// OpenDir implements vfs.Dir.
func (d *dir) OpenDir(ctx context.Context) (vfs.DirHandle, error) { return dirHandle{d}, nil }

// Entries read from the tree at a time: few first, for callers with a small buffer.
const (
	minDirBatch = 32
	maxDirBatch = 1024
)

// ReadDir implements vfs.DirHandle. Entries come in the order of their
// positions, which are fixed as long as the entry exists. A removed directory
// has none.
func (h dirHandle) ReadDir(ctx context.Context, pos uint64, emit func(vfs.Dirent) bool) error {
	b := dirBatch{limit: minDirBatch}
	for pos < math.MaxInt64 {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := b.read(h.d, pos) // entries before damage are given out all the same
		if len(b.entries) == 0 {
			return err
		}
		// The names of a batch share one string.
		names := string(b.names)
		for _, e := range b.entries {
			out := vfs.Dirent{Name: names[e.start:e.end], Ino: e.ino, Type: e.typ, Pos: e.pos}
			if !emit(out) {
				return nil
			}
			pos = e.pos
		}
		if err != nil {
			return err
		}
		b.limit = min(2*b.limit, maxDirBatch)
	}
	return nil
}

// Fsync implements vfs.DirHandle.
func (h dirHandle) Fsync(ctx context.Context, datasync bool) error { return h.d.fs.Sync(ctx) }

// Release implements vfs.DirHandle.
func (h dirHandle) Release(ctx context.Context) error { return nil }

// dirBatch is a run of entries copied from the tree, so that the caller's emit
// does not run inside a scan.
type dirBatch struct {
	limit   int
	entries []dirBatchEntry
	names   []byte
}

type dirBatchEntry struct {
	start, end int // of the name in names
	ino, pos   uint64
	typ        uint8
}

// read fills b with entries of d whose position is greater than pos.
func (b *dirBatch) read(d *dir, pos uint64) error {
	b.entries, b.names = b.entries[:0], b.names[:0]
	var bad error
	// pos may lie inside a chain: start at its item and skip what was emitted.
	from := direntKey(d.ino, format.DirentOff(pos<<1))
	err := d.fs.vol.Scan(from, past(from), func(k format.Key, val []byte) bool {
		it := format.Dirents(val)
		for e, ok := it.Next(); ok; e, ok = it.Next() {
			p := format.DirentPos(k.Off, e.Slot)
			if p <= pos {
				continue
			}
			out := dirBatchEntry{start: len(b.names), end: len(b.names) + len(e.Name), ino: e.Ino, pos: p, typ: e.Type}
			if e.Type == format.Whiteout {
				out.ino, out.typ = whiteoutIno, unix.DT_CHR
			}
			b.names = append(b.names, e.Name...)
			b.entries = append(b.entries, out)
		}
		bad = it.Err()
		return bad == nil && len(b.entries) < b.limit
	})
	if err != nil {
		return err
	}
	return d.bad(bad)
}
