package kernel_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/kernel"
	"cloister/internal/testenv"
)

// start starts a kernel and its first process.
func start(t *testing.T) *kernel.Task {
	t.Helper()
	testenv.NeedRoot(t)
	s := new(kernel.System)
	p, err := s.Start()
	require.NoError(t, err, "start")
	t.Cleanup(func() { require.NoError(t, s.Stop(), "stop") })
	t.Cleanup(p.Exit)
	return p
}

// fork forks a child that exits with the test.
func fork(t *testing.T, p *kernel.Task) *kernel.Task {
	t.Helper()
	c, err := p.Fork()
	require.NoError(t, err, "fork")
	t.Cleanup(c.Exit)
	return c
}

// TestProcesses holds that what a process changes about itself is not seen by others,
// and that its child begins with it.
func TestProcesses(t *testing.T) {
	p := start(t)
	require.NoError(t, p.Mkdirat(unix.AT_FDCWD, "/d", 0o777), "mkdir")
	fd, err := p.Openat(unix.AT_FDCWD, "/d/f", unix.O_CREAT|unix.O_RDWR, 0o666)
	require.NoError(t, err, "open")
	_, err = p.Write(fd, []byte("text"))
	require.NoError(t, err, "write")

	c := fork(t, p)
	buf := make([]byte, 10)
	n, err := c.Pread64(fd, buf, 0)
	require.NoError(t, err, "pread by the child")
	require.Equal(t, "text", string(buf[:n]))
	require.NoError(t, c.Close(fd), "close by the child")
	_, err = p.Pread64(fd, buf, 0)
	require.NoError(t, err, "pread by the parent")

	require.NoError(t, c.Chdir("/d"), "chdir")
	require.EqualValues(t, 0o022, c.Umask(0), "umask")
	require.NoError(t, c.Setgroups(nil), "setgroups")
	require.NoError(t, c.Setresgid(2000, 2000, 2000), "setresgid")
	require.NoError(t, c.Setresuid(1000, 1000, 1000), "setresuid")
	grandchild := fork(t, c)
	var st unix.Stat_t
	require.NoError(t, grandchild.Newfstatat(unix.AT_FDCWD, "f", &st, 0), "stat relative to the inherited directory")
	require.ErrorIs(t, grandchild.Mkdirat(unix.AT_FDCWD, "/new", 0o777), unix.EACCES, "mkdir with the inherited credentials")
	require.ErrorIs(t, p.Newfstatat(unix.AT_FDCWD, "f", &st, 0), unix.ENOENT, "the parent's directory")
	require.EqualValues(t, 0o022, p.Umask(0), "the parent's umask")
	require.NoError(t, p.Mkdirat(unix.AT_FDCWD, "/new", 0o777), "mkdir with the parent's credentials")
	require.Zero(t, os.Geteuid(), "the program's credentials")
}

// TestDo holds that a function runs as the process, in its namespace.
func TestDo(t *testing.T) {
	p := start(t)
	require.NoError(t, p.Mkdirat(unix.AT_FDCWD, "/m", 0o755), "mkdir")
	before, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NoError(t, p.Do(func() error { return unix.Mount("none", "/m", "tmpfs", 0, "") }), "mount")
	after, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.Equal(t, string(before), string(after), "the program's mounts")
	require.ErrorIs(t, p.Unlinkat(unix.AT_FDCWD, "/m", unix.AT_REMOVEDIR), unix.EBUSY, "rmdir of the mount point")
	require.NoError(t, p.Umount2("/m", 0), "umount")
}

// TestOnThread holds that what changes about the thread ends with it.
func TestOnThread(t *testing.T) {
	testenv.NeedRoot(t)
	var changed int
	for range 20 {
		require.ErrorIs(t, kernel.OnThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return unix.EBUSY // the first thread lives on
			}
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			changed = unix.Umask(0o777)
			return unix.EAGAIN
		}), unix.EAGAIN, "the error of the function")
		require.NotEqual(t, 0o777, changed, "the umask of a fresh thread")
	}
}
