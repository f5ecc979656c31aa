package hostfs

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// firstPos is the position after the first entry; those below are the VFS's.
const firstPos = 3

// dirHandle is one open directory. It shows what was there when it was read from the beginning,
// so that positions hold whatever the host does.
type dirHandle struct {
	dir  *dir
	desc *desc

	mu      sync.Mutex
	started bool // the host's position is not at the beginning
	read    bool // entries are there
	entries []entry
}

// OpenDir implements vfs.Dir.
func (d *dir) OpenDir(ctx context.Context) (vfs.DirHandle, error) {
	dd, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer dd.put()
	fd, err := d.fs.opened(func() (FD, error) { return d.fs.gate.openDir(dd.fd) })
	if err != nil {
		return nil, err
	}
	return &dirHandle{dir: d, desc: newDesc(d.fs.gate, fd)}, nil
}

// ReadDir implements vfs.DirHandle. Position 0 reads the directory anew.
//
// Errors: EIO for names that cannot be, and for more than maxEntries.
func (h *dirHandle) ReadDir(ctx context.Context, pos uint64, emit func(vfs.Dirent) bool) error {
	entries, err := h.snapshot(ctx, pos)
	if err != nil {
		return err
	}
	next := uint64(0)
	if pos >= firstPos {
		next = pos - firstPos + 1
	}
	table, dev := &h.dir.fs.table, h.dir.id.dev
	for ; next < uint64(len(entries)); next++ {
		e := &entries[next]
		if !emit(vfs.Dirent{Name: e.name, Ino: table.number(dev, e.ino), Type: e.typ, Pos: next + firstPos}) {
			return nil
		}
	}
	return nil
}

func (h *dirHandle) snapshot(ctx context.Context, pos uint64) ([]entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read && pos != 0 {
		return h.entries, nil
	}
	g := h.dir.fs.gate
	if h.started {
		h.read, h.entries = false, nil
		if _, err := g.seek(h.desc.fd, 0, unix.SEEK_SET); err != nil {
			return nil, err
		}
	}
	h.started = true
	entries, err := g.readdir(ctx, h.desc.fd)
	if err != nil {
		return nil, err
	}
	h.read, h.entries = true, entries
	return entries, nil
}

// Fsync implements vfs.DirHandle.
func (h *dirHandle) Fsync(ctx context.Context, datasync bool) error {
	return h.dir.fs.gate.fsync(h.desc.fd, datasync)
}

// Release implements vfs.DirHandle.
func (h *dirHandle) Release(ctx context.Context) error { return h.desc.put() }
