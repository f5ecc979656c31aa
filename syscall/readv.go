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

// Preadv2 is Preadv, or with off -1 Readv, with RWF_* bits in flags.
// RWF_HIPRI, RWF_DSYNC and RWF_SYNC change nothing.
//
// Errors: EOPNOTSUPP for other flags than those of Pwritev2; EINVAL for RWF_APPEND with RWF_NOAPPEND, and for an offset below -1;
// those of Readv.
func (t *Task) Preadv2(fd int, iov [][]byte, off int64, flags int) (int, error) {
	if off < atOffset {
		return 0, unix.EINVAL
	}
	return t.vector(fd, vector{iov: iov, off: off, flags: flags})
}

// Pwritev2 is Pwritev, or with off -1 Writev, with RWF_* bits in flags:
// RWF_APPEND appends, whatever off is, RWF_NOAPPEND does not even with O_APPEND,
// RWF_DSYNC and RWF_SYNC make the data durable as O_DSYNC and O_SYNC do, RWF_HIPRI changes nothing.
//
// Errors: EOPNOTSUPP for other flags; EINVAL for RWF_APPEND with RWF_NOAPPEND, and for an offset below -1;
// those of Writev.
func (t *Task) Pwritev2(fd int, iov [][]byte, off int64, flags int) (int, error) {
	if off < atOffset {
		return 0, unix.EINVAL
	}
	return t.vector(fd, vector{iov: iov, write: true, off: off, flags: flags})
}

// checkRWFlags checks RWF_* bits (fs.h: kiocb_set_rw_flags; for directories
// fs/read_write.c: do_loop_readv_writev).
func checkRWFlags(f *vfs.File, flags int) error {
	const (
		appending = unix.RWF_APPEND | unix.RWF_NOAPPEND
		known     = appending | unix.RWF_HIPRI | unix.RWF_DSYNC | unix.RWF_SYNC
	)
	switch {
	case flags&^known != 0, flags&^unix.RWF_HIPRI != 0 && f.Path().IsDir():
		return unix.EOPNOTSUPP
	case flags&appending == appending:
		return unix.EINVAL
	}
	return nil
}

// A vector is one transfer of several segments.
type vector struct {
	iov   [][]byte
	write bool
	off   int64 // bytes, or atOffset
	flags int   // RWF_*
	use   vfs.Use
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
	if total == 0 {
		return 0, nil
	}
	if err := checkRWFlags(f, v.flags); err != nil {
		return 0, err
	}
	v.use = t.use(f)
	v.use.Flags = v.flags
	switch {
	case segments > 1 && total <= gatherMax && (v.write || v.off == atOffset):
		return v.gathered(total)
	}
	return v.inTurn(total)
}

// inTurn moves total bytes segment by segment, until one falls short.
func (v *vector) inTurn(total int) (int, error) {
	done := 0
	for _, p := range v.iov {
		p = p[:min(len(p), total-done)]
		if len(p) == 0 {
			continue
		}
		n, err := v.move(p, int64(done))
		done += n
		if err != nil || n < len(p) {
			return moved(done, err)
		}
	}
	return done, nil
}

// gathered moves total bytes in one step, through one buffer: so nobody else's
// bytes come between those of two segments.
func (v *vector) gathered(total int) (int, error) {
	buf := make([]byte, 0, total)
	if v.write {
		for _, p := range v.iov {
			buf = append(buf, p...)
		}
		return moved(v.move(buf, 0))
	}
	n, err := v.move(buf[:total], 0)
	rest := buf[:n]
	for _, p := range v.iov {
		rest = rest[copy(p, rest):]
	}
	return moved(n, err)
}

// move moves p after done bytes have been moved.
func (v *vector) move(p []byte, done int64) (int, error) {
	ctx := context.Background()
	if v.off == atOffset {
		if v.write {
			return v.use.Write(ctx, p)
		}
		return v.use.File.Read(ctx, p)
	}
	if done > math.MaxInt64-v.off {
		return 0, unix.EINVAL
	}
	if v.write {
		return v.use.WriteAt(ctx, p, v.off+done)
	}
	return v.use.File.ReadAt(ctx, p, v.off+done)
}
