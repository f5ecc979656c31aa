package hostfs

import (
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// pread reads once, and at least one byte before the end of file.
func (g *gate) pread(fd FD, p []byte, off int64) (int, error) {
	p = p[:min(len(p), maxTransfer)]
	for tries := 0; ; {
		n, err := g.host.Pread(fd, p, off)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return 0, fail("read", err)
		case n < 0 || n > len(p):
			return 0, badAnswer("read")
		}
		return n, nil
	}
}

// pwrite writes once, and at least one byte.
func (g *gate) pwrite(fd FD, p []byte, off int64) (int, error) {
	p = p[:min(len(p), maxTransfer)]
	for tries := 0; ; {
		n, err := g.host.Pwrite(fd, p, off)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return 0, fail("write", err)
		case n <= 0 || n > len(p):
			return 0, badAnswer("write")
		}
		return n, nil
	}
}

// append writes once at the end of file, at least one byte, and returns the offset
// after the last.
func (g *gate) append(fd FD, p []byte) (n int, end int64, err error) {
	p = p[:min(len(p), maxTransfer)]
	for tries := 0; ; {
		n, end, err = g.host.Append(fd, p)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return 0, 0, fail("append", err)
		case n <= 0 || n > len(p) || end < int64(n):
			return 0, 0, badAnswer("append")
		}
		return n, end, nil
	}
}

// seek finds data or a hole.
//
// Errors: ENXIO.
func (g *gate) seek(fd FD, off int64, whence int) (int64, error) {
	for tries := 0; ; {
		at, err := g.host.Seek(fd, off, whence)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return 0, fail("seek", err)
		case at < off:
			return 0, badAnswer("seek")
		}
		return at, nil
	}
}

func (g *gate) truncate(fd FD, size int64) error {
	return do("truncate", func() error { return g.host.Truncate(fd, size) })
}

// fallocate lets EINVAL through: file systems want ranges to be shifted in whole blocks.
func (g *gate) fallocate(fd FD, mode uint32, off, n int64) error {
	if err := g.need(CanFallocate, unix.EOPNOTSUPP); err != nil {
		return err
	}
	return do("fallocate", func() error { return g.host.Fallocate(fd, mode, off, n) }, unix.EINVAL)
}

// fsync is not repeated when interrupted: the host may have given up pages already.
func (g *gate) fsync(fd FD, datasync bool) error {
	if err := g.host.Fsync(fd, datasync); err != nil {
		return fail("fsync", err)
	}
	return nil
}

// maxTarget is the longest target of a symlink in bytes.
const maxTarget = unix.PathMax - 1

func (g *gate) readlink(dir FD, name string) (string, error) {
	if err := g.need(CanSymlink, unix.EIO); err != nil {
		return "", err
	}
	buf := make([]byte, maxTarget+1)
	for tries := 0; ; {
		n, err := g.host.Readlink(dir, name, buf)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return "", fail("readlink", err, unix.EINVAL)
		case n < 1 || n > maxTarget:
			return "", badAnswer("readlink")
		}
		target := string(buf[:n])
		if strings.IndexByte(target, 0) >= 0 {
			return "", badAnswer("readlink")
		}
		return target, nil
	}
}

// maxXattr is the most that the values and the list of the extended attributes of a file hold,
// in bytes (limits.h: XATTR_SIZE_MAX, XATTR_LIST_MAX).
const maxXattr = 65536

// xattrBuffer is enough for most values, in bytes.
const xattrBuffer = 256

// getxattr returns a value. Errors: ENODATA.
func (g *gate) getxattr(fd FD, name string) ([]byte, error) {
	return fetch("getxattr", func(buf []byte) (int, error) { return g.host.Getxattr(fd, name, buf) })
}

// listxattr returns the names as the host has them, one after the other, each ended by NUL.
func (g *gate) listxattr(fd FD) ([]byte, error) {
	return fetch("listxattr", func(buf []byte) (int, error) { return g.host.Listxattr(fd, buf) })
}

// fetch calls f with a buffer that is large enough, and returns what f has put there.
func fetch(call string, f func(buf []byte) (int, error)) ([]byte, error) {
	for _, size := range [...]int{xattrBuffer, maxXattr} {
		buf := make([]byte, size)
		n := 0
		err := do(call, func() (err error) {
			n, err = f(buf)
			return err
		}, unix.ENODATA, unix.ERANGE)
		switch {
		case err == unix.ERANGE && size < maxXattr:
			continue
		case err == unix.ERANGE:
			return nil, badAnswer(call)
		case err != nil:
			return nil, err
		case n < 0 || n > len(buf):
			return nil, badAnswer(call)
		}
		return buf[:n], nil
	}
	return nil, badAnswer(call)
}

func (g *gate) setxattr(fd FD, name string, value []byte, flags int) error {
	return do("setxattr", func() error { return g.host.Setxattr(fd, name, value, flags) }, unix.ENODATA, unix.E2BIG, unix.ERANGE)
}

func (g *gate) removexattr(fd FD, name string) error {
	return do("removexattr", func() error { return g.host.Removexattr(fd, name) }, unix.ENODATA)
}

// maxOffset is the largest size of a file in bytes.
const maxOffset = math.MaxInt64
