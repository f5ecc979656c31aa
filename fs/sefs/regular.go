package sefs

import (
	"cmp"
	"context"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// regular is a regular file. Its content is kept by volume.File.
type regular struct{ inode }

var _ vfs.Regular = (*regular)(nil)

// Open implements vfs.Regular.
func (f *regular) Open(ctx context.Context, flags int) (vfs.Handle, error) {
	return fileHandle{f}, nil
}

// Setattr implements vfs.Inode. Errors: EFBIG, EINVAL for a negative size.
func (f *regular) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if sa.Mask&unix.STATX_SIZE == 0 {
		return f.inode.Setattr(ctx, sa)
	}
	switch {
	case sa.Size < 0:
		return unix.EINVAL
	case sa.Size > format.MaxFileSize:
		return unix.EFBIG
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	shrink := sa.Size < f.size.Load()
	if shrink {
		if err := f.readable(ctx, sa.Size); err != nil {
			return err
		}
	}
	o, err := f.fs.begin(ctx)
	if err != nil {
		return err
	}
	if shrink {
		o.data(f.data.Truncate(o.tx, sa.Size))
	}
	f.update(&o, func(s *state) {
		applyAttr(s, sa)
		s.Size = sa.Size
		f.data.SetSize(sa.Size)
	})
	return o.end()
}

// readable reads the blocks that a cut at one of offs leaves a part of: a
// damaged one must be found before anything changes.
func (f *regular) readable(ctx context.Context, offs ...int64) error {
	for _, off := range offs {
		if off%format.BlockSize == 0 || off >= f.size.Load() {
			continue
		}
		var b [1]byte
		if err := f.data.ReadAt(ctx, b[:], off); err != nil {
			return err
		}
	}
	return nil
}

// data makes the outcome of dropping file data stick. An error may come half-way.
func (o *op) data(err error) {
	o.changed = true
	o.fail(err)
}

// fileHandle is an open regular file. It keeps no state.
type fileHandle struct{ f *regular }

// ReadAt implements vfs.Handle.
func (h fileHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	size := h.f.size.Load()
	if off >= size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), size-off)]
	if len(p) == 0 {
		return 0, nil
	}
	if err := h.f.data.ReadAt(ctx, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt implements vfs.Handle.
func (h fileHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.f.writeLocked(ctx, p, off)
}

// Append implements vfs.Handle.
func (h fileHandle) Append(ctx context.Context, p []byte) (int, int64, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	off := h.f.size.Load()
	n, err := h.f.writeLocked(ctx, p, off)
	return n, off + int64(n), err
}

// maxWrite is how much one op writes: a longer write may be cut in a crash, as on Linux.
const maxWrite = 1 << 20

// writeLocked writes p at off.
//
// Preconditions:
//   - f.mu is held.
func (f *regular) writeLocked(ctx context.Context, p []byte, off int64) (done int, err error) {
	switch {
	case off < 0:
		return 0, unix.EINVAL
	case len(p) == 0:
		return 0, nil
	case off >= format.MaxFileSize:
		return 0, unix.EFBIG
	}
	// A write across the limit stops there (fs/read_write.c: generic_write_check_limits).
	whole := p
	p = p[:min(int64(len(p)), format.MaxFileSize-off)]
	for done < len(p) {
		n := min(maxWrite, len(p)-done)
		if err := f.writeChunk(ctx, p[done:done+n], off+int64(done)); err != nil {
			return done, err
		}
		done += n
	}
	if done < len(whole) {
		return done, unix.EFBIG
	}
	return done, nil
}

func (f *regular) writeChunk(ctx context.Context, p []byte, off int64) error {
	o, err := f.fs.begin(ctx)
	if err != nil {
		return err
	}
	size := f.size.Load()
	if err := f.data.WriteAt(ctx, o.tx, p, off); err != nil {
		if off+int64(len(p)) > size {
			// What came to lie behind the end must not show when the file grows.
			o.data(f.data.Truncate(o.tx, size))
		}
		f.fs.wb.add(&o, &f.inode) // the number of blocks may have changed
		return cmp.Or(o.end(), err)
	}
	if end := off + int64(len(p)); end > size {
		f.size.Store(end)
		f.data.SetSize(end)
	}
	f.wtime.Store(f.fs.now().UnixNano())
	f.fs.wb.add(&o, &f.inode)
	return o.end()
}

// Fsync implements vfs.Handle: everything that was done before is durable on
// return, data and names of all files.
func (h fileHandle) Fsync(ctx context.Context, datasync bool) error { return h.f.fs.Sync(ctx) }

// Release implements vfs.Handle.
func (h fileHandle) Release(ctx context.Context) error { return nil }
