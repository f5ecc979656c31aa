package syscall_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

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
