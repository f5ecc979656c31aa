// Package replay makes the system calls of a script on a System and compares
// every answer with what the script expects.
package replay

import (
	"context"

	"golang.org/x/sys/unix"
)

// A System is what a script runs on: a library OS, or a kernel.
type System interface {
	// Start boots it as id says and returns its first process.
	Start(ctx context.Context, id Identity) (Task, error)
	// Stop unmounts everything and flushes; all processes have exited.
	Stop(ctx context.Context) error
	// Kill ends it as kill -9 and a power failure do: nothing is flushed.
	Kill()
}

// Identity is what an enclave platform knows an enclave by. Equal names mean
// equal secrets.
type Identity struct {
	Machine, Signer string
	Product         uint16
	Version         uint16
}

// A Task is one process. Methods carry the system call's name and argument
// order; vfs.Errno of an error is the errno.
type Task interface {
	Fork() (Task, error)
	Exec()
	Exit()

	Mount(source, target, fstype string, flags uintptr, data string) error
	Umount2(target string, flags int) error

	Openat(dirfd int, path string, flags int, mode uint32) (int, error)
	Openat2(dirfd int, path string, how *unix.OpenHow, size int) (int, error)
	Creat(path string, mode uint32) (int, error)
	Close(fd int) error
	CloseRange(first, last uint, flags uint) error
	Dup(fd int) (int, error)
	Dup2(oldfd, newfd int) (int, error)
	Dup3(oldfd, newfd, flags int) (int, error)
	Fcntl(fd, cmd, arg int) (int, error)
	FcntlFlock(fd, cmd int, lk *unix.Flock_t) error
	Flock(fd, how int) error
	Ioctl(fd int, req uint, arg *int32) error

	Read(fd int, p []byte) (int, error)
	Write(fd int, p []byte) (int, error)
	Pread64(fd int, p []byte, off int64) (int, error)
	Pwrite64(fd int, p []byte, off int64) (int, error)
	Readv(fd int, iov [][]byte) (int, error)
	Writev(fd int, iov [][]byte) (int, error)
	Preadv(fd int, iov [][]byte, off int64) (int, error)
	Pwritev(fd int, iov [][]byte, off int64) (int, error)
	Preadv2(fd int, iov [][]byte, off int64, flags int) (int, error)
	Pwritev2(fd int, iov [][]byte, off int64, flags int) (int, error)
	CopyFileRange(inFd int, inOff *int64, outFd int, outOff *int64, n int, flags int) (int, error)
	Sendfile(outFd, inFd int, off *int64, n int) (int, error)
	Lseek(fd int, off int64, whence int) (int64, error)
	Getdents64(fd int, buf []byte) (int, error)
	Getdents(fd int, buf []byte) (int, error)
	Ftruncate(fd int, size int64) error
	Truncate(path string, size int64) error
	Fallocate(fd int, mode uint32, off, n int64) error
	Fsync(fd int) error
	Fdatasync(fd int) error
	Sync() error
	Syncfs(fd int) error
	SyncFileRange(fd int, off, n int64, flags int) error
	Fadvise64(fd int, off, n int64, advice int) error
	Readahead(fd int, off int64, n int) error

	Fstat(fd int, st *unix.Stat_t) error
	Newfstatat(dirfd int, path string, st *unix.Stat_t, flags int) error
	Statx(dirfd int, path string, flags int, mask uint32, stx *unix.Statx_t) error
	Statfs(path string, st *unix.Statfs_t) error
	Fstatfs(fd int, st *unix.Statfs_t) error
	Faccessat2(dirfd int, path string, mode uint32, flags int) error

	Mkdirat(dirfd int, path string, mode uint32) error
	Mknodat(dirfd int, path string, mode uint32, dev uint64) error
	Unlinkat(dirfd int, path string, flags int) error
	Rmdir(path string) error
	Renameat2(oldDirfd int, oldPath string, newDirfd int, newPath string, flags uint32) error
	Linkat(oldDirfd int, oldPath string, newDirfd int, newPath string, flags int) error
	Symlinkat(target string, dirfd int, path string) error
	Readlinkat(dirfd int, path string, buf []byte) (int, error)

	Fchmod(fd int, mode uint32) error
	Fchmodat2(dirfd int, path string, mode uint32, flags int) error
	Fchown(fd, uid, gid int) error
	Fchownat(dirfd int, path string, uid, gid, flags int) error
	Utimensat(dirfd int, path string, ts *[2]unix.Timespec, flags int) error
	Futimens(fd int, ts *[2]unix.Timespec) error
	Utime(path string, times *unix.Utimbuf) error
	Futimesat(dirfd int, path string, tv *[2]unix.Timeval) error
	Futimes(fd int, tv *[2]unix.Timeval) error

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

	Chdir(path string) error
	Fchdir(fd int) error
	Chroot(path string) error
	Getcwd(buf []byte) (int, error)
	Umask(mask uint32) (old uint32)
	Setuid(uid int) error
	Setgid(gid int) error
	Setresuid(ruid, euid, suid int) error
	Setresgid(rgid, egid, sgid int) error
	Setgroups(groups []int) error
}
