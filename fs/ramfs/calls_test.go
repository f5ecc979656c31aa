package ramfs_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/syscall"
	"cloister/vfs"
)

// calls are the system calls that the scripts of testdata/limits.txt make. Paths are
// relative to the root of the file system under test.
type calls interface {
	Openat(dirfd int, path string, flags int, mode uint32) (int, error)
	Close(fd int) error
	Pwrite64(fd int, p []byte, off int64) (int, error)
	Pread64(fd int, p []byte, off int64) (int, error)
	Ftruncate(fd int, size int64) error
	Fallocate(fd int, mode uint32, off, n int64) error
	Fsetxattr(fd int, name string, value []byte, flags int) error
	Fremovexattr(fd int, name string) error
	Mkdirat(dirfd int, path string, mode uint32) error
	Mknodat(dirfd int, path string, mode uint32, dev uint64) error
	Symlinkat(target string, dirfd int, path string) error
	Linkat(olddirfd int, oldpath string, newdirfd int, newpath string, flags int) error
	Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint32) error
	Unlinkat(dirfd int, path string, flags int) error
	Fstatfs(fd int, st *unix.Statfs_t) error
	Fstat(fd int, st *unix.Stat_t) error
}

// kernelCalls are those of the kernel.
type kernelCalls struct{}

func (kernelCalls) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	return unix.Openat(dirfd, path, flags|unix.O_CLOEXEC, mode)
}
func (kernelCalls) Close(fd int) error                                { return unix.Close(fd) }
func (kernelCalls) Pwrite64(fd int, p []byte, off int64) (int, error) { return unix.Pwrite(fd, p, off) }
func (kernelCalls) Pread64(fd int, p []byte, off int64) (int, error)  { return unix.Pread(fd, p, off) }
func (kernelCalls) Ftruncate(fd int, size int64) error                { return unix.Ftruncate(fd, size) }
func (kernelCalls) Fallocate(fd int, mode uint32, off, n int64) error {
	return unix.Fallocate(fd, mode, off, n)
}
func (kernelCalls) Fsetxattr(fd int, name string, value []byte, flags int) error {
	return unix.Fsetxattr(fd, name, value, flags)
}
func (kernelCalls) Fremovexattr(fd int, name string) error { return unix.Fremovexattr(fd, name) }
func (kernelCalls) Mkdirat(dirfd int, path string, mode uint32) error {
	return unix.Mkdirat(dirfd, path, mode)
}
func (kernelCalls) Mknodat(dirfd int, path string, mode uint32, dev uint64) error {
	return unix.Mknodat(dirfd, path, mode, int(dev))
}
func (kernelCalls) Symlinkat(target string, dirfd int, path string) error {
	return unix.Symlinkat(target, dirfd, path)
}
func (kernelCalls) Linkat(olddirfd int, oldpath string, newdirfd int, newpath string, flags int) error {
	return unix.Linkat(olddirfd, oldpath, newdirfd, newpath, flags)
}
func (kernelCalls) Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint32) error {
	return unix.Renameat2(olddirfd, oldpath, newdirfd, newpath, uint(flags))
}
func (kernelCalls) Unlinkat(dirfd int, path string, flags int) error {
	return unix.Unlinkat(dirfd, path, flags)
}
func (kernelCalls) Fstatfs(fd int, st *unix.Statfs_t) error { return unix.Fstatfs(fd, st) }
func (kernelCalls) Fstat(fd int, st *unix.Stat_t) error     { return unix.Fstat(fd, st) }

// newTask returns a task for which ramfs is mounted on /m with options.
func newTask(t *testing.T, options string) (*syscall.Task, error) {
	t.Helper()
	ns, err := vfs.New(vfs.Config{Root: ramfs.New(ramfs.Config{}), Types: []vfs.FileSystemType{ramfs.Type{}}})
	require.NoError(t, err)
	task := syscall.NewTask(ns, vfs.RootCred())
	t.Cleanup(func() {
		task.Exit()
		require.NoError(t, ns.Close(t.Context()))
	})
	require.NoError(t, task.Mkdir("/m", 0o755))
	return task, task.Mount("none", "/m", "ramfs", 0, options)
}

// run makes the calls of a script below the directory root and returns it with the results filled in:
// what the call returns, then the free pages and the free inodes.
func run(t *testing.T, c calls, root string, script []string) (out []string) {
	t.Helper()
	dir, err := c.Openat(unix.AT_FDCWD, root, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	r := runner{c: c, dir: dir, open: map[string]int{}}
	defer func() {
		for _, fd := range r.open {
			require.NoError(t, c.Close(fd))
		}
		require.NoError(t, c.Close(dir))
	}()
	for _, line := range script {
		call, _, _ := strings.Cut(line, "=")
		call = strings.TrimRight(call, " ")
		n, err := r.call(t, strings.Fields(call))
		result := strconv.Itoa(n)
		if err != nil {
			result = unix.ErrnoName(vfs.Errno(err))
		}
		var st unix.Statfs_t
		require.NoError(t, c.Fstatfs(dir, &st))
		require.Equal(t, st.Bfree, st.Bavail)
		out = append(out, fmt.Sprintf("%-28s = %s | %d/%d %d/%d", call, result, st.Bfree, st.Blocks, st.Ffree, st.Files))
	}
	return out
}

type runner struct {
	c    calls
	dir  int
	open map[string]int // files that stay open
}

// call makes one call. A name in upper case is a file that stays open.
func (r *runner) call(t *testing.T, words []string) (int, error) {
	number := func(i int) int64 {
		n, err := strconv.ParseInt(words[i], 0, 64)
		require.NoError(t, err, "%v", words)
		return n
	}
	one := func(err error) (int, error) { return 0, err }
	switch words[0] {
	case "open":
		fd, err := r.c.Openat(r.dir, words[1], unix.O_RDWR|unix.O_CREAT, 0o644)
		return one(r.keep(words[2], fd, err))
	case "tmpfile":
		fd, err := r.c.Openat(r.dir, ".", unix.O_RDWR|unix.O_TMPFILE, 0o644)
		return one(r.keep(words[1], fd, err))
	case "close":
		fd, ok := r.open[words[1]]
		if !ok {
			return 0, unix.EBADF
		}
		delete(r.open, words[1])
		return one(r.c.Close(fd))
	case "linkfile":
		fd, ok := r.open[words[1]]
		if !ok {
			return 0, unix.EBADF
		}
		return one(r.c.Linkat(fd, "", r.dir, words[2], unix.AT_EMPTY_PATH))
	case "mkdir":
		return one(r.c.Mkdirat(r.dir, words[1], 0o755))
	case "mknod":
		return one(r.c.Mknodat(r.dir, words[1], unix.S_IFIFO|0o644, 0))
	case "symlink": // of so many bytes
		return one(r.c.Symlinkat(strings.Repeat("x", int(number(1))), r.dir, words[2]))
	case "link":
		return one(r.c.Linkat(r.dir, words[1], r.dir, words[2], 0))
	case "rename":
		return one(r.c.Renameat2(r.dir, words[1], r.dir, words[2], 0))
	case "exchange":
		return one(r.c.Renameat2(r.dir, words[1], r.dir, words[2], unix.RENAME_EXCHANGE))
	case "unlink":
		return one(r.c.Unlinkat(r.dir, words[1], 0))
	case "rmdir":
		return one(r.c.Unlinkat(r.dir, words[1], unix.AT_REMOVEDIR))
	}

	fd, ok := r.open[words[1]]
	if !ok {
		var err error
		if fd, err = r.c.Openat(r.dir, words[1], unix.O_RDWR|unix.O_CREAT, 0o644); err != nil {
			return -1, err
		}
		defer r.c.Close(fd)
	}
	switch words[0] {
	case "write": // so many bytes at an offset
		return r.c.Pwrite64(fd, []byte(strings.Repeat("w", int(number(2)))), number(3))
	case "read":
		return r.c.Pread64(fd, make([]byte, number(2)), number(3))
	case "truncate":
		return one(r.c.Ftruncate(fd, number(2)))
	case "fallocate":
		return one(r.c.Fallocate(fd, 0, number(2), number(3)))
	case "reserve":
		return one(r.c.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, number(2), number(3)))
	case "punch":
		return one(r.c.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, number(2), number(3)))
	case "size": // in bytes
		var st unix.Stat_t
		err := r.c.Fstat(fd, &st)
		return int(st.Size), err
	case "blocks": // of 512 bytes
		var st unix.Stat_t
		err := r.c.Fstat(fd, &st)
		return int(st.Blocks), err
	case "setxattr": // so many bytes
		return one(r.c.Fsetxattr(fd, words[2], []byte(strings.Repeat("v", int(number(3)))), 0))
	case "newxattr":
		return one(r.c.Fsetxattr(fd, words[2], []byte(strings.Repeat("v", int(number(3)))), unix.XATTR_CREATE))
	case "removexattr":
		return one(r.c.Fremovexattr(fd, words[2]))
	}
	require.Fail(t, "unknown call", "%v", words)
	return 0, nil
}

func (r *runner) keep(name string, fd int, err error) error {
	if err == nil {
		r.open[name] = fd
	}
	return err
}
