package syscall_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
)

func mustOpen(t testing.TB, task *syscall.Task, path string, flags int) int {
	t.Helper()
	fd, err := task.Open(path, flags, 0o644)
	require.NoError(t, err, "open %s", path)
	return fd
}

func TestLowestDescriptor(t *testing.T) {
	task := newTask(t)
	tree(t, task, "f")
	for want := range 5 {
		require.Equal(t, want, mustOpen(t, task, "f", 0))
	}
	require.NoError(t, task.Close(3))
	require.NoError(t, task.Close(1))
	_, err := task.Open("missing", 0, 0)
	require.ErrorIs(t, err, unix.ENOENT, "a failed open takes no descriptor")
	fd, err := task.Dup(0)
	require.NoError(t, err)
	require.Equal(t, 1, fd, "dup")
	require.Equal(t, 3, mustOpen(t, task, "f", 0))
	fd, err = task.Fcntl(0, unix.F_DUPFD, 7)
	require.NoError(t, err)
	require.Equal(t, 7, fd, "F_DUPFD takes the next one from its argument on")
	require.Equal(t, 5, mustOpen(t, task, "f", 0), "and leaves those below alone")
	require.Equal(t, 6, mustOpen(t, task, "f", 0))
	require.Equal(t, 8, mustOpen(t, task, "f", 0))
}

func TestDescriptorLimit(t *testing.T) {
	task := newTask(t)
	tree(t, task, "f")
	var lim unix.Rlimit
	require.NoError(t, task.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	require.Equal(t, unix.Rlimit{Cur: 1024, Max: 1024}, lim)

	require.NoError(t, task.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 8}))
	for range 3 {
		mustOpen(t, task, "f", 0)
	}
	_, err := task.Open("missing", 0, 0)
	require.ErrorIs(t, err, unix.EMFILE, "open: the limit comes before the path")
	_, err = task.Open("", 0, 0)
	require.ErrorIs(t, err, unix.ENOENT, "open: the string comes before the limit")
	_, err = task.Dup(0)
	require.ErrorIs(t, err, unix.EMFILE, "dup")
	_, err = task.Dup2(0, 3)
	require.ErrorIs(t, err, unix.EBADF, "dup2 past the limit")
	_, err = task.Fcntl(0, unix.F_DUPFD, 3)
	require.ErrorIs(t, err, unix.EINVAL, "F_DUPFD past the limit")
	_, err = task.Fcntl(0, unix.F_DUPFD, 1)
	require.ErrorIs(t, err, unix.EMFILE, "F_DUPFD below the limit")

	require.ErrorIs(t, task.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 9, Max: 8}), unix.EINVAL)
	require.ErrorIs(t, task.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 9, Max: 1 << 21}), unix.EPERM)
	require.ErrorIs(t, task.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}), unix.EINVAL)
	require.NoError(t, task.Setresuid(1000, 1000, 1000))
	require.ErrorIs(t, task.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 9}), unix.EPERM)
	require.NoError(t, task.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4, Max: 4}))
	require.Equal(t, 3, mustOpen(t, task, "f", 0))
}

func TestDup(t *testing.T) {
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
	other := mustOpen(t, task, "g", unix.O_CREAT|unix.O_RDWR)

	same, err := task.Dup2(fd, fd)
	require.NoError(t, err)
	require.Equal(t, fd, same, "dup2 onto itself")
	_, err = task.Dup2(9, 9)
	require.ErrorIs(t, err, unix.EBADF, "dup2 of a closed descriptor onto itself")
	_, err = task.Dup3(fd, fd, 0)
	require.ErrorIs(t, err, unix.EINVAL, "dup3 onto itself")
	_, err = task.Dup3(9, 4, unix.O_APPEND)
	require.ErrorIs(t, err, unix.EINVAL, "dup3 with another flag")
	_, err = task.Dup2(9, fd)
	require.ErrorIs(t, err, unix.EBADF, "dup2 of a closed descriptor")
	_, err = task.Dup2(fd, -1)
	require.ErrorIs(t, err, unix.EBADF, "dup2 onto a negative one")

	_, err = task.Dup3(fd, other, unix.O_CLOEXEC)
	require.NoError(t, err)
	_, err = task.Write(fd, []byte("ab"))
	require.NoError(t, err)
	pos, err := task.Lseek(other, 0, unix.SEEK_CUR)
	require.NoError(t, err)
	require.EqualValues(t, 2, pos, "duplicates share the offset")
	flags, err := task.Fcntl(other, unix.F_GETFD, 0)
	require.NoError(t, err)
	require.Equal(t, unix.FD_CLOEXEC, flags)
	flags, err = task.Fcntl(fd, unix.F_GETFD, 0)
	require.NoError(t, err)
	require.Zero(t, flags, "but not close-on-exec")

	far, err := task.Dup2(fd, 700)
	require.NoError(t, err)
	require.Equal(t, 700, far)
	require.Equal(t, 2, mustOpen(t, task, "f", 0), "descriptors below stay free")
}

func TestFlags(t *testing.T) {
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_TRUNC|unix.O_RDWR|unix.O_APPEND|unix.O_CLOEXEC)
	flags, err := task.Fcntl(fd, unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Equal(t, unix.O_RDWR|unix.O_APPEND, flags, "creation flags are not kept")
	_, err = task.Fcntl(fd, unix.F_SETFL, unix.O_NONBLOCK|unix.O_WRONLY|unix.O_CREAT)
	require.NoError(t, err)
	flags, err = task.Fcntl(fd, unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Equal(t, unix.O_RDWR|unix.O_NONBLOCK, flags, "access mode and creation flags cannot be set")
	for _, cmd := range []int{unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK} {
		_, err = task.Fcntl(fd, cmd, 0)
		require.ErrorIs(t, err, unix.EFAULT, "a number is no struct flock")
	}
	require.NoError(t, task.Setresuid(-1, 1000, -1))
	fd = mustOpen(t, task, "f", unix.O_RDONLY)
	_, err = task.Fcntl(fd, unix.F_SETFL, unix.O_NOATIME)
	require.ErrorIs(t, err, unix.EPERM, "another's file")
}
