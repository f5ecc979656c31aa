package treecopy

import (
	"errors"
	"io"
	"path/filepath"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// regularOf copies a regular file of the host.
func (c *copier) regularOf(src *hostDir, name string, st *unix.Stat_t, dst vfs.Path, newName string, m *meta) (vfs.Path, error) {
	path := filepath.Join(src.path, name)
	// O_NONBLOCK: a FIFO put in the file's place must not hang us.
	fd, err := unix.Openat(src.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return vfs.Path{}, &Error{"open", path, err}
	}
	defer unix.Close(fd)
	if m.xattrs, err = c.xattrs(fd, path); err != nil {
		return vfs.Path{}, err
	}
	if st.Size == 0 {
		return c.regular(path, dst, newName, m, nil)
	}
	return c.regular(path, dst, newName, m, func(f *vfs.File) error { return c.contents(fd, path, st, f) })
}

// contents copies the data of a file and leaves out its holes.
func (c *copier) contents(fd int, path string, st *unix.Stat_t, f *vfs.File) error {
	sparse := st.Blocks*512 < st.Size
	var off, end int64
	for off < st.Size {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if off == end { // find the next run of data
			if off, end = c.nextData(fd, off, st.Size, sparse); off >= st.Size {
				break
			}
		}
		n, err := unix.Pread(fd, c.buf[:min(int64(len(c.buf)), end-off)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &Error{"read", path, err}
		}
		if n == 0 {
			return &Error{"read", path, io.ErrUnexpectedEOF} // truncated meanwhile
		}
		if _, err := f.WriteAt(c.ctx, c.buf[:n], off); err != nil {
			return &Error{"write", path, err}
		}
		off += int64(n)
		c.totals.Bytes += int64(n)
		c.progress(0, int64(n))
	}
	if end < st.Size { // it ends with a hole
		if err := f.Truncate(c.ctx, st.Size); err != nil {
			return &Error{"truncate", path, err}
		}
	}
	return nil
}

// nextData returns the run of data at or after off; off is size if there is
// none. A host that cannot tell has no holes.
func (c *copier) nextData(fd int, off, size int64, sparse bool) (start, end int64) {
	if !sparse {
		return off, size
	}
	start, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, off
	}
	if err != nil || start < off {
		return off, size
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	if err != nil || end <= start || end > size {
		end = size
	}
	return min(start, size), end
}
