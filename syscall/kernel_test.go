package syscall_test

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	hostkernel "cloister/internal/kernel"
	"cloister/internal/testenv"
)

// kernel is the real kernel, on a thread of its own with a private mount
// namespace, whose root is an empty tmpfs. Its descriptors are those of the
// test process.
type kernel struct {
	calls chan func()
	done  sync.WaitGroup
	fds   map[int]bool // to be closed at the end
}

// newKernel skips the test where no such thread can be had.
func newKernel(t testing.TB) *kernel {
	t.Helper()
	testenv.NeedRoot(t) // for a private mount namespace
	k, err := startKernel(t.TempDir())
	if err != nil {
		t.Skipf("no private mount namespace: %v", err)
	}
	t.Cleanup(k.close)
	return k
}

func startKernel(dir string) (*kernel, error) {
	return newThread(func() error { return isolate(dir) })
}

// newThread returns a thread that has done prepare.
func newThread(prepare func() error) (*kernel, error) {
	k := &kernel{calls: make(chan func()), fds: map[int]bool{}}
	started := make(chan error, 2) // with what the thread returns at its end
	k.done.Go(func() {
		started <- hostkernel.OnThread(func() error {
			if err := prepare(); err != nil {
				return err
			}
			started <- nil
			for call := range k.calls {
				call()
			}
			return nil
		})
	})
	return k, <-started
}

func isolate(dir string) error {
	if err := hostkernel.PrivateMounts(); err != nil {
		return err
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := unix.Chroot(dir); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	unix.Umask(0)
	return unix.Chdir("/")
}

func (k *kernel) close() {
	for fd := range k.fds {
		unix.Close(fd)
	}
	close(k.calls)
	k.done.Wait()
}

// on runs call on the kernel's thread.
func (k *kernel) on(call func()) {
	done := make(chan struct{})
	k.calls <- func() { defer close(done); call() }
	<-done
}

func (k *kernel) err(call func() error) (err error) {
	k.on(func() { err = call() })
	return err
}

func (k *kernel) num(call func() (int, error)) (n int, err error) {
	k.on(func() { n, err = call() })
	return n, err
}

func (k *kernel) fd(call func() (int, error)) (int, error) {
	fd, err := k.num(call)
	if err == nil {
		k.fds[fd] = true
	}
	return fd, err
}

func (k *kernel) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	return k.fd(func() (int, error) { return unix.Openat(dirfd, path, flags, mode) })
}

func (k *kernel) Close(fd int) error {
	delete(k.fds, fd)
	return k.err(func() error { return unix.Close(fd) })
}

func (k *kernel) Read(fd int, p []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Read(fd, p) })
}

func (k *kernel) Write(fd int, p []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Write(fd, p) })
}

func (k *kernel) Pread64(fd int, p []byte, off int64) (int, error) {
	return k.num(func() (int, error) { return unix.Pread(fd, p, off) })
}

func (k *kernel) Pwrite64(fd int, p []byte, off int64) (int, error) {
	return k.num(func() (int, error) { return unix.Pwrite(fd, p, off) })
}

func (k *kernel) Readv(fd int, iov [][]byte) (int, error) {
	return k.num(func() (int, error) { return unix.Readv(fd, iov) })
}

func (k *kernel) Writev(fd int, iov [][]byte) (int, error) {
	return k.num(func() (int, error) { return unix.Writev(fd, iov) })
}

func (k *kernel) Lseek(fd int, off int64, whence int) (int64, error) {
	n, err := k.num(func() (int, error) {
		n, err := unix.Seek(fd, off, whence)
		return int(n), err
	})
	return int64(n), err
}

func (k *kernel) Truncate(path string, size int64) error {
	return k.err(func() error { return unix.Truncate(path, size) })
}

func (k *kernel) Ftruncate(fd int, size int64) error {
	return k.err(func() error { return unix.Ftruncate(fd, size) })
}

func (k *kernel) Fallocate(fd int, mode uint32, off, n int64) error {
	return k.err(func() error { return unix.Fallocate(fd, mode, off, n) })
}

func (k *kernel) Fsync(fd int) error {
	return k.err(func() error { return unix.Fsync(fd) })
}

func (k *kernel) Fstat(fd int, st *unix.Stat_t) error {
	return k.err(func() error { return unix.Fstat(fd, st) })
}

func (k *kernel) Newfstatat(dirfd int, path string, st *unix.Stat_t, flags int) error {
	return k.err(func() error { return unix.Fstatat(dirfd, path, st, flags) })
}

func (k *kernel) Mkdirat(dirfd int, path string, mode uint32) error {
	return k.err(func() error { return unix.Mkdirat(dirfd, path, mode) })
}

func (k *kernel) Mknodat(dirfd int, path string, mode uint32, dev uint64) error {
	return k.err(func() error { return unix.Mknodat(dirfd, path, mode, int(dev)) })
}

func (k *kernel) Unlinkat(dirfd int, path string, flags int) error {
	return k.err(func() error { return unix.Unlinkat(dirfd, path, flags) })
}

func (k *kernel) Renameat2(oldDirfd int, oldPath string, newDirfd int, newPath string, flags uint32) error {
	return k.err(func() error { return unix.Renameat2(oldDirfd, oldPath, newDirfd, newPath, uint(flags)) })
}

func (k *kernel) Linkat(oldDirfd int, oldPath string, newDirfd int, newPath string, flags int) error {
	return k.err(func() error { return unix.Linkat(oldDirfd, oldPath, newDirfd, newPath, flags) })
}

func (k *kernel) Symlinkat(target string, dirfd int, path string) error {
	return k.err(func() error { return unix.Symlinkat(target, dirfd, path) })
}

func (k *kernel) Readlinkat(dirfd int, path string, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Readlinkat(dirfd, path, buf) })
}

func (k *kernel) Fchmodat2(dirfd int, path string, mode uint32, flags int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	return k.err(func() error {
		return errno(unix.Syscall6(unix.SYS_FCHMODAT2, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(mode), uintptr(flags), 0, 0))
	})
}

func (k *kernel) Fchmod(fd int, mode uint32) error {
	return k.err(func() error { return unix.Fchmod(fd, mode) })
}

func (k *kernel) Fchownat(dirfd int, path string, uid, gid, flags int) error {
	return k.err(func() error { return unix.Fchownat(dirfd, path, uid, gid, flags) })
}

func (k *kernel) Fchown(fd, uid, gid int) error {
	return k.err(func() error { return unix.Fchown(fd, uid, gid) })
}

func (k *kernel) Utimensat(dirfd int, path string, ts *[2]unix.Timespec, flags int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	return k.err(func() error {
		return errno(unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(ts)), uintptr(flags), 0, 0))
	})
}

func (k *kernel) Faccessat2(dirfd int, path string, mode uint32, flags int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	return k.err(func() error {
		return errno(unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(mode), uintptr(flags), 0, 0))
	})
}

func (k *kernel) Umask(mask uint32) uint32 {
	old, _ := k.num(func() (int, error) { return unix.Umask(int(mask)), nil })
	return uint32(old)
}

func (k *kernel) Getdents64(fd int, buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Getdents(fd, buf) })
}

func (k *kernel) Getcwd(buf []byte) (int, error) {
	return k.num(func() (int, error) { return unix.Getcwd(buf) })
}

func (k *kernel) Chdir(path string) error {
	return k.err(func() error { return unix.Chdir(path) })
}

func (k *kernel) Fchdir(fd int) error {
	return k.err(func() error { return unix.Fchdir(fd) })
}

func (k *kernel) Dup(fd int) (int, error) {
	return k.fd(func() (int, error) { return unix.Dup(fd) })
}

func (k *kernel) Fcntl(fd, cmd, arg int) (int, error) {
	return k.num(func() (int, error) { return unix.FcntlInt(uintptr(fd), cmd, arg) })
}

// Mount mounts tmpfs where a Task is asked for ramfs.
func (k *kernel) Mount(source, target, fstype string, flags uintptr, data string) error {
	if fstype == "ramfs" {
		fstype, data = "tmpfs", "mode=1777"
	}
	return k.err(func() error { return unix.Mount(source, target, fstype, flags, data) })
}

func (k *kernel) Umount2(target string, flags int) error {
	return k.err(func() error { return unix.Unmount(target, flags) })
}

// Setresuid changes the ids of the kernel's thread only, which the wrapper of
// package unix would not.
func (k *kernel) Setresuid(ruid, euid, suid int) error {
	return k.err(func() error {
		return errno(unix.RawSyscall(unix.SYS_SETRESUID, uintptr(ruid), uintptr(euid), uintptr(suid)))
	})
}

func errno(_, _ uintptr, e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}
