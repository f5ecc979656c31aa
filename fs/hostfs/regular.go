package hostfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// regular is a regular file.
type regular struct{ inode }

var _ vfs.Regular = (*regular)(nil)

// Open implements vfs.Regular. Each open file has a host descriptor of its own.
//
// Errors: EACCES and so on as the host says; ESTALE if the file is not at its place any more.
func (i *regular) Open(ctx context.Context, flags int) (vfs.Handle, error) {
	d := i.takeFresh()
	if d == nil {
		var err error
		if d, err = i.openFile(hostFlags(flags)); errors.Is(err, unix.EPERM) && flags&unix.O_NOATIME != 0 {
			d, err = i.openFile(hostFlags(flags &^ unix.O_NOATIME)) // the file is another's on the host
		}
		if err != nil {
			return nil, err
		}
	}
	h := &handle{inode: &i.inode, desc: d}
	i.opened(d)
	if d.writable {
		i.fs.mu.Lock()
		i.fs.open[h] = struct{}{}
		i.fs.mu.Unlock()
	}
	return h, nil
}

// hostFlags returns those of the O_* flags that matter to the host.
func hostFlags(flags int) int {
	flags &= unix.O_ACCMODE | unix.O_NOATIME
	if flags&unix.O_ACCMODE == unix.O_ACCMODE {
		flags &^= unix.O_ACCMODE // neither to be read nor to be written
	}
	return flags
}

// takeFresh returns the descriptor that Create has left, nil if there is none.
func (i *regular) takeFresh() *desc {
	if d := i.cached.Load(); d == nil || !d.fresh {
		return nil
	}
	d := i.fs.cache.take(&i.inode)
	if d != nil && !d.fresh {
		_ = d.put() // another one has taken its place; it refers to a file, wrote nothing
		return nil
	}
	return d
}

// handle is one open file. Data goes between the host and the caller's buffer
// directly; the file position is the VFS's.
type handle struct {
	inode *inode
	desc  *desc
}

var _ vfs.Handle = (*handle)(nil)

// ReadAt implements vfs.Handle. The host decides where the file ends.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if err := checkRange(off, int64(len(p)), unix.EINVAL); err != nil {
		return 0, err
	}
	for n < len(p) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := h.gate().pread(h.desc.fd, p[n:], off+int64(n))
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// WriteAt implements vfs.Handle.
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if err := checkRange(off, int64(len(p)), unix.EFBIG); err != nil {
		return 0, err
	}
	for n < len(p) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := h.gate().pwrite(h.desc.fd, p[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Append implements vfs.Handle: the host finds the end of file, because others may append, too.
func (h *handle) Append(ctx context.Context, p []byte) (n int, end int64, err error) {
	h.desc.posMu.Lock()
	defer h.desc.posMu.Unlock()
	for n < len(p) {
		if err := ctx.Err(); err != nil {
			return n, end, err
		}
		m, at, err := h.gate().append(h.desc.fd, p[n:])
		if err != nil {
			return n, end, err
		}
		n += m
		end = at
	}
	return n, end, nil
}

// Fallocate implements vfs.Handle.
func (h *handle) Fallocate(ctx context.Context, mode uint32, off, n int64) error {
	if err := checkRange(off, n, unix.EFBIG); err != nil {
		return err
	}
	return h.gate().fallocate(h.desc.fd, mode, off, n)
}

// Seek implements vfs.Handle. Where the host cannot tell, all is data.
func (h *handle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	if off < 0 {
		return 0, unix.ENXIO
	}
	if h.gate().caps&CanSeekData == 0 {
		a, err := h.inode.statAt(h.desc.fd, "")
		switch {
		case err != nil:
			return 0, err
		case off >= a.Size:
			return 0, unix.ENXIO
		case whence == unix.SEEK_HOLE:
			return a.Size, nil
		}
		return off, nil
	}
	h.desc.posMu.Lock()
	defer h.desc.posMu.Unlock()
	return h.gate().seek(h.desc.fd, off, whence)
}

// Fsync implements vfs.Handle.
func (h *handle) Fsync(ctx context.Context, datasync bool) error {
	return h.gate().fsync(h.desc.fd, datasync)
}

// Release implements vfs.Handle. It returns what closing on the host says, where that may be the
// last word on what was written.
func (h *handle) Release(ctx context.Context) error {
	h.inode.closing(h.desc)
	fs := h.inode.fs
	fs.mu.Lock()
	delete(fs.open, h)
	fs.mu.Unlock()
	return h.desc.put()
}

func (h *handle) gate() *gate { return h.inode.fs.gate }

// checkRange checks n bytes at byte offset off. Errors: EINVAL for a negative one; beyond if
// the range ends where no file reaches.
func checkRange(off, n int64, beyond unix.Errno) error {
	switch {
	case off < 0 || n < 0:
		return unix.EINVAL
	case off > maxOffset-n:
		return beyond
	}
	return nil
}
