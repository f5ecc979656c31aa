package syscall_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
)

func TestForkExecExit(t *testing.T) {
	parent := newTask(t)
	tree(t, parent, "d/")
	fd := mustOpen(t, parent, "f", unix.O_CREAT|unix.O_RDWR)
	gone := mustOpen(t, parent, "f", unix.O_RDONLY|unix.O_CLOEXEC)
	parent.Umask(0o27)
	require.NoError(t, parent.Chdir("d"))

	child := parent.Fork()
	_, err := child.Write(fd, []byte("abc"))
	require.NoError(t, err)
	pos, err := parent.Lseek(fd, 0, unix.SEEK_CUR)
	require.NoError(t, err)
	require.EqualValues(t, 3, pos, "the open file description is shared")
	require.EqualValues(t, 0o27, child.Umask(0), "the umask is copied")
	require.EqualValues(t, 0o27, parent.Umask(0o22), "and then its own")
	require.NoError(t, child.Chdir("/"))
	require.Equal(t, "/d", getcwd(t, parent), "so is the working directory")
	require.NoError(t, child.Setresuid(1, 1, 1))
	require.Zero(t, parent.Getuid(), "and the credentials")

	child.Exec()
	require.ErrorIs(t, child.Close(gone), unix.EBADF, "closed by execve")
	_, err = child.Read(fd, nil)
	require.NoError(t, err, "not closed by execve")
	require.NoError(t, parent.Close(gone), "not closed in the parent")

	child.Exit()
	child.Exit()
	_, err = child.Read(fd, nil)
	require.ErrorIs(t, err, unix.EBADF)
	require.ErrorIs(t, child.Mkdir("/x", 0o755), unix.ESRCH)
	_, err = child.Open("/f", 0, 0)
	require.ErrorIs(t, err, unix.ESRCH)
	require.ErrorIs(t, child.Chdir("/"), unix.ESRCH)
	require.ErrorIs(t, child.Fork().Stat("/", new(unix.Stat_t)), unix.ESRCH)
	_, err = parent.Write(fd, []byte("d"))
	require.NoError(t, err, "the parent's descriptor lives on")
}

func getcwd(t testing.TB, task *syscall.Task) string {
	t.Helper()
	buf := make([]byte, unix.PathMax)
	n, err := task.Getcwd(buf)
	require.NoError(t, err, "getcwd")
	return strings.TrimSuffix(string(buf[:n]), "\x00")
}

// TestBusy: what a process holds keeps a mount busy until it lets go.
func TestBusy(t *testing.T) {
	task := newTask(t)
	tree(t, task, "m/")
	require.NoError(t, task.Mount("none", "/m", "ramfs", 0, ""))
	child := task.Fork()
	require.NoError(t, child.Chdir("/m"))
	require.ErrorIs(t, task.Umount("/m"), unix.EBUSY, "working directory of another process")
	require.NoError(t, child.Chdir("/"))
	fd := mustOpen(t, child, "/m/f", unix.O_CREAT|unix.O_RDWR)
	grandchild := child.Fork()
	require.NoError(t, child.Close(fd))
	require.ErrorIs(t, task.Umount("/m"), unix.EBUSY, "descriptor of another process")
	grandchild.Exit()
	require.NoError(t, task.Umount("/m"))
	child.Exit()
}

func TestUmask(t *testing.T) {
	task := newTask(t)
	task.Umask(0o7077)
	require.EqualValues(t, 0o77, task.Umask(0o27), "only permission bits count")
	require.NoError(t, task.Mkdir("d", 0o777))
	require.NoError(t, task.Close(mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)))
	require.NoError(t, task.Mknod("p", unix.S_IFIFO|0o666, 0))
	for path, want := range map[string]uint32{"d": 0o750, "f": 0o640, "p": 0o640} {
		var st unix.Stat_t
		require.NoError(t, task.Stat(path, &st))
		require.Equal(t, want, st.Mode&0o7777, path)
	}
}

func TestCredentials(t *testing.T) {
	task := newTask(t)
	require.ErrorIs(t, task.Setuid(-1), unix.EINVAL)
	require.NoError(t, task.Setgroups([]int{5, 6}))
	require.Equal(t, []int{5, 6}, task.Getgroups())
	require.ErrorIs(t, task.Setgroups([]int{-1}), unix.EINVAL)
	require.ErrorIs(t, task.Setgroups(make([]int, 65537)), unix.EINVAL)
	require.NoError(t, task.Setresgid(10, 11, 12))
	require.NoError(t, task.Setresuid(1, 2, 3))
	require.Equal(t, [4]int{1, 2, 10, 11}, [4]int{task.Getuid(), task.Geteuid(), task.Getgid(), task.Getegid()})
	require.ErrorIs(t, task.Setgroups(nil), unix.EPERM)
	require.ErrorIs(t, task.Setresuid(-1, 0, -1), unix.EPERM)
	require.ErrorIs(t, task.Setresuid(3, 4, 1), unix.EPERM, "one id that is not theirs")
	r, e, s := task.Getresuid()
	require.Equal(t, [3]int{1, 2, 3}, [3]int{r, e, s}, "and nothing is changed")
	require.ErrorIs(t, task.Setuid(2), unix.EPERM, "setuid takes the real or saved id")
	require.NoError(t, task.Setuid(3))
	require.Equal(t, 3, task.Geteuid())
	require.NoError(t, task.Setgid(12))
	require.ErrorIs(t, task.Setgid(13), unix.EPERM)
	r, e, s = task.Getresgid()
	require.Equal(t, [3]int{10, 12, 12}, [3]int{r, e, s})

	root := newTask(t)
	require.NoError(t, root.Setuid(7))
	r, e, s = root.Getresuid()
	require.Equal(t, [3]int{7, 7, 7}, [3]int{r, e, s}, "root gives all three away")
}

func TestNulInPath(t *testing.T) {
	task := newTask(t)
	require.ErrorIs(t, task.Mkdir("a\x00b", 0o755), unix.EINVAL)
	require.ErrorIs(t, task.Symlink("a\x00b", "l"), unix.EINVAL)
	require.ErrorIs(t, task.Stat("a\x00b", new(unix.Stat_t)), unix.EINVAL)
	require.ErrorIs(t, task.Setxattr("/", "user.a\x00b", nil, 0), unix.EINVAL)
}

// TestThreads makes calls of one process concurrently; the race detector
// watches.
func TestThreads(t *testing.T) {
	task := newTask(t)
	tree(t, task, "a/", "b/")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("f%d", i)
			for range 200 {
				fd, err := task.Open("/"+name, unix.O_CREAT|unix.O_RDWR, 0o600)
				if err != nil {
					t.Error(err)
					return
				}
				_, werr := task.Write(fd, []byte(name))
				cerr := task.Chdir([]string{"/a", "/b", "/"}[i%3])
				serr := task.Stat(".", new(unix.Stat_t))
				task.Umask(0o22)
				dup, derr := task.Dup(fd)
				child := task.Fork()
				child.Exit()
				err = errors.Join(werr, cerr, serr, derr, task.Close(fd), task.Close(dup))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 0, mustOpen(t, task, "/f0", 0), "all descriptors are free again")
}
