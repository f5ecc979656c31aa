package syscall

import (
	"context"
	"math"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

const (
	uioMaxIOV = 1024    // uio.h: UIO_MAXIOV, the most segments
	gatherMax = 1 << 20 // bytes that are moved in one step even if in several segments
)

// Readv reads into the segments of iov in turn, as readv(2) does. Up to 1 MiB
// is taken from the file in one step; a longer read can be interleaved with
// those of others who share the file offset.
//
// Errors: EBADF; EINVAL for more than 1024 segments; EISDIR.
func (t *Task) Readv(fd int, iov [][]byte) (int, error) {
	return t.vector(fd, vector{iov: iov, off: atOffset})
}

// Writev writes the segments of iov in turn, as writev(2) does, with the same
// limit of 1 MiB as Readv.
//
// Errors: EBADF; EINVAL for more than 1024 segments; EFBIG; ENOSPC; EIO.
func (t *Task) Writev(fd int, iov [][]byte) (int, error) {
	return t.vector(fd, vector{iov: iov, write: true, off: atOffset})
}

// Preadv is Readv at byte offset off.
//
// Errors: EINVAL for a negative offset; those of Readv; ESPIPE.
func (t *Task) Preadv(fd int, iov [][]byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	return t.vector(fd, vector{iov: iov, off: off})
}

// Pwritev is Writev at byte offset off; with O_APPEND it appends, as Pwrite64.
//
// Errors: EINVAL for a negative offset; those of Writev; ESPIPE.
func (t *Task) Pwritev(fd int, iov [][]byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	return t.vector(fd, vector{iov: iov, write: true, off: off})
}

// A vector is one transfer of several segments.
type vector struct {
	iov   [][]byte
	write bool
	off   int64 // bytes, or atOffset
}

// atOffset stands for the offset of the open file, which moves along.
const atOffset = -1

func (t *Task) vector(fd int, v vector) (int, error) {
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	switch {
	case v.write && !f.Writable(), !v.write && !f.Readable():
		return 0, unix.EBADF
	case len(v.iov) > uioMaxIOV:
		return 0, unix.EINVAL
	}
	total, segments := 0, 0
	for _, p := range v.iov {
		if len(p) > 0 {
			segments++
			total += min(len(p), maxRWCount-total)
		}
	}
	switch {
	case total == 0:
		return 0, nil
	case segments > 1 && total <= gatherMax && (v.write || v.off == atOffset):
		return v.gathered(f, total)
	}
	return v.inTurn(f, total)
}

// inTurn moves total bytes segment by segment, until one falls short.
func (v *vector) inTurn(f *vfs.File, total int) (int, error) {
	done := 0
	for _, p := range v.iov {
		p = p[:min(len(p), total-done)]
		if len(p) == 0 {
			continue
		}
		n, err := v.move(f, p, int64(done))
		done += n
		if err != nil || n < len(p) {
			return moved(done, err)
		}
	}
	return done, nil
}

// gathered moves total bytes in one step, through one buffer: so nobody else's
// bytes come between those of two segments.
func (v *vector) gathered(f *vfs.File, total int) (int, error) {
	buf := make([]byte, 0, total)
	if v.write {
		for _, p := range v.iov {
			buf = append(buf, p...)
		}
		return moved(v.move(f, buf, 0))
	}
	n, err := v.move(f, buf[:total], 0)
	rest := buf[:n]
	for _, p := range v.iov {
		rest = rest[copy(p, rest):]
	}
	return moved(n, err)
}

// move moves p after done bytes have been moved.
func (v *vector) move(f *vfs.File, p []byte, done int64) (int, error) {
	ctx := context.Background()
	if v.off == atOffset {
		if v.write {
			return f.Write(ctx, p)
		}
		return f.Read(ctx, p)
	}
	if done > math.MaxInt64-v.off {
		return 0, unix.EINVAL
	}
	if v.write {
		return f.WriteAt(ctx, p, v.off+done)
	}
	return f.ReadAt(ctx, p, v.off+done)
}
