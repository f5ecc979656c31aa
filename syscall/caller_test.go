package syscall_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/syscall"
	"cloister/vfs"
)

// A caller makes system calls: a Task, or the kernel for comparison.
type caller interface {
	Openat(dirfd int, path string, flags int, mode uint32) (int, error)
	Close(fd int) error
	Read(fd int, p []byte) (int, error)
	Write(fd int, p []byte) (int, error)
	Pread64(fd int, p []byte, off int64) (int, error)
	Pwrite64(fd int, p []byte, off int64) (int, error)
	Readv(fd int, iov [][]byte) (int, error)
	Writev(fd int, iov [][]byte) (int, error)
	Lseek(fd int, off int64, whence int) (int64, error)
	Truncate(path string, size int64) error
	Ftruncate(fd int, size int64) error
	Fallocate(fd int, mode uint32, off, n int64) error
	Fsync(fd int) error
	Fstat(fd int, st *unix.Stat_t) error
	Newfstatat(dirfd int, path string, st *unix.Stat_t, flags int) error
	Mkdirat(dirfd int, path string, mode uint32) error
	Mknodat(dirfd int, path string, mode uint32, dev uint64) error
	Unlinkat(dirfd int, path string, flags int) error
	Renameat2(oldDirfd int, oldPath string, newDirfd int, newPath string, flags uint32) error
	Linkat(oldDirfd int, oldPath string, newDirfd int, newPath string, flags int) error
	Symlinkat(target string, dirfd int, path string) error
	Readlinkat(dirfd int, path string, buf []byte) (int, error)
	Fchmodat2(dirfd int, path string, mode uint32, flags int) error
	Fchmod(fd int, mode uint32) error
	Fchownat(dirfd int, path string, uid, gid, flags int) error
	Fchown(fd, uid, gid int) error
	Utimensat(dirfd int, path string, ts *[2]unix.Timespec, flags int) error
	Faccessat2(dirfd int, path string, mode uint32, flags int) error
	Umask(mask uint32) uint32
	Getdents64(fd int, buf []byte) (int, error)
	Getcwd(buf []byte) (int, error)
	Chdir(path string) error
	Fchdir(fd int) error
	Dup(fd int) (int, error)
	Fcntl(fd, cmd, arg int) (int, error)
	Mount(source, target, fstype string, flags uintptr, data string) error
	Umount2(target string, flags int) error
	Setresuid(ruid, euid, suid int) error

	Openat2(dirfd int, path string, how *unix.OpenHow, size int) (int, error)
	Statx(dirfd int, path string, flags int, mask uint32, stx *unix.Statx_t) error
	Preadv2(fd int, iov [][]byte, off int64, flags int) (int, error)
	Pwritev2(fd int, iov [][]byte, off int64, flags int) (int, error)
	CopyFileRange(inFd int, inOff *int64, outFd int, outOff *int64, n int, flags int) (int, error)
	Sendfile(outFd, inFd int, off *int64, n int) (int, error)
	CloseRange(first, last, flags uint) error
	SyncFileRange(fd int, off, n int64, flags int) error
	Fadvise64(fd int, off, n int64, advice int) error
	Readahead(fd int, off int64, n int) error
	Utime(path string, times *unix.Utimbuf) error
	Utimes(path string, tv *[2]unix.Timeval) error
	Futimesat(dirfd int, path string, tv *[2]unix.Timeval) error
	Futimes(fd int, tv *[2]unix.Timeval) error
	Getdents(fd int, buf []byte) (int, error)
	Ioctl(fd int, req uint, arg *int32) error
	Chroot(path string) error
	PivotRoot(newRoot, putOld string) error
	Statfs(path string, st *unix.Statfs_t) error
	Syncfs(fd int) error
	Flock(fd, how int) error
	FcntlFlock(fd, cmd int, lk *unix.Flock_t) error

	Getxattr(path, attr string, buf []byte) (int, error)
	Lgetxattr(path, attr string, buf []byte) (int, error)
	Fgetxattr(fd int, attr string, buf []byte) (int, error)
	Setxattr(path, attr string, value []byte, flags int) error
	Lsetxattr(path, attr string, value []byte, flags int) error
	Fsetxattr(fd int, attr string, value []byte, flags int) error
	Listxattr(path string, buf []byte) (int, error)
	Llistxattr(path string, buf []byte) (int, error)
	Flistxattr(fd int, buf []byte) (int, error)
	Removexattr(path, attr string) error
	Lremovexattr(path, attr string) error
	Fremovexattr(fd int, attr string) error
}

var (
	_ caller = (*syscall.Task)(nil)
	_ caller = (*kernel)(nil)
)

// newTask starts a namespace with a ramfs root and returns a process of root's.
func newTask(t testing.TB) *syscall.Task {
	t.Helper()
	task, end, err := startTask()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, end(), "everything is released at the end") })
	return task
}

func startTask() (task *syscall.Task, end func() error, err error) {
	ns, err := vfs.New(vfs.Config{
		Types:    []vfs.FileSystemType{ramfs.Type{}},
		Root:     ramfs.New(ramfs.Config{}),
		RootType: "ramfs",
		Now:      time.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	task = syscall.NewTask(ns, vfs.RootCred())
	return task, func() error {
		task.Exit()
		return ns.Close(context.Background())
	}, nil
}

// tree makes a small tree as caller c, in the notation of os/root_test.go:
// "d/" is a directory, "f" a file that holds its name, "a => b" a symbolic link.
func tree(t testing.TB, c caller, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if link, target, ok := bytes.Cut([]byte(e), []byte(" => ")); ok {
			require.NoError(t, c.Symlinkat(string(target), unix.AT_FDCWD, string(link)), "symlink %s", e)
			continue
		}
		if e[len(e)-1] == '/' {
			require.NoError(t, c.Mkdirat(unix.AT_FDCWD, e, 0o755), "mkdir %s", e)
			continue
		}
		fd, err := c.Openat(unix.AT_FDCWD, e, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		require.NoError(t, err, "create %s", e)
		_, err = c.Write(fd, []byte(e))
		require.NoError(t, err, "write %s", e)
		require.NoError(t, c.Close(fd), "close %s", e)
	}
}

// dirents decodes what getdents64 wrote into names.
func dirents(buf []byte) (names []string) {
	for len(buf) > 0 {
		reclen := binary.NativeEndian.Uint16(buf[16:])
		name, _, _ := bytes.Cut(buf[19:reclen], []byte{0})
		names = append(names, string(name))
		buf = buf[reclen:]
	}
	return names
}

// readDir reads the names of an open directory with a buffer of size bytes.
func readDir(c caller, fd, size int) (names []string, err error) {
	buf := make([]byte, size)
	for range 10000 {
		n, err := c.Getdents64(fd, buf)
		if err != nil {
			return names, err
		}
		if n == 0 {
			return names, nil
		}
		names = append(names, dirents(buf[:n])...)
	}
	return names, fmt.Errorf("the directory does not end")
}
