package syscall_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Requests of ioctl(2) that x/sys lacks.
const (
	fionclex = 0x5450
	fioclex  = 0x5451
	fionbio  = 0x5421
	fioasync = 0x5452
	fionread = 0x541B
)

func TestIoctl(t *testing.T) {
	ioctl := func(req uint, arg int32) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Ioctl(fd, req, &arg) }
	}
	// left checks what FIONREAD says after a seek in a file of one byte.
	left := func(pos int64, want int32) func(c caller, fd int) error {
		return func(c caller, fd int) error {
			if _, err := c.Lseek(fd, pos, unix.SEEK_SET); err != nil {
				return err
			}
			arg := int32(99)
			if err := c.Ioctl(fd, fionread, &arg); err != nil {
				return err
			}
			if arg != want {
				return unix.ENOTRECOVERABLE
			}
			return nil
		}
	}
	flag := func(req uint, arg int32, cmd, want int) func(c caller, fd int) error {
		return func(c caller, fd int) error {
			if err := c.Ioctl(fd, req, &arg); err != nil {
				return err
			}
			n, err := c.Fcntl(fd, cmd, 0)
			if err == nil && n&^0x8000 != want {
				return unix.ENOTRECOVERABLE
			}
			return err
		}
	}
	runRows(t, []row{
		{"close on exec", with("f", unix.O_RDONLY, flag(fioclex, 0, unix.F_GETFD, unix.FD_CLOEXEC)), 0},
		{"no close on exec", with("f", unix.O_RDONLY|unix.O_CLOEXEC, flag(fionclex, 0, unix.F_GETFD, 0)), 0},
		{"nonblocking", with("f", unix.O_RDWR, flag(fionbio, 1, unix.F_GETFL, unix.O_RDWR|unix.O_NONBLOCK)), 0},
		{"blocking", with("f", unix.O_RDWR|unix.O_NONBLOCK, flag(fionbio, 0, unix.F_GETFL, unix.O_RDWR)), 0},
		{"bytes left", with("f", unix.O_RDONLY, left(0, 1)), 0},
		{"bytes left past the end", with("f", unix.O_RDONLY, left(5, -4)), 0},
		{"bytes left of directory", with("d", unix.O_RDONLY, ioctl(fionread, 0)), unix.ENOTTY},
		{"signals", with("f", unix.O_RDONLY, ioctl(fioasync, 1)), unix.ENOTTY},
		{"no signals", with("f", unix.O_RDONLY, ioctl(fioasync, 0)), 0},
		{"block size", with("d", unix.O_RDONLY, ioctl(2, 0)), 0},
		{"terminal", with("f", unix.O_RDONLY, ioctl(unix.TCGETS, 0)), unix.ENOTTY},
		{"terminal of directory", with("d", unix.O_RDONLY, ioctl(unix.TCGETS, 0)), unix.ENOTTY},
		{"path descriptor", with("f", unix.O_PATH, ioctl(fioclex, 0)), unix.EBADF},
		{"bad", func(c caller) error { return ioctl(fioclex, 0)(c, -1) }, unix.EBADF},
	})
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
	require.ErrorIs(t, task.Ioctl(fd, unix.FS_IOC_GETFLAGS, new(int32)), unix.ENOTTY)
	require.ErrorIs(t, task.Ioctl(fd, unix.FICLONE, nil), unix.EOPNOTSUPP)
	require.ErrorIs(t, task.Ioctl(fd, fionread, nil), unix.EFAULT)
}

func TestFcntlQueries(t *testing.T) {
	fcntl := func(cmd, arg, want int) func(c caller, fd int) error {
		return func(c caller, fd int) error {
			n, err := c.Fcntl(fd, cmd, arg)
			if err == nil && n != want {
				return unix.ENOTRECOVERABLE
			}
			return err
		}
	}
	same := func(want int, other func(c caller, fd int) (int, error)) func(c caller, fd int) error {
		return func(c caller, fd int) error {
			fd2, err := other(c, fd)
			if err != nil {
				return err
			}
			defer c.Close(fd2)
			return fcntl(unix.F_DUPFD_QUERY, fd2, want)(c, fd)
		}
	}
	dup := func(c caller, fd int) (int, error) { return c.Dup(fd) }
	reopen := func(c caller, fd int) (int, error) { return c.Openat(cwd, "f", unix.O_RDONLY, 0) }
	runRows(t, []row{
		{"same file", with("f", unix.O_RDONLY, same(1, dup)), 0},
		{"same path descriptor", with("f", unix.O_PATH, same(1, dup)), 0},
		{"opened twice", with("f", unix.O_RDONLY, same(0, reopen)), 0},
		{"bad", with("f", unix.O_RDONLY, fcntl(unix.F_DUPFD_QUERY, -1, 0)), unix.EBADF},
		{"created", with("new", unix.O_CREAT|unix.O_RDWR, fcntl(unix.F_CREATED_QUERY, 0, 1)), 0},
		{"not created", with("f", unix.O_CREAT|unix.O_RDWR, fcntl(unix.F_CREATED_QUERY, 0, 0)), 0},
		{"temporary file", with("d", unix.O_TMPFILE|unix.O_RDWR, fcntl(unix.F_CREATED_QUERY, 0, 0)), 0},
		{"created, path descriptor", with("f", unix.O_PATH, fcntl(unix.F_CREATED_QUERY, 0, 0)), 0},
		{"pipe size", with("f", unix.O_RDONLY, fcntl(unix.F_GETPIPE_SZ, 0, 0)), unix.EBADF},
		{"set pipe size", with("f", unix.O_RDONLY, fcntl(unix.F_SETPIPE_SZ, 4096, 0)), unix.EBADF},
		{"lease", with("f", unix.O_RDONLY, fcntl(unix.F_GETLEASE, 0, unix.F_UNLCK)), 0},
		{"owner", with("f", unix.O_RDONLY, fcntl(unix.F_GETOWN, 0, 0)), 0},
		{"signal", with("f", unix.O_RDONLY, fcntl(unix.F_GETSIG, 0, 0)), 0},
		{"lease, path descriptor", with("f", unix.O_PATH, fcntl(unix.F_GETLEASE, 0, 0)), unix.EBADF},
		{"unknown, path descriptor", with("f", unix.O_PATH, fcntl(9999, 0, 0)), unix.EBADF},
	})
}

func TestCloseRangeErrors(t *testing.T) {
	closeRange := func(first, last, flags uint) func(c caller) error {
		return func(c caller) error { return c.CloseRange(first, last, flags) }
	}
	runRows(t, []row{
		{"nothing open there", closeRange(1<<30, 1<<31, 0), 0},
		{"backwards", closeRange(1<<30+1, 1<<30, 0), unix.EINVAL},
		{"unknown flag", closeRange(1<<30, 1<<30, 1), unix.EINVAL},
		{"unshare nothing", closeRange(1<<30, ^uint(0), unix.CLOSE_RANGE_CLOEXEC), 0},
		{"close on exec", with("f", unix.O_RDONLY, func(c caller, fd int) error {
			if err := c.CloseRange(uint(fd), uint(fd), unix.CLOSE_RANGE_CLOEXEC); err != nil {
				return err
			}
			if n, err := c.Fcntl(fd, unix.F_GETFD, 0); err != nil || n != unix.FD_CLOEXEC {
				return unix.ENOTRECOVERABLE
			}
			return nil
		}), 0},
	})
}

func TestCloseRange(t *testing.T) {
	task := newTask(t)
	open := func() {
		t.Helper()
		tree(t, task, "f")
		for range 6 {
			mustOpen(t, task, "f", unix.O_RDONLY)
		}
		require.NoError(t, task.Unlink("f"))
	}
	open()
	require.NoError(t, task.CloseRange(1, 3, unix.CLOSE_RANGE_UNSHARE))
	for fd, want := range []error{nil, unix.EBADF, unix.EBADF, unix.EBADF, nil, nil} {
		_, err := task.Read(fd, nil)
		require.ErrorIs(t, err, want, "descriptor %d", fd)
	}
	open()
	_, err := task.Read(8, nil)
	require.NoError(t, err, "the free descriptors have been filled first")
	require.NoError(t, task.CloseRange(5, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC))
	task.Exec()
	_, err = task.Read(4, nil)
	require.NoError(t, err)
	_, err = task.Read(5, nil)
	require.ErrorIs(t, err, unix.EBADF)
	require.NoError(t, task.CloseRange(0, 1<<32-1, 0))
	require.Equal(t, 0, mustOpen(t, task, "g", unix.O_CREAT))
}
