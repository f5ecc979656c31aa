package vfstest

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Task is one process that makes system calls. Methods carry the call's name and argument order; vfs.Errno of
// an error is the errno. Calls whose buffer is too small do as Linux does.
type Task interface {
	Fork() (Task, error)
	Exit()

	Openat(dirfd int, path string, flags int, mode uint32) (int, error)
	Close(fd int) error
	Fcntl(fd, cmd, arg int) (int, error)
	FcntlFlock(fd, cmd int, lk *unix.Flock_t) error
	Flock(fd, how int) error
	Read(fd int, p []byte) (int, error)
	Write(fd int, p []byte) (int, error)
	Pread64(fd int, p []byte, off int64) (int, error)
	Pwrite64(fd int, p []byte, off int64) (int, error)
	Lseek(fd int, off int64, whence int) (int64, error)
	Getdents64(fd int, buf []byte) (int, error)
	Ftruncate(fd int, size int64) error
	Truncate(path string, size int64) error
	Fallocate(fd int, mode uint32, off, n int64) error
	Fsync(fd int) error

	Statx(dirfd int, path string, flags int, mask uint32, stx *unix.Statx_t) error
	Statfs(path string, st *unix.Statfs_t) error
	Faccessat2(dirfd int, path string, mode uint32, flags int) error
	Mkdirat(dirfd int, path string, mode uint32) error
	Mknodat(dirfd int, path string, mode uint32, dev uint64) error
	Unlinkat(dirfd int, path string, flags int) error
	Renameat2(oldDirfd int, oldPath string, newDirfd int, newPath string, flags uint32) error
	Linkat(oldDirfd int, oldPath string, newDirfd int, newPath string, flags int) error
	Symlinkat(target string, dirfd int, path string) error
	Readlinkat(dirfd int, path string, buf []byte) (int, error)
	Fchmodat2(dirfd int, path string, mode uint32, flags int) error
	Fchownat(dirfd int, path string, uid, gid, flags int) error
	Utimensat(dirfd int, path string, ts *[2]unix.Timespec, flags int) error
	Lgetxattr(path, attr string, buf []byte) (int, error)
	Lsetxattr(path, attr string, value []byte, flags int) error
	Llistxattr(path string, buf []byte) (int, error)
	Lremovexattr(path, attr string) error

	Chdir(path string) error
	Getcwd(buf []byte) (int, error)
	Umask(mask uint32) (old uint32)
	Setresuid(ruid, euid, suid int) error
	Setresgid(rgid, egid, sgid int) error
	Setgroups(groups []int) error

	Mount(source, target, fstype string, flags uintptr, data string) error
	Umount2(target string, flags int) error
}

// System is what RunTasks tests.
type System struct {
	// Start returns root's first process in a tree of its own, whose root is a fresh file system with the files that
	// prepare makes. It gives prepare that process or, where the files shall lie in a lower layer, one that works on that
	// layer. What has to be undone, and looked at in the end, is left to t.Cleanup, which comes after the exit of all
	// processes.
	Start func(t *testing.T, prepare func(Task)) Task

	// Type is the type by which Task.Mount mounts another fresh, empty file system of the kind.
	Type string

	Lacks     Feature // as in Driver
	Block     int     // as in Driver
	HugeFiles bool    // as in Driver
}

// RunTasks runs what of the suite needs nothing but system calls.
func RunTasks(t *testing.T, s System) {
	run(t, Driver{
		Lacks: s.Lacks, Block: s.Block, HugeFiles: s.HugeFiles,
		start: func(t *testing.T, prepare func(process)) process {
			return &taskProcess{s.Start(t, func(first Task) { prepare(&taskProcess{first, s.Type}) }), s.Type}
		},
	}, everywhere)
}

// taskProcess makes calls by a Task.
type taskProcess struct {
	Task
	fstype string
}

const at = unix.AT_FDCWD

func (p *taskProcess) as(uid, gid uint32, groups []uint32) (process, error) {
	child, err := p.Fork()
	if err != nil {
		return nil, err
	}
	ids := make([]int, len(groups))
	for i, g := range groups {
		ids[i] = int(g)
	}
	for _, step := range []func() error{
		func() error { return child.Setgroups(ids) },
		func() error { return child.Setresgid(int(gid), int(gid), int(gid)) },
		func() error { return child.Setresuid(int(uid), int(uid), int(uid)) },
	} {
		if err := step(); err != nil {
			child.Exit()
			return nil, err
		}
	}
	return &taskProcess{child, p.fstype}, nil
}

func (p *taskProcess) exit() { p.Exit() }

// dirfd returns the descriptor that dir stands for.
func dirfd(dir openFile) int {
	if dir == nil {
		return at
	}
	return dir.(*taskFile).fd
}

func (p *taskProcess) openat(dir openFile, path string, flags int, mode uint32) (openFile, error) {
	fd, err := p.Openat(dirfd(dir), path, flags, mode)
	if err != nil {
		return nil, err
	}
	return &taskFile{p.Task, fd}, nil
}

func (p *taskProcess) mkdir(path string, mode uint32) error { return p.Mkdirat(at, path, mode) }
func (p *taskProcess) rmdir(path string) error              { return p.Unlinkat(at, path, unix.AT_REMOVEDIR) }
func (p *taskProcess) unlink(path string) error             { return p.Unlinkat(at, path, 0) }
func (p *taskProcess) symlink(target, path string) error    { return p.Symlinkat(target, at, path) }

func (p *taskProcess) mknod(path string, mode uint32, rdev uint64) error {
	return p.Mknodat(at, path, mode, rdev)
}

func (p *taskProcess) linkat(dir openFile, old, new string, flags int) error {
	return p.Linkat(dirfd(dir), old, at, new, flags)
}

func (p *taskProcess) rename2(old, new string, flags uint32) error {
	return p.Renameat2(at, old, at, new, flags)
}

func (p *taskProcess) readlink(path string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := p.Readlinkat(at, path, buf)
	return string(buf[:max(n, 0)]), err
}

func (p *taskProcess) fstatat(path string, flags int) (vfs.Attr, error) {
	return statx(p.Task, at, path, flags)
}

func statx(t Task, dirfd int, path string, flags int) (vfs.Attr, error) {
	var st unix.Statx_t
	if err := t.Statx(dirfd, path, flags, unix.STATX_BASIC_STATS, &st); err != nil {
		return vfs.Attr{}, err
	}
	ts := func(t unix.StatxTimestamp) unix.Timespec { return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)} }
	return vfs.Attr{
		Mask: st.Mask, Mode: uint32(st.Mode), Nlink: st.Nlink, UID: st.Uid, GID: st.Gid, Ino: st.Ino,
		Size: int64(st.Size), Blocks: int64(st.Blocks), Blksize: st.Blksize, Rdev: unix.Mkdev(st.Rdev_major, st.Rdev_minor),
		Atime: ts(st.Atime), Mtime: ts(st.Mtime), Ctime: ts(st.Ctime),
	}, nil
}

func (p *taskProcess) statfs(path string) (st unix.Statfs_t, err error) {
	err = p.Statfs(path, &st)
	return st, err
}

func (p *taskProcess) access(path string, mode uint32) error { return p.Faccessat2(at, path, mode, 0) }
func (p *taskProcess) chmod(path string, mode uint32) error  { return p.Fchmodat2(at, path, mode, 0) }
func (p *taskProcess) truncate(path string, n int64) error   { return p.Truncate(path, n) }

func (p *taskProcess) chown(path string, uid, gid uint32) error {
	return p.Fchownat(at, path, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
}

func (p *taskProcess) utimens(path string, atime, mtime unix.Timespec) error {
	return p.Utimensat(at, path, &[2]unix.Timespec{atime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

func (p *taskProcess) setxattr(path, name, value string, flags int) error {
	return p.Lsetxattr(path, name, []byte(value), flags)
}

func (p *taskProcess) getxattr(path, name string) (string, error) {
	buf := make([]byte, 65536)
	n, err := p.Lgetxattr(path, name, buf)
	return string(buf[:max(n, 0)]), err
}

func (p *taskProcess) listxattr(path string) ([]string, error) {
	buf := make([]byte, 65536)
	n, err := p.Llistxattr(path, buf)
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }), nil
}

func (p *taskProcess) removexattr(path, name string) error { return p.Lremovexattr(path, name) }

func (p *taskProcess) chdir(path string) error { return p.Chdir(path) }
func (p *taskProcess) umask(mask uint32)       { p.Umask(mask) }

func (p *taskProcess) getcwd() (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := p.Getcwd(buf)
	return strings.TrimSuffix(string(buf[:max(n, 0)]), "\x00"), err
}

func (p *taskProcess) mount(target string, flags uintptr) error {
	return p.Mount("src", target, p.fstype, flags, "")
}

func (p *taskProcess) umount(target string) error { return p.Umount2(target, 0) }

// taskFile is an open file of a Task.
type taskFile struct {
	t  Task
	fd int
}

func (f *taskFile) Read(p []byte) (int, error)               { return f.t.Read(f.fd, p) }
func (f *taskFile) Write(p []byte) (int, error)              { return f.t.Write(f.fd, p) }
func (f *taskFile) ReadAt(p []byte, off int64) (int, error)  { return f.t.Pread64(f.fd, p, off) }
func (f *taskFile) WriteAt(p []byte, off int64) (int, error) { return f.t.Pwrite64(f.fd, p, off) }
func (f *taskFile) Truncate(size int64) error                { return f.t.Ftruncate(f.fd, size) }
func (f *taskFile) Fsync() error                             { return f.t.Fsync(f.fd) }
func (f *taskFile) Flock(how int) error                      { return f.t.Flock(f.fd, how|unix.LOCK_NB) }
func (f *taskFile) Setlk(lk *unix.Flock_t) error             { return f.t.FcntlFlock(f.fd, unix.F_OFD_SETLK, lk) }
func (f *taskFile) Getattr() (vfs.Attr, error)               { return statx(f.t, f.fd, "", unix.AT_EMPTY_PATH) }
func (f *taskFile) Close() error                             { return f.t.Close(f.fd) }

func (f *taskFile) Seek(off int64, whence int) (int64, error) {
	pos, err := f.t.Lseek(f.fd, off, whence)
	if err != nil {
		return 0, err
	}
	return pos, nil
}

func (f *taskFile) Fallocate(mode uint32, off, n int64) error {
	return f.t.Fallocate(f.fd, mode, off, n)
}

func (f *taskFile) SetFlags(flags int) error {
	_, err := f.t.Fcntl(f.fd, unix.F_SETFL, flags)
	return err
}

// ReadDir gives back, by lseek(2), what the system call returns beyond n entries.
func (f *taskFile) ReadDir(n int) (es []vfs.Dirent, err error) {
	buf := make([]byte, min(1<<16, n*(direntName+255+8)))
	for len(es) < n {
		got, err := f.t.Getdents64(f.fd, buf)
		if err != nil {
			return es, err
		}
		if got == 0 {
			return es, nil
		}
		for p := buf[:got]; len(p) > 0; {
			if len(es) == n {
				_, err := f.t.Lseek(f.fd, int64(es[n-1].Pos), unix.SEEK_SET)
				return es, err
			}
			var e vfs.Dirent
			e, p = takeDirent(p)
			es = append(es, e)
		}
	}
	return es, nil
}

const direntName = 19 // bytes of struct linux_dirent64 before d_name

// takeDirent takes the first entry from a buffer of getdents64(2).
func takeDirent(p []byte) (e vfs.Dirent, rest []byte) {
	size := binary.NativeEndian.Uint16(p[16:])
	name, _, _ := bytes.Cut(p[direntName:size], []byte{0})
	return vfs.Dirent{
		Name: string(name),
		Ino:  binary.NativeEndian.Uint64(p),
		Pos:  binary.NativeEndian.Uint64(p[8:]),
		Type: p[18],
	}, p[size:]
}
