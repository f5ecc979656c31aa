package unionfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// A fileCopy is a copy of a lower file in the making.
type fileCopy struct {
	fs     *FS
	lower  *layerFile
	attr   vfs.Attr
	xattrs map[string][]byte
	limit  int64    // bytes of data
	target string   // of a symlink
	tmp    vfs.Path // the unnamed copy of a regular file
}

// newCopy reads what the copy needs to know.
//
// Preconditions:
//   - copyMu is locked.
func (f *file) newCopy(ctx context.Context, limit int64) (*fileCopy, error) {
	c := &fileCopy{fs: f.fs, lower: f.real.Load()}
	var err error
	if c.attr, err = c.lower.inode.Getattr(ctx, unix.STATX_BASIC_STATS); err != nil {
		return nil, err
	}
	c.limit = min(limit, c.attr.Size)
	if c.xattrs, err = copiedXattrs(ctx, c.lower); err != nil {
		return nil, err
	}
	c.xattrs[xattrOrigin] = origin{c.lower.layer.id, c.lower.ino}.encode()
	if s, ok := c.lower.inode.(vfs.Symlink); ok {
		c.target, err = s.Readlink(ctx)
	}
	return c, err
}

func (c *fileCopy) release() {
	if c.tmp.Valid() {
		c.tmp.Put()
	}
}

// prepare makes the copy of a regular file, without a name. dir is any directory
// of the upper layer. The other types are made by place, in one step.
func (c *fileCopy) prepare(ctx context.Context, dir vfs.Path) error {
	src, ok := c.lower.inode.(vfs.Regular)
	if !ok {
		return nil
	}
	var err error
	c.tmp, err = vfs.Tmpfile(ctx, c.fs.cred, dir, c.attr.Mode&07777, copyOptions(&c.attr, c.xattrs))
	if err != nil {
		return err
	}
	dst, ok := c.tmp.Inode().(vfs.Regular)
	if !ok {
		return unix.EIO
	}
	if err := c.fs.copyData(ctx, dst, src, c.limit); err != nil {
		return err
	}
	return dst.Setattr(ctx, vfs.SetAttr{
		Mask:  unix.STATX_ATIME | unix.STATX_MTIME,
		Atime: c.attr.Atime,
		Mtime: c.attr.Mtime,
	})
}

// unnamed returns the copy for a file that has lost its name.
func (c *fileCopy) unnamed() (*layerFile, error) {
	if !c.tmp.Valid() {
		return nil, unix.ENOENT
	}
	return c.fs.upperFile(c.tmp.Get()), nil
}

// place gives the copy its name in a directory of the upper layer.
func (c *fileCopy) place(ctx context.Context, dir vfs.Path, name string) (*layerFile, error) {
	var p vfs.Path
	var err error
	opt := copyOptions(&c.attr, c.xattrs)
	switch c.lower.inode.(type) {
	case vfs.Regular:
		p, err = vfs.Link(ctx, c.fs.cred, c.tmp, dir, name)
	case vfs.Symlink:
		p, err = vfs.Symlinkat(ctx, c.fs.cred, dir, name, c.target, opt)
	default:
		p, err = vfs.Mknod(ctx, c.fs.cred, dir, name, c.attr.Mode, c.attr.Rdev, opt)
	}
	if err != nil {
		return nil, err
	}
	return c.fs.upperFile(p), nil
}

// copyChunk is the number of bytes that are copied at a time.
const copyChunk = 1 << 20

// copyData copies the first size bytes of src to the empty file dst. Holes stay
// holes.
func (fs *FS) copyData(ctx context.Context, dst, src vfs.Regular, size int64) (err error) {
	if size == 0 {
		return nil
	}
	r, err := src.Open(ctx, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer releaseInto(ctx, r, &err)
	w, err := dst.Open(ctx, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer releaseInto(ctx, w, &err)
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)

	var end int64
	for {
		var start int64
		if start, end, err = nextData(ctx, r, end, size); err != nil {
			return err
		}
		if start == size {
			break
		}
		if err := copyRange(ctx, w, r, *buf, start, end); err != nil {
			return err
		}
	}
	// What ends with a hole is not long enough yet.
	return dst.Setattr(ctx, vfs.SetAttr{Mask: unix.STATX_SIZE, Size: size})
}

// releaseInto releases h and, unless there is an error already, reports how that went.
func releaseInto(ctx context.Context, h vfs.Handle, err *error) {
	if e := h.Release(ctx); *err == nil {
		*err = e
	}
}

// nextData returns the next range of data at or after off, within size bytes.
// start is size if there is none. A layer that cannot tell has data everywhere.
func nextData(ctx context.Context, h vfs.Handle, off, size int64) (start, end int64, err error) {
	if off >= size {
		return size, size, nil
	}
	start, err = h.Seek(ctx, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return off, size, nil
	case err != nil:
		return 0, 0, err
	case start < off:
		return 0, 0, unix.EIO
	case start >= size:
		return size, size, nil
	}
	if end, err = h.Seek(ctx, start, unix.SEEK_HOLE); err != nil {
		return 0, 0, err
	}
	if end <= start {
		return 0, 0, unix.EIO
	}
	return start, min(end, size), nil
}

// copyRange copies the bytes from start to end, to the same place.
func copyRange(ctx context.Context, w, r vfs.Handle, buf []byte, start, end int64) error {
	for off := start; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), end-off)]
		n, err := r.ReadAt(ctx, p, off)
		if err != nil {
			return err
		}
		if n != len(p) {
			return unix.EIO // a lower file does not change
		}
		if _, err := w.WriteAt(ctx, p, off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
