package unionfs

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// A handle is one open regular file. It passes everything to the layer's own
// handle, and moves on to the copy when the file is copied up.
type handle struct {
	file   *regular
	flags  int    // for the layer's Open
	access uint32 // R_OK, W_OK: what the mounter's credentials are checked for

	cur atomic.Pointer[layerHandle]

	mu   sync.Mutex
	used []*layerHandle // all that Release has to release
}

// A layerHandle is a file of a layer, open.
type layerHandle struct {
	of *layerFile
	h  vfs.Handle
}

// current returns the handle of the file where it is now.
func (h *handle) current(ctx context.Context) (vfs.Handle, error) {
	if c := h.cur.Load(); c.of == h.file.real.Load() {
		return c.h, nil
	}
	return h.follow(ctx)
}

// follow opens the file where it is now. The handle that it replaces stays open: a
// read may be using it.
func (h *handle) follow(ctx context.Context) (vfs.Handle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	real := h.file.real.Load()
	if c := h.cur.Load(); c != nil && c.of == real {
		return c.h, nil
	}
	if err := vfs.Access(ctx, h.file.fs.cred, real.path, h.access); err != nil {
		return nil, err
	}
	const dealtWith = unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC
	lh, err := real.inode.(vfs.Regular).Open(ctx, h.flags&^dealtWith)
	if err != nil {
		return nil, err
	}
	c := &layerHandle{of: real, h: lh}
	h.used = append(h.used, c)
	h.cur.Store(c)
	return lh, nil
}

// ReadAt implements vfs.Handle.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	c, err := h.current(ctx)
	if err != nil {
		return 0, err
	}
	return c.ReadAt(ctx, p, off)
}

// WriteAt implements vfs.Handle.
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	c, err := h.current(ctx)
	if err != nil {
		return 0, err
	}
	return c.WriteAt(ctx, p, off)
}

// Append implements vfs.Handle.
func (h *handle) Append(ctx context.Context, p []byte) (n int, end int64, err error) {
	c, err := h.current(ctx)
	if err != nil {
		return 0, 0, err
	}
	return c.Append(ctx, p)
}

// Fallocate implements vfs.Handle.
func (h *handle) Fallocate(ctx context.Context, mode uint32, off, n int64) error {
	c, err := h.current(ctx)
	if err != nil {
		return err
	}
	return c.Fallocate(ctx, mode, off, n)
}

// Seek implements vfs.Handle.
func (h *handle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	c, err := h.current(ctx)
	if err != nil {
		return 0, err
	}
	return c.Seek(ctx, off, whence)
}

// Fsync implements vfs.Handle. What is in a lower layer is on storage already.
func (h *handle) Fsync(ctx context.Context, datasync bool) error {
	c, err := h.current(ctx)
	if err != nil || h.file.upper() == nil || !h.file.fs.writable.Load() {
		return err
	}
	return c.Fsync(ctx, datasync)
}

// Release implements vfs.Handle. It releases everything, whatever happens, and
// returns the first error.
func (h *handle) Release(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var first error
	for _, c := range h.used {
		if err := c.h.Release(ctx); err != nil && first == nil {
			first = err
		}
	}
	h.used = nil
	return first
}
