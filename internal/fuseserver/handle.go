package fuseserver

import (
	"context"
	"sync"

	"cloister/vfs"
)

// handle is one open file or directory.
type handle struct {
	file *vfs.File

	mu    sync.Mutex   // directories: one READDIR at a time
	batch []vfs.Dirent // the entries of the one that runs, kept for its storage
}

// handleTable maps file handles to open files. Handles are never used twice.
type handleTable struct {
	mu   sync.RWMutex
	open map[uint64]*handle
	last uint64
}

func (t *handleTable) add(f *vfs.File) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[uint64]*handle)
	}
	t.last++
	t.open[t.last] = &handle{file: f}
	return t.last
}

// get returns an open file, nil if there is none.
func (t *handleTable) get(fh uint64) *handle {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.open[fh]
}

// remove closes the file of a handle.
func (t *handleTable) remove(ctx context.Context, fh uint64) error {
	t.mu.Lock()
	h := t.open[fh]
	delete(t.open, fh)
	t.mu.Unlock()
	if h == nil {
		return nil
	}
	return h.file.Close(ctx)
}

// close closes what is still open: a forced unmount sends no RELEASE.
func (t *handleTable) close(ctx context.Context) (err error) {
	t.mu.Lock()
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for _, h := range open {
		if e := h.file.Close(ctx); e != nil {
			err = e
		}
	}
	return err
}
