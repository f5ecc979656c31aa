package syscall_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

func TestVectors(t *testing.T) {
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
	n, err := task.Writev(fd, [][]byte{[]byte("ab"), nil, []byte("cde")})
	require.NoError(t, err)
	require.Equal(t, 5, n)
	n, err = task.Pwritev(fd, [][]byte{[]byte("X"), []byte("Y")}, 3)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	a, b, c := make([]byte, 2), make([]byte, 2), make([]byte, 9)
	n, err = task.Preadv(fd, [][]byte{a, b, c}, 1)
	require.NoError(t, err)
	require.Equal(t, "4 bc XY", fmt.Sprintf("%d %s %s", n, a, b))
	_, err = task.Lseek(fd, 0, unix.SEEK_SET)
	require.NoError(t, err)
	n, err = task.Readv(fd, [][]byte{a, c})
	require.NoError(t, err)
	require.Equal(t, "5 ab cXY", fmt.Sprintf("%d %s %s", n, a, c[:3]))
	_, err = task.Preadv(fd, nil, -1)
	require.ErrorIs(t, err, unix.EINVAL)

	// More than is moved in one step.
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	n, err = task.Pwritev(fd, [][]byte{big, big, big}, 0)
	require.NoError(t, err)
	require.Equal(t, 3*len(big), n)
	got := make([]byte, 3*len(big))
	n, err = task.Preadv(fd, [][]byte{got[:7], got[7 : len(got)-9], got[len(got)-9:]}, 0)
	require.NoError(t, err)
	require.Equal(t, len(got), n)
	require.True(t, bytes.Equal(bytes.Repeat(big, 3), got))
}

// TestAppendVectors: what one writev appends stays together.
func TestAppendVectors(t *testing.T) {
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR|unix.O_APPEND)
	var wg sync.WaitGroup
	for _, word := range []string{"aaaa", "bbbb", "cccc"} {
		wg.Go(func() {
			for range 100 {
				_, err := task.Writev(fd, [][]byte{[]byte(word[:1]), []byte(word[1:])})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	buf := make([]byte, 2000)
	n, err := task.Pread64(fd, buf, 0)
	require.NoError(t, err)
	require.Equal(t, 1200, n)
	for word := range slices.Chunk(buf[:n], 4) {
		require.Contains(t, []string{"aaaa", "bbbb", "cccc"}, string(word))
	}
}

func TestGetdents(t *testing.T) {
	task := newTask(t)
	want := []string{".", ".."}
	for i := range 100 {
		name := strings.Repeat("x", i%40) + fmt.Sprint(i)
		tree(t, task, name)
		want = append(want, name)
	}
	slices.Sort(want)
	fd := mustOpen(t, task, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	for _, size := range []int{64, 72, 300, 1 << 16} {
		_, err := task.Lseek(fd, 0, unix.SEEK_SET)
		require.NoError(t, err)
		got, err := readDir(task, fd, size)
		require.NoError(t, err)
		slices.Sort(got)
		require.Equal(t, want, got, "buffer of %d bytes", size)
	}
	buf := make([]byte, 4096)
	_, err := task.Lseek(fd, 0, unix.SEEK_SET)
	require.NoError(t, err)
	n, err := task.Getdents64(fd, buf)
	require.NoError(t, err)
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	require.NotEmpty(t, names, "records are what the C library decodes")
}

func TestStatFields(t *testing.T) {
	task := newTask(t)
	tree(t, task, "d/", "f", "m/")
	require.NoError(t, task.Mount("none", "/m", "ramfs", 0, ""))
	require.NoError(t, task.Chown("f", 3, 4))
	times := &[2]unix.Timespec{{Sec: 5, Nsec: 6}, {Sec: 7, Nsec: 8}}
	require.NoError(t, task.Utimensat(unix.AT_FDCWD, "f", times, 0))
	require.NoError(t, task.Link("f", "g"))
	var f, g, d, m unix.Stat_t
	require.NoError(t, task.Stat("f", &f))
	require.NoError(t, task.Lstat("g", &g))
	require.NoError(t, task.Stat("d", &d))
	require.NoError(t, task.Stat("m", &m))
	require.EqualValues(t, 3, f.Uid)
	require.EqualValues(t, 4, f.Gid)
	require.EqualValues(t, 2, f.Nlink)
	require.EqualValues(t, 1, f.Size)
	require.EqualValues(t, unix.S_IFREG|0o644, f.Mode)
	require.Equal(t, times[0], f.Atim)
	require.Equal(t, times[1], f.Mtim)
	require.NotZero(t, f.Ctim.Sec)
	require.Equal(t, f.Ino, g.Ino)
	require.NotEqual(t, f.Ino, d.Ino)
	require.Equal(t, f.Dev, d.Dev)
	require.NotEqual(t, d.Dev, m.Dev, "each mounted file system has its own device number")
	require.NotZero(t, f.Blksize)
}

func TestStatfs(t *testing.T) {
	task := newTask(t)
	tree(t, task, "m/")
	require.NoError(t, task.Mount("none", "/m", "ramfs", unix.MS_RDONLY|unix.MS_NODEV, ""))
	var byPath, byFd unix.Statfs_t
	require.NoError(t, task.Statfs("/m", &byPath))
	require.EqualValues(t, unix.ST_RDONLY|unix.ST_NODEV, byPath.Flags&(unix.ST_RDONLY|unix.ST_NODEV|unix.ST_NOSUID))
	fd := mustOpen(t, task, "/m", unix.O_PATH)
	require.NoError(t, task.Fstatfs(fd, &byFd))
	require.Equal(t, byPath, byFd)
	require.ErrorIs(t, task.Statfs("", &byPath), unix.ENOENT)
	require.ErrorIs(t, task.Syncfs(fd), unix.EBADF, "O_PATH")
	require.NoError(t, task.Syncfs(mustOpen(t, task, "/m", 0)))
	require.NoError(t, task.Sync())
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
		require.ErrorIs(t, err, unix.ENOLCK)
	}
	require.NoError(t, task.Setresuid(-1, 1000, -1))
	fd = mustOpen(t, task, "f", unix.O_RDONLY)
	_, err = task.Fcntl(fd, unix.F_SETFL, unix.O_NOATIME)
	require.ErrorIs(t, err, unix.EPERM, "another's file")
}

func TestNulInPath(t *testing.T) {
	task := newTask(t)
	require.ErrorIs(t, task.Mkdir("a\x00b", 0o755), unix.EINVAL)
	require.ErrorIs(t, task.Symlink("a\x00b", "l"), unix.EINVAL)
	require.ErrorIs(t, task.Stat("a\x00b", new(unix.Stat_t)), unix.EINVAL)
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

func TestStatAllocates(t *testing.T) {
	task := newTask(t)
	path := deepPath(t, task, 8)
	var st unix.Stat_t
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := task.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
	}), "allocations of a warm stat")
	fd := mustOpen(t, task, path, unix.O_RDWR)
	buf := make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, err := task.Pwrite64(fd, buf, 0)
		_, err2 := task.Pread64(fd, buf, 0)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	}), "allocations of a read and a write")
}

// deepPath makes a file below depth directories.
func deepPath(t testing.TB, c caller, depth int) string {
	path := ""
	for range depth {
		path += "/d"
		tree(t, c, path+"/")
	}
	tree(t, c, path+"/f")
	return path + "/f"
}

func BenchmarkStat(b *testing.B) {
	for _, depth := range []int{0, 3, 7} {
		b.Run(fmt.Sprintf("depth=%d", depth+1), func(b *testing.B) {
			task := newTask(b)
			path := deepPath(b, task, depth)
			var st unix.Stat_t
			b.ReportAllocs()
			for b.Loop() {
				if err := task.Stat(path, &st); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPread(b *testing.B) {
	task := newTask(b)
	fd := mustOpen(b, task, "f", unix.O_CREAT|unix.O_RDWR)
	buf := make([]byte, 4096)
	if _, err := task.Write(fd, buf); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := task.Pread64(fd, buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	task := newTask(b)
	path := deepPath(b, task, 3)
	b.ReportAllocs()
	for b.Loop() {
		fd, err := task.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := task.Close(fd); err != nil {
			b.Fatal(err)
		}
	}
}
