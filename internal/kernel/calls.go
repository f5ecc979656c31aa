package kernel

import "golang.org/x/sys/unix"

// The calls, each on the thread of its process.

// on runs a call that returns a number.
func on[T any](t *Task, f func() (T, error)) (n T, err error) {
	err = t.do(func() (err error) { n, err = f(); return err })
	return n, err
}

func (t *Task) Umount2(target string, flags int) error {
	return t.do(func() error { return unix.Unmount(target, flags) })
}

func (t *Task) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	return on(t, func() (int, error) { return unix.Openat(dirfd, path, flags, mode) })
}

func (t *Task) Creat(path string, mode uint32) (int, error) {
	return on(t, func() (int, error) { return unix.Creat(path, mode) })
}

func (t *Task) Close(fd int) error {
	return t.do(func() error { return unix.Close(fd) })
}

func (t *Task) Dup(fd int) (int, error) {
	return on(t, func() (int, error) { return unix.Dup(fd) })
}

func (t *Task) Dup2(oldfd, newfd int) (int, error) {
	return on(t, func() (int, error) { return newfd, raw(unix.SYS_DUP2, oldfd, newfd) })
}

func (t *Task) Dup3(oldfd, newfd, flags int) (int, error) {
	return on(t, func() (int, error) { return newfd, unix.Dup3(oldfd, newfd, flags) })
}

func (t *Task) Fcntl(fd, cmd, arg int) (int, error) {
	return on(t, func() (int, error) { return unix.FcntlInt(uintptr(fd), cmd, arg) })
}

func (t *Task) Read(fd int, p []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Read(fd, p) })
}

func (t *Task) Write(fd int, p []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Write(fd, p) })
}

func (t *Task) Pread64(fd int, p []byte, off int64) (int, error) {
	return on(t, func() (int, error) { return unix.Pread(fd, p, off) })
}

func (t *Task) Pwrite64(fd int, p []byte, off int64) (int, error) {
	return on(t, func() (int, error) { return unix.Pwrite(fd, p, off) })
}

func (t *Task) Readv(fd int, iov [][]byte) (int, error) {
	return on(t, func() (int, error) { return unix.Readv(fd, iov) })
}

func (t *Task) Writev(fd int, iov [][]byte) (int, error) {
	return on(t, func() (int, error) { return unix.Writev(fd, iov) })
}

func (t *Task) Preadv(fd int, iov [][]byte, off int64) (int, error) {
	return on(t, func() (int, error) { return unix.Preadv(fd, iov, off) })
}

func (t *Task) Pwritev(fd int, iov [][]byte, off int64) (int, error) {
	return on(t, func() (int, error) { return unix.Pwritev(fd, iov, off) })
}

func (t *Task) Lseek(fd int, off int64, whence int) (int64, error) {
	return on(t, func() (int64, error) { return unix.Seek(fd, off, whence) })
}

func (t *Task) Getdents64(fd int, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Getdents(fd, buf) })
}

func (t *Task) Ftruncate(fd int, size int64) error {
	return t.do(func() error { return unix.Ftruncate(fd, size) })
}

func (t *Task) Truncate(path string, size int64) error {
	return t.do(func() error { return unix.Truncate(path, size) })
}

func (t *Task) Fallocate(fd int, mode uint32, off, n int64) error {
	return t.do(func() error { return unix.Fallocate(fd, mode, off, n) })
}

func (t *Task) Fsync(fd int) error {
	return t.do(func() error { return unix.Fsync(fd) })
}

func (t *Task) Fdatasync(fd int) error {
	return t.do(func() error { return unix.Fdatasync(fd) })
}

func (t *Task) Sync() error {
	return t.do(func() error { return syncRoot() })
}

func (t *Task) Syncfs(fd int) error {
	return t.do(func() error { return unix.Syncfs(fd) })
}

func (t *Task) Fstat(fd int, st *unix.Stat_t) error {
	return t.do(func() error { return unix.Fstat(fd, st) })
}

func (t *Task) Newfstatat(dirfd int, path string, st *unix.Stat_t, flags int) error {
	return t.do(func() error { return unix.Fstatat(dirfd, path, st, flags) })
}

func (t *Task) Statfs(path string, st *unix.Statfs_t) error {
	return t.do(func() error { return unix.Statfs(path, st) })
}

func (t *Task) Fstatfs(fd int, st *unix.Statfs_t) error {
	return t.do(func() error { return unix.Fstatfs(fd, st) })
}

func (t *Task) Faccessat2(dirfd int, path string, mode uint32, flags int) error {
	return t.do(func() error { return rawPath(unix.SYS_FACCESSAT2, dirfd, path, int(mode), flags) })
}

func (t *Task) Mkdirat(dirfd int, path string, mode uint32) error {
	return t.do(func() error { return unix.Mkdirat(dirfd, path, mode) })
}

func (t *Task) Mknodat(dirfd int, path string, mode uint32, dev uint64) error {
	return t.do(func() error { return unix.Mknodat(dirfd, path, mode, int(dev)) })
}

func (t *Task) Unlinkat(dirfd int, path string, flags int) error {
	return t.do(func() error { return unix.Unlinkat(dirfd, path, flags) })
}

func (t *Task) Rmdir(path string) error {
	return t.do(func() error { return unix.Rmdir(path) })
}

func (t *Task) Renameat2(oldDirfd int, oldPath string, newDirfd int, newPath string, flags uint32) error {
	return t.do(func() error { return unix.Renameat2(oldDirfd, oldPath, newDirfd, newPath, uint(flags)) })
}

func (t *Task) Linkat(oldDirfd int, oldPath string, newDirfd int, newPath string, flags int) error {
	return t.do(func() error { return unix.Linkat(oldDirfd, oldPath, newDirfd, newPath, flags) })
}

func (t *Task) Symlinkat(target string, dirfd int, path string) error {
	return t.do(func() error { return unix.Symlinkat(target, dirfd, path) })
}

func (t *Task) Readlinkat(dirfd int, path string, buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Readlinkat(dirfd, path, buf) })
}

func (t *Task) Fchmod(fd int, mode uint32) error {
	return t.do(func() error { return unix.Fchmod(fd, mode) })
}

func (t *Task) Fchmodat2(dirfd int, path string, mode uint32, flags int) error {
	return t.do(func() error { return rawPath(unix.SYS_FCHMODAT2, dirfd, path, int(mode), flags) })
}

func (t *Task) Fchown(fd, uid, gid int) error {
	return t.do(func() error { return unix.Fchown(fd, uid, gid) })
}

func (t *Task) Fchownat(dirfd int, path string, uid, gid, flags int) error {
	return t.do(func() error { return unix.Fchownat(dirfd, path, uid, gid, flags) })
}

func (t *Task) Utimensat(dirfd int, path string, ts *[2]unix.Timespec, flags int) error {
	return t.do(func() error { return rawTimes(dirfd, &path, ts, flags) })
}

func (t *Task) Futimens(fd int, ts *[2]unix.Timespec) error {
	return t.do(func() error { return rawTimes(fd, nil, ts, 0) })
}

func (t *Task) Chdir(path string) error {
	return t.do(func() error { return unix.Chdir(path) })
}

func (t *Task) Fchdir(fd int) error {
	return t.do(func() error { return unix.Fchdir(fd) })
}

func (t *Task) Getcwd(buf []byte) (int, error) {
	return on(t, func() (int, error) { return unix.Getcwd(buf) })
}

func (t *Task) Setuid(uid int) error {
	return t.do(func() error { return raw(unix.SYS_SETUID, uid) })
}

func (t *Task) Setgid(gid int) error {
	return t.do(func() error { return raw(unix.SYS_SETGID, gid) })
}

func (t *Task) Setresuid(ruid, euid, suid int) error {
	return t.do(func() error { return raw(unix.SYS_SETRESUID, ruid, euid, suid) })
}

func (t *Task) Setresgid(rgid, egid, sgid int) error {
	return t.do(func() error { return raw(unix.SYS_SETRESGID, rgid, egid, sgid) })
}

func (t *Task) Setgroups(groups []int) error {
	return t.do(func() error { return setgroups(groups) })
}

func (t *Task) Umask(mask uint32) (old uint32) {
	t.do(func() error { old = uint32(unix.Umask(int(mask))); return nil })
	return old
}
