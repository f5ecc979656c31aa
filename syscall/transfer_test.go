package syscall_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// both opens two files.
func both(path1 string, flags1 int, path2 string, flags2 int, do func(c caller, fd1, fd2 int) error) func(c caller) error {
	return with(path1, flags1, func(c caller, fd1 int) error {
		return with(path2, flags2, func(c caller, fd2 int) error { return do(c, fd1, fd2) })(c)
	})
}

func ptr(n int64) *int64 { return &n }

func TestCopyFileRange(t *testing.T) {
	const rd, wr, rw, dir = unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_DIRECTORY
	copyRange := func(inOff, outOff *int64, n, flags int) func(c caller, in, out int) error {
		return func(c caller, in, out int) error {
			_, err := c.CopyFileRange(in, inOff, out, outOff, n, flags)
			return err
		}
	}
	all := copyRange(nil, nil, 10, 0)
	itself := func(inOff, outOff int64, n int) func(c caller) error {
		return with("f", rw, func(c caller, fd int) error {
			_, err := c.CopyFileRange(fd, &inOff, fd, &outOff, n, 0)
			return err
		})
	}
	runRows(t, []row{
		{"files", both("f", rd, "g", wr, all), 0},
		{"flags", both("f", rd, "g", wr, copyRange(nil, nil, 10, 1)), unix.EINVAL},
		{"flags, bad descriptor", func(c caller) error { return copyRange(nil, nil, 10, 1)(c, -1, -1) }, unix.EBADF},
		{"flags, directory", both("d", dir, "g", wr, copyRange(nil, nil, 10, 1)), unix.EINVAL},
		{"bad in", with("f", wr, func(c caller, fd int) error { return all(c, -1, fd) }), unix.EBADF},
		{"bad out", with("f", rd, func(c caller, fd int) error { return all(c, fd, -1) }), unix.EBADF},
		{"path descriptor", both("f", unix.O_PATH, "g", wr, all), unix.EBADF},
		{"in for writing", both("f", wr, "g", wr, all), unix.EBADF},
		{"out for reading", both("f", rd, "g", rd, all), unix.EBADF},
		{"out appends", both("f", rd, "g", wr|unix.O_APPEND, all), unix.EBADF},
		{"from directory", both("d", dir, "g", wr, all), unix.EISDIR},
		{"to directory", both("f", wr, "d", dir, all), unix.EISDIR},
		{"negative offset that wraps", both("f", rd, "g", wr, copyRange(ptr(-1), nil, 10, 0)), unix.EOVERFLOW},
		{"negative offset, no length", both("f", rd, "g", wr, copyRange(ptr(-1), nil, 0, 0)), unix.EINVAL},
		{"negative out offset", both("f", rd, "g", wr, copyRange(nil, ptr(-5), 1, 0)), unix.EINVAL},
		{"offset and length too large", both("f", rd, "g", wr, copyRange(ptr(math.MaxInt64-3), nil, 10, 0)), 0},
		{"out offset too large", both("f", rd, "g", wr, copyRange(nil, ptr(math.MaxInt64), 10, 0)), unix.EFBIG},
		{"past the end", both("f", rd, "g", wr, copyRange(ptr(100), nil, 10, 0)), 0},
		{"nothing", both("f", rd, "g", wr, copyRange(nil, nil, 0, 0)), 0},
		{"overlap", itself(0, 0, 1), unix.EINVAL},
		{"overlap past the end only", itself(0, 1, 5), 0},
		{"nothing onto itself", itself(0, 0, 0), 0},
		{"between mounts", after(mount("d", 0), both("f", rd, "d/x", wr|unix.O_CREAT, all)), unix.EXDEV},
		{"between mounts, for reading", after(mount("d", 0), both("f", rd, "d/x", unix.O_CREAT, all)), unix.EBADF},
	})
}

func TestSendfile(t *testing.T) {
	const rd, wr, dir = unix.O_RDONLY, unix.O_WRONLY, unix.O_RDONLY | unix.O_DIRECTORY
	send := func(off *int64, n int) func(c caller, in, out int) error {
		return func(c caller, in, out int) error { _, err := c.Sendfile(out, in, off, n); return err }
	}
	runRows(t, []row{
		{"files", both("f", rd, "g", wr, send(nil, 10)), 0},
		{"onto itself", both("f", rd, "f", wr, send(nil, 10)), 0},
		{"bad in", with("g", wr, func(c caller, fd int) error { return send(nil, 1)(c, -1, fd) }), unix.EBADF},
		{"bad out", with("f", rd, func(c caller, fd int) error { return send(nil, 1)(c, fd, -1) }), unix.EBADF},
		{"negative offset, bad out", with("f", rd, func(c caller, fd int) error { return send(ptr(-1), 1)(c, fd, -1) }), unix.EINVAL},
		{"in for writing", both("f", wr, "g", wr, send(nil, 1)), unix.EBADF},
		{"out for reading", both("f", rd, "g", rd, send(nil, 1)), unix.EBADF},
		{"out appends", both("f", rd, "g", wr|unix.O_APPEND, send(nil, 1)), unix.EINVAL},
		{"out appends, nothing", both("f", rd, "g", wr|unix.O_APPEND, send(nil, 0)), unix.EINVAL},
		{"from directory", both("d", dir, "g", wr, send(nil, 1)), unix.EINVAL},
		{"from directory, nothing", both("d", dir, "g", wr, send(nil, 0)), 0},
		{"path descriptor", both("f", unix.O_PATH, "g", wr, send(nil, 1)), unix.EBADF},
		{"negative offset", both("f", rd, "g", wr, send(ptr(-1), 1)), unix.EINVAL},
		{"offset too large", both("f", rd, "g", wr, send(ptr(math.MaxInt64), 1)), unix.EINVAL},
		{"past the end", both("f", rd, "g", wr, send(ptr(100), 10)), 0},
		{"between mounts", after(mount("d", 0), both("f", rd, "d/x", wr|unix.O_CREAT, send(nil, 1))), 0},
		{"negative length", both("f", rd, "g", wr, send(nil, -1)), unix.EINVAL},
	})
}

// TestCopyOffsets: offsets advance where they are given, file offsets otherwise.
func TestCopyOffsets(t *testing.T) {
	runRows(t, []row{
		{"copy_file_range", both("f", unix.O_RDWR, "g", unix.O_RDWR, func(c caller, f, g int) error {
			return offsets(c, f, g, func(off *int64, n int) (int, error) { return c.CopyFileRange(f, off, g, nil, n, 0) })
		}), 0},
		{"sendfile", both("f", unix.O_RDWR, "g", unix.O_RDWR, func(c caller, f, g int) error {
			return offsets(c, f, g, func(off *int64, n int) (int, error) { return c.Sendfile(g, f, off, n) })
		}), 0},
	})
}

func offsets(c caller, f, g int, copy func(off *int64, n int) (int, error)) error {
	if _, err := c.Pwrite64(f, []byte("0123456789"), 0); err != nil {
		return err
	}
	off := int64(7)
	got, err := copy(&off, 100)
	if err != nil || got != 3 || off != 10 {
		return unix.ENOTRECOVERABLE
	}
	if got, err = copy(nil, 4); err != nil || got != 4 {
		return unix.ENOTRECOVERABLE
	}
	if pos, err := c.Lseek(f, 0, unix.SEEK_CUR); err != nil || pos != 4 {
		return unix.ENOTRECOVERABLE
	}
	if pos, err := c.Lseek(g, 0, unix.SEEK_CUR); err != nil || pos != 7 {
		return unix.ENOTRECOVERABLE
	}
	buf := make([]byte, 20)
	if n, err := c.Pread64(g, buf, 0); err != nil || string(buf[:n]) != "7890123" {
		return unix.ENOTRECOVERABLE
	}
	return nil
}

// TestCopyLarge copies more than goes through memory in one step.
func TestCopyLarge(t *testing.T) {
	task := newTask(t)
	data := make([]byte, 1<<20+17)
	for i := range data {
		data[i] = byte(i % 251)
	}
	src, dst := mustOpen(t, task, "src", unix.O_CREAT|unix.O_RDWR), mustOpen(t, task, "dst", unix.O_CREAT|unix.O_RDWR)
	_, err := task.Pwrite64(src, data, 0)
	require.NoError(t, err)
	n, err := task.CopyFileRange(src, nil, dst, nil, 1<<30, 0)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	got := make([]byte, len(data)+1)
	n, err = task.Pread64(dst, got, 0)
	require.NoError(t, err)
	require.True(t, string(got[:n]) == string(data), "copied data")

	// The ranges of one file may touch.
	n, err = task.CopyFileRange(dst, ptr(0), dst, ptr(int64(len(data))), len(data), 0)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	n, err = task.Pread64(dst, got, int64(len(data)))
	require.NoError(t, err)
	require.True(t, string(got[:n]) == string(data), "copied data")
}

func TestVectorFlags(t *testing.T) {
	const rw = unix.O_RDWR
	one := [][]byte{[]byte("x")}
	read := func(off int64, flags int) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Preadv2(fd, one, off, flags); return err }
	}
	write := func(off int64, flags int) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Pwritev2(fd, one, off, flags); return err }
	}
	runRows(t, []row{
		{"read", with("f", rw, read(0, 0)), 0},
		{"read at file offset", with("f", rw, read(-1, 0)), 0},
		{"read below", with("f", rw, read(-2, 0)), unix.EINVAL},
		{"read below, bad descriptor", func(c caller) error { return read(-2, 0)(c, -1) }, unix.EINVAL},
		{"read, unknown flag", with("f", rw, read(0, 1<<20)), unix.EOPNOTSUPP},
		{"read, unknown flag, wrong direction", with("f", unix.O_WRONLY, read(0, 1<<20)), unix.EBADF},
		{"read, appending", with("f", rw, read(0, unix.RWF_APPEND)), 0},
		{"read, both", with("f", rw, read(0, unix.RWF_APPEND|unix.RWF_NOAPPEND)), unix.EINVAL},
		{"read, sync", with("f", rw, read(0, unix.RWF_SYNC|unix.RWF_DSYNC|unix.RWF_HIPRI)), 0},
		{"read directory", with("d", unix.O_RDONLY, read(0, 0)), unix.EISDIR},
		{"read directory, appending", with("d", unix.O_RDONLY, read(0, unix.RWF_APPEND)), unix.EOPNOTSUPP},
		{"write", with("f", rw, write(0, 0)), 0},
		{"write, unknown flag", with("f", rw, write(0, 1<<20)), unix.EOPNOTSUPP},
		{"write, atomic", with("f", rw, write(0, unix.RWF_ATOMIC)), unix.EOPNOTSUPP},
		{"write, not cached", with("f", rw, write(0, unix.RWF_DONTCACHE)), unix.EOPNOTSUPP},
		{"write, both", with("f", rw, write(0, unix.RWF_APPEND|unix.RWF_NOAPPEND)), unix.EINVAL},
		{"write, sync", with("f", rw, write(0, unix.RWF_SYNC|unix.RWF_DSYNC|unix.RWF_HIPRI)), 0},
		{"write nothing, unknown flag", with("f", rw, func(c caller, fd int) error {
			_, err := c.Pwritev2(fd, [][]byte{{}}, 0, 1<<20)
			return err
		}), 0},
		{"append", with("f", rw, appends(0, unix.RWF_APPEND, "fx", 0)), 0},
		{"append at file offset", with("f", rw, appends(-1, unix.RWF_APPEND, "fx", 2)), 0},
		{"do not append", with("f", rw|unix.O_APPEND, appends(0, unix.RWF_NOAPPEND, "x", 0)), 0},
		{"do not append at file offset", with("f", rw|unix.O_APPEND, appends(-1, unix.RWF_NOAPPEND, "x", 1)), 0},
		{"O_APPEND", with("f", rw|unix.O_APPEND, appends(0, 0, "fx", 0)), 0},
	})
}

// appends writes an x to the file that holds an f and checks content and file offset.
func appends(off int64, flags int, want string, wantPos int64) func(c caller, fd int) error {
	return func(c caller, fd int) error {
		if _, err := c.Pwritev2(fd, [][]byte{[]byte("x")}, off, flags); err != nil {
			return err
		}
		buf := make([]byte, 9)
		n, err := c.Pread64(fd, buf, 0)
		pos, err2 := c.Lseek(fd, 0, unix.SEEK_CUR)
		if err != nil || err2 != nil || string(buf[:n]) != want || pos != wantPos {
			return unix.ENOTRECOVERABLE
		}
		return nil
	}
}

func TestAdvice(t *testing.T) {
	const rd = unix.O_RDONLY
	advise := func(off, n int64, advice int) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Fadvise64(fd, off, n, advice) }
	}
	ahead := func(off int64, n int) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Readahead(fd, off, n) }
	}
	syncRange := func(off, n int64, flags int) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.SyncFileRange(fd, off, n, flags) }
	}
	runRows(t, []row{
		{"advise", with("f", rd, advise(0, 0, unix.FADV_DONTNEED)), 0},
		{"advise negative offset", with("f", rd, advise(-5, 1, unix.FADV_WILLNEED)), 0},
		{"advise negative length", with("f", rd, advise(0, -1, unix.FADV_NORMAL)), unix.EINVAL},
		{"advise unknown", with("f", rd, advise(0, 1, 6)), unix.EINVAL},
		{"advise directory", with("d", rd, advise(0, 1, unix.FADV_RANDOM)), 0},
		{"advise path descriptor", with("f", unix.O_PATH, advise(0, 1, 0)), unix.EBADF},
		{"advise bad, unknown", func(c caller) error { return advise(0, 1, 9)(c, -1) }, unix.EBADF},
		{"readahead", with("f", rd, ahead(0, 100)), 0},
		{"readahead for writing", with("f", unix.O_WRONLY, ahead(0, 100)), unix.EBADF},
		{"readahead directory", with("d", rd, ahead(0, 100)), unix.EINVAL},
		{"readahead negative", with("f", rd, ahead(0, -1)), unix.EINVAL},
		{"readahead path descriptor", with("f", unix.O_PATH, ahead(0, 1)), unix.EBADF},
		{"sync", with("f", rd, syncRange(0, 0, unix.SYNC_FILE_RANGE_WRITE_AND_WAIT)), 0},
		{"sync unknown flag", with("f", rd, syncRange(0, 0, 8)), unix.EINVAL},
		{"sync unknown flag, bad", func(c caller) error { return syncRange(0, 0, 8)(c, -1) }, unix.EBADF},
		{"sync negative offset", with("f", rd, syncRange(-1, 2, 0)), unix.EINVAL},
		{"sync negative length", with("f", rd, syncRange(2, -1, 0)), unix.EINVAL},
		{"sync too far", with("f", rd, syncRange(math.MaxInt64, 1, 0)), unix.EINVAL},
		{"sync directory", with("d", rd, syncRange(0, 1, 0)), 0},
		{"sync path descriptor", with("f", unix.O_PATH, syncRange(0, 1, 0)), unix.EBADF},
	})
}
