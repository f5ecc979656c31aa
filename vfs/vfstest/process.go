package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// process makes the calls of the suite, each the system call of its name. Relative paths start at its
// working directory. An errno is that of the error, as vfs.Errno finds it.
type process interface {
	// openat opens relative to dir; nil: to the working directory.
	openat(dir openFile, path string, flags int, mode uint32) (openFile, error)
	mkdir(path string, mode uint32) error
	mknod(path string, mode uint32, rdev uint64) error
	symlink(target, path string) error
	// linkat links from dir, as openat has it; flags are AT_EMPTY_PATH and AT_SYMLINK_FOLLOW.
	linkat(dir openFile, old, new string, flags int) error
	rename2(old, new string, flags uint32) error
	unlink(path string) error
	rmdir(path string) error
	readlink(path string) (string, error)

	// fstatat looks at a path; flags is 0 or AT_SYMLINK_NOFOLLOW.
	fstatat(path string, flags int) (vfs.Attr, error)
	statfs(path string) (unix.Statfs_t, error)
	access(path string, mode uint32) error
	chmod(path string, mode uint32) error
	chown(path string, uid, gid uint32) error // does not follow
	truncate(path string, size int64) error
	// utimens sets the times of access and modification, does not follow, and knows UTIME_NOW and
	// UTIME_OMIT.
	utimens(path string, atime, mtime unix.Timespec) error

	// The calls on extended attributes do not follow.
	setxattr(path, name, value string, flags int) error
	getxattr(path, name string) (string, error)
	listxattr(path string) ([]string, error)
	removexattr(path, name string) error

	chdir(path string) error
	getcwd() (string, error)
	umask(mask uint32)

	// mount mounts another file system of the kind under test.
	mount(target string, flags uintptr) error
	umount(target string) error

	// as returns a child with other credentials.
	as(uid, gid uint32, groups []uint32) (process, error)
	exit()
}

// openFile is an open file description.
type openFile interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Seek(off int64, whence int) (int64, error)
	Truncate(size int64) error
	Fallocate(mode uint32, off, n int64) error
	Fsync() error
	SetFlags(flags int) error // F_SETFL
	// ReadDir returns the next n entries, fewer only at the end, "." and ".." among them.
	ReadDir(n int) ([]vfs.Dirent, error)
	Getattr() (vfs.Attr, error)
	Flock(how int) error
	Setlk(lk *unix.Flock_t) error // F_OFD_SETLK
	Close() error
}

// sys is one tree of files, seen by one process.
type sys struct {
	process
	t testing.TB
	d Driver
}

// newSys makes a tree with the given layout, seen by root.
func newSys(t *testing.T, d Driver, layout ...string) *sys {
	t.Helper()
	if d.start == nil {
		s, _ := newView(t, d, vfs.Config{}, layout...)
		return s
	}
	p := d.start(t, func(p process) { newSysOf(t, d, p).layout(layout...) })
	t.Cleanup(p.exit)
	return newSysOf(t, d, p)
}

// newSysOf returns the tree as p sees it.
func newSysOf(t *testing.T, d Driver, p process) *sys {
	p.umask(0)
	return &sys{p, t, d}
}

// as returns s as another user sees it.
func (s *sys) as(uid, gid uint32, groups ...uint32) *sys {
	s.t.Helper()
	p, err := s.process.as(uid, gid, groups)
	s.ok(err, "process of user %d", uid)
	s.t.Cleanup(p.exit)
	return &sys{p, s.t, s.d}
}

// enter makes path the working directory, which the layout notation and all paths are then relative to.
func (s *sys) enter(path string) {
	s.t.Helper()
	s.ok(s.chdir(path), "chdir %s", path)
}

func (s *sys) ok(err error, format string, args ...any) {
	s.t.Helper()
	require.NoErrorf(s.t, err, format, args...)
}

// fails checks an errno.
func (s *sys) fails(want unix.Errno, err error, format string, args ...any) {
	s.t.Helper()
	if want == 0 {
		require.NoErrorf(s.t, err, format, args...)
		return
	}
	require.ErrorIsf(s.t, err, want, format, args...)
	require.Equalf(s.t, want, vfs.Errno(err), format, args...)
}
