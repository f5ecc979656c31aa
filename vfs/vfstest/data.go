package vfstest

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func testReadWrite(t *testing.T, d Driver) {
	t.Run("position", func(t *testing.T) {
		s := newSys(t, d)
		f := s.file("f", unix.O_RDWR|unix.O_CREAT)
		defer f.close()
		f.write("hello ")
		f.write("world")
		require.Equal(t, "hello world", f.readAt(100, 0))
		buf := make([]byte, 4)
		n, err := f.Read(buf)
		s.ok(err, "read at the end")
		require.Zero(t, n)
		_, err = f.Seek(2, unix.SEEK_SET)
		s.ok(err, "lseek")
		n, err = f.Read(buf)
		s.ok(err, "read")
		require.Equal(t, "llo ", string(buf[:n]))
	})
	t.Run("append", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDWR|unix.O_APPEND)
		defer f.close()
		f.write("1")
		f.writeAt("2", 0)
		_, err := f.Seek(0, unix.SEEK_SET)
		s.ok(err, "lseek")
		f.write("3")
		require.Equal(t, "f123", s.get("f"))
		s.ok(f.SetFlags(0), "F_SETFL")
		f.writeAt("F", 0)
		require.Equal(t, "F123", s.get("f"))
	})
	t.Run("direction", func(t *testing.T) {
		s := newSys(t, d, "f")
		r, w := s.file("f", unix.O_RDONLY), s.file("f", unix.O_WRONLY)
		defer r.close()
		defer w.close()
		_, err := r.Write([]byte("x"))
		s.fails(unix.EBADF, err, "write to a read-only file")
		_, err = w.Read(make([]byte, 1))
		s.fails(unix.EBADF, err, "read from a write-only file")
		both := s.file("f", unix.O_ACCMODE)
		defer both.close()
		_, err = both.Read(make([]byte, 1))
		s.fails(unix.EBADF, err, "read with access mode 3")
	})
	t.Run("directory", func(t *testing.T) {
		s := newSys(t, d)
		f := s.file("/", unix.O_RDONLY)
		defer f.close()
		_, err := f.Read(make([]byte, 1))
		s.fails(unix.EISDIR, err, "read")
		_, err = f.Write(make([]byte, 1))
		s.fails(unix.EBADF, err, "write")
		s.ok(f.Fsync(), "fsync")
	})
	t.Run("offsets", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDWR)
		defer f.close()
		for _, off := range []int64{-1, math.MinInt64, math.MaxInt64} {
			_, err := f.ReadAt(make([]byte, 1), off)
			s.fails(unix.EINVAL, err, "pread at %d", off)
			_, err = f.WriteAt(make([]byte, 1), off)
			s.fails(unix.EINVAL, err, "pwrite at %d", off)
		}
		require.Equal(t, "f", s.get("f"))
		require.Equal(t, "", f.readAt(10, math.MaxInt64-10))
		_, err := f.WriteAt(make([]byte, 1), math.MaxInt64-1)
		if d.HugeFiles {
			s.ok(err, "pwrite at the end of the largest file")
			require.EqualValues(t, math.MaxInt64, f.attr().Size)
			return
		}
		s.fails(unix.EFBIG, err, "pwrite past the largest size")
		require.Equal(t, "f", s.get("f"))
	})
	t.Run("two open files", func(t *testing.T) {
		s := newSys(t, d, "f")
		a, b := s.file("f", unix.O_RDWR), s.file("f", unix.O_RDWR)
		defer a.close()
		defer b.close()
		a.writeAt("abc", 0)
		require.Equal(t, "abc", b.readAt(10, 0))
		b.writeAt("X", 1)
		require.Equal(t, "aXc", a.readAt(10, 0))
		s.ok(a.Truncate(1), "ftruncate")
		require.Equal(t, "a", b.readAt(10, 0))
	})
	t.Run("unlinked while open", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDWR)
		defer f.close()
		s.ok(s.unlink("f"), "unlink")
		f.writeAt("still here", 0)
		require.Equal(t, "still here", f.readAt(100, 0))
		require.EqualValues(t, 0, f.attr().Nlink)
		s.put("f", "another")
		require.Equal(t, "still here", f.readAt(100, 0))
		require.NotEqual(t, f.attr().Ino, s.attr("f").Ino)
	})
	t.Run("replaced while open", func(t *testing.T) {
		s := newSys(t, d, "f", "g")
		f := s.file("f", unix.O_RDWR)
		defer f.close()
		s.ok(s.rename("g", "f"), "rename")
		require.Equal(t, "f", f.readAt(100, 0))
		require.Equal(t, "g", s.get("f"))
	})
}

// testSizes writes and reads back sizes around the block boundaries, at offsets around them.
func testSizes(t *testing.T, d Driver) {
	b := int64(d.Block)
	sizes := []int64{0, 1, b - 1, b, b + 1, 2*b - 1, 2 * b, 2*b + 1, 7*b + 13, 64*b + 1}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newSys(t, d)
			want := pattern(size, 1)
			s.put("f", string(want))
			require.EqualValues(t, size, s.attr("f").Size)
			require.Equal(t, want, []byte(s.get("f")))
			f := s.file("f", unix.O_RDWR)
			defer f.close()
			for i, off := range sizes[:8] {
				part := pattern(size/2+1, byte(i)+2)
				f.writeAt(string(part), off)
				want = overlay(want, part, off)
				require.Equal(t, len(want), int(f.attr().Size), "size after a write at %d", off)
				require.True(t, bytes.Equal(want, []byte(f.readAt(len(want)+1, 0))), "content after a write at %d", off)
			}
			for _, to := range []int64{b + 1, b, b - 1, 3 * b, 1, b, 0, 2 * b} {
				s.ok(f.Truncate(to), "ftruncate %d", to)
				want = resize(want, to)
				require.True(t, bytes.Equal(want, []byte(f.readAt(len(want)+1, 0))), "content after ftruncate %d", to)
			}
		})
	}
}

// pattern returns n bytes that differ from place to place.
func pattern(n int64, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7+i>>8) + seed*31 | 1
	}
	return p
}

func overlay(old, part []byte, off int64) []byte {
	old = resize(old, max(int64(len(old)), off+int64(len(part))))
	copy(old[off:], part)
	return old
}

func resize(p []byte, n int64) []byte {
	q := make([]byte, n)
	copy(q, p)
	return q
}

func testTruncate(t *testing.T, d Driver) {
	s := newSys(t, d, "f", "d/")
	s.fails(unix.EISDIR, s.truncate("d", 0), "truncate a directory")
	s.fails(unix.EINVAL, s.truncate("f", -1), "truncate to -1")
	s.fails(unix.ENOENT, s.truncate("x", 0), "truncate a missing file")
	if d.HugeFiles {
		s.ok(s.truncate("f", math.MaxInt64), "truncate to the largest offset")
		s.ok(s.truncate("f", 1), "truncate back")
	} else {
		s.fails(unix.EFBIG, s.truncate("f", math.MaxInt64), "truncate to the largest offset")
	}
	require.Equal(t, "f", s.get("f"))
	s.ok(s.truncate("f", 10), "grow")
	require.Equal(t, "f"+strings.Repeat("\x00", 9), s.get("f"))
	s.ok(s.truncate("f", 0), "shrink")
	s.ok(s.truncate("f", 3), "grow")
	require.Equal(t, "\x00\x00\x00", s.get("f"))
	r := s.file("f", unix.O_RDONLY)
	defer r.close()
	s.fails(unix.EINVAL, r.Truncate(0), "ftruncate a read-only file")
	dir := s.file("d", unix.O_RDONLY)
	defer dir.close()
	s.fails(unix.EINVAL, dir.Truncate(0), "ftruncate a directory")
	w := s.file("f", unix.O_WRONLY)
	defer w.close()
	s.fails(unix.EINVAL, w.Truncate(-1), "ftruncate to -1")
}

func testSeek(t *testing.T, d Driver) {
	s := newSys(t, d)
	f := s.file("f", unix.O_RDWR|unix.O_CREAT)
	defer f.close()
	f.write("0123456789")
	for _, c := range []struct {
		off    int64
		whence int
		pos    int64
		want   unix.Errno
	}{
		{3, unix.SEEK_SET, 3, 0},
		{2, unix.SEEK_CUR, 5, 0},
		{-6, unix.SEEK_CUR, 0, unix.EINVAL},
		{0, unix.SEEK_CUR, 5, 0},
		{-4, unix.SEEK_END, 6, 0},
		{100, unix.SEEK_END, 110, 0},
		{-1, unix.SEEK_SET, 0, unix.EINVAL},
		{math.MaxInt64, unix.SEEK_CUR, 0, unix.EINVAL},
		{0, 9, 0, unix.EINVAL},
		{4, unix.SEEK_DATA, 4, 0},
		{4, unix.SEEK_HOLE, 10, 0},
		{10, unix.SEEK_DATA, 0, unix.ENXIO},
		{10, unix.SEEK_HOLE, 0, unix.ENXIO},
		{-1, unix.SEEK_DATA, 0, unix.ENXIO},
	} {
		pos, err := f.Seek(c.off, c.whence)
		s.fails(c.want, err, "lseek(%d, %d)", c.off, c.whence)
		require.Equal(t, c.pos, pos, "lseek(%d, %d)", c.off, c.whence)
	}
	if !d.has(Sparse) {
		return
	}
	// Data at 1 MiB and 3 MiB, holes before and between.
	const mib = 1 << 20
	sparse := s.file("sparse", unix.O_RDWR|unix.O_CREAT)
	defer sparse.close()
	sparse.writeAt("a", mib)
	sparse.writeAt("b", 3*mib)
	require.Less(t, sparse.attr().Blocks*512, int64(mib), "blocks of a sparse file")
	next := func(off int64, whence int) int64 {
		pos, err := sparse.Seek(off, whence)
		s.ok(err, "lseek(%d, %d)", off, whence)
		return pos
	}
	require.EqualValues(t, 0, next(0, unix.SEEK_HOLE))
	data := next(0, unix.SEEK_DATA)
	require.LessOrEqual(t, data, int64(mib))
	require.Greater(t, data, int64(0), "data starts after a hole")
	hole := next(data, unix.SEEK_HOLE)
	require.Greater(t, hole, int64(mib))
	require.Less(t, hole, int64(3*mib))
	require.Greater(t, next(hole, unix.SEEK_DATA), hole)
	require.EqualValues(t, 3*mib+1, next(3*mib, unix.SEEK_HOLE))
	require.Equal(t, strings.Repeat("\x00", 5000), sparse.readAt(5000, 2*mib))
}

func testFallocate(t *testing.T, d Driver) {
	const (
		keep     = unix.FALLOC_FL_KEEP_SIZE
		punch    = unix.FALLOC_FL_PUNCH_HOLE
		zero     = unix.FALLOC_FL_ZERO_RANGE
		collapse = unix.FALLOC_FL_COLLAPSE_RANGE
		insert   = unix.FALLOC_FL_INSERT_RANGE
		unshare  = unix.FALLOC_FL_UNSHARE_RANGE
	)
	t.Run("arguments", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDWR)
		defer f.close()
		for _, c := range []struct {
			mode   uint32
			off, n int64
			want   unix.Errno
		}{
			{0, -1, 1, unix.EINVAL},
			{0, 0, 0, unix.EINVAL},
			{0, 0, -1, unix.EINVAL},
			{0, math.MaxInt64, 1, unix.EFBIG},
			{keep | 0xdead<<16, 0, 1, unix.EOPNOTSUPP},
			{punch | zero, 0, 1, unix.EOPNOTSUPP},
			{punch, 0, 1, unix.EOPNOTSUPP},
		} {
			s.fails(c.want, f.Fallocate(c.mode, c.off, c.n), "fallocate(%#x, %d, %d)", c.mode, c.off, c.n)
		}
		// EOPNOTSUPP in newer kernels, EINVAL in older ones (fs/open.c: vfs_fallocate).
		for _, mode := range []uint32{insert | keep, collapse | keep, punch | keep | unshare} {
			err := f.Fallocate(mode, 0, 1)
			require.Contains(t, []unix.Errno{unix.EINVAL, unix.EOPNOTSUPP}, vfs.Errno(err), "fallocate(%#x, 0, 1)", mode)
		}
		r := s.file("f", unix.O_RDONLY)
		defer r.close()
		s.fails(unix.EBADF, r.Fallocate(0, 0, 1), "fallocate a read-only file")
	})
	b := int64(d.Block)
	for _, c := range []struct {
		name    string
		feature Feature
		mode    uint32
		off, n  int64
		want    func(old []byte) []byte
	}{
		{"allocate", Allocate, 0, 2*b + 1, 3 * b, func(p []byte) []byte { return resize(p, 5*b+1) }},
		{"allocate inside", Allocate, 0, 1, b, func(p []byte) []byte { return p }},
		{"allocate and keep size", Allocate, keep, 2 * b, 9 * b, func(p []byte) []byte { return p }},
		{"punch within a block", PunchHole, punch | keep, 3, 10, func(p []byte) []byte { return zeroed(p, 3, 13) }},
		{"punch blocks", PunchHole, punch | keep, b, 2 * b, func(p []byte) []byte { return zeroed(p, b, 3*b) }},
		{"punch across", PunchHole, punch | keep, b - 3, 2*b + 9, func(p []byte) []byte { return zeroed(p, b-3, 3*b+6) }},
		{"punch past the end", PunchHole, punch | keep, 3 * b, 9 * b, func(p []byte) []byte { return zeroed(p, 3*b, int64(len(p))) }},
		{"zero", ZeroRange, zero, b - 3, 2*b + 9, func(p []byte) []byte { return zeroed(p, b-3, 3*b+6) }},
		{"zero and grow", ZeroRange, zero, 3 * b, 9 * b, func(p []byte) []byte { return resize(p[:3*b], 12*b) }},
		{"zero and keep size", ZeroRange, zero | keep, 3 * b, 9 * b, func(p []byte) []byte { return zeroed(p, 3*b, int64(len(p))) }},
		{"collapse", ShiftRange, collapse, b, 2 * b, func(p []byte) []byte { return append(p[:b:b], p[3*b:]...) }},
		{"insert", ShiftRange, insert, b, 2 * b, func(p []byte) []byte {
			return append(append(p[:b:b], make([]byte, 2*b)...), p[b:]...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d)
			f := s.file("f", unix.O_RDWR|unix.O_CREAT)
			defer f.close()
			data := pattern(4*b+7, 3)
			f.write(string(data))
			err := f.Fallocate(c.mode, c.off, c.n)
			if !d.has(c.feature) {
				s.fails(unix.EOPNOTSUPP, err, "fallocate")
				require.True(t, bytes.Equal(data, []byte(s.get("f"))), "content left alone")
				return
			}
			s.ok(err, "fallocate")
			want := c.want(bytes.Clone(data))
			require.EqualValues(t, len(want), f.attr().Size)
			require.True(t, bytes.Equal(want, []byte(s.get("f"))), "content")
			// What lies past the end stays hidden when the file grows.
			s.ok(f.Truncate(int64(len(want))+3*b), "grow")
			require.True(t, bytes.Equal(resize(want, int64(len(want))+3*b), []byte(s.get("f"))), "content after growing")
		})
	}
	if d.has(ShiftRange) {
		s := newSys(t, d)
		s.put("f", string(pattern(4*b, 1)))
		f := s.file("f", unix.O_RDWR)
		defer f.close()
		for _, mode := range []uint32{collapse, insert} {
			s.fails(unix.EINVAL, f.Fallocate(mode, 1, b), "fallocate(%#x) unaligned", mode)
			s.fails(unix.EINVAL, f.Fallocate(mode, 0, b+1), "fallocate(%#x) unaligned", mode)
			s.fails(unix.EINVAL, f.Fallocate(mode, 4*b, b), "fallocate(%#x) at the end", mode)
		}
	}
}

func zeroed(p []byte, from, to int64) []byte {
	clear(p[from:min(to, int64(len(p)))])
	return p
}
