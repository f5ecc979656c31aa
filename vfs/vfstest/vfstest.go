// Package vfstest is a conformance suite for file-system drivers. It drives a driver
// as processes do, through a vfs.View, and expects of it what Linux does on
// tmpfs.
//
//	func TestConformance(t *testing.T) {
//		vfstest.Run(t, vfstest.Driver{
//			New:   func(t *testing.T) vfs.FileSystem { return ramfs.New(ramfs.Config{}) },
//			Lacks: vfstest.Exchange,
//		})
//	}
//
// What a driver cannot do is declared in Lacks, and tested to fail with the errno that
// is documented there. Every test ends by closing the namespace, which fails if a
// pin has leaked.
package vfstest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Feature is a set of what drivers may lack.
type Feature uint32

// The features, each with the errno of a driver that lacks it.
const (
	Links      Feature = 1 << iota // hard links; EPERM
	Symlinks                       // EPERM
	Devices                        // device nodes; EPERM
	FIFOs                          // FIFOs and sockets; EPERM
	Owners                         // chown(2) to other users, files of several users; EPERM
	Times                          // utimensat(2) with given times; EPERM
	Xattrs                         // EOPNOTSUPP
	Tmpfile                        // EOPNOTSUPP
	Exchange                       // RENAME_EXCHANGE; EINVAL
	Whiteouts                      // Dir.Whiteout and RENAME_WHITEOUT; EINVAL
	Allocate                       // fallocate(2) with mode 0 and FALLOC_FL_KEEP_SIZE; EOPNOTSUPP
	PunchHole                      // EOPNOTSUPP
	ZeroRange                      // EOPNOTSUPP
	ShiftRange                     // FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE; EOPNOTSUPP
	Sparse                         // holes take no blocks and SEEK_HOLE finds them; no errno: all is data
	DirLinks                       // link counts of directories count subdirectories; no errno: 1 or more
)

// Driver is what Run tests.
type Driver struct {
	// New returns a fresh, empty file system.
	New func(t *testing.T) vfs.FileSystem

	// Lacks are the features that the driver does not have.
	Lacks Feature

	// Block is the size of the driver's blocks in bytes, for the table of boundary sizes; 0: 4096.
	Block int
}

// Run runs the whole suite.
func Run(t *testing.T, d Driver) {
	if d.Block == 0 {
		d.Block = 4096
	}
	for _, group := range []struct {
		name string
		test func(*testing.T, Driver)
	}{
		{"Open", testOpen},
		{"ReadWrite", testReadWrite},
		{"Sizes", testSizes},
		{"Truncate", testTruncate},
		{"Seek", testSeek},
		{"Fallocate", testFallocate},
		{"Mkdir", testMkdir},
		{"Rmdir", testRmdir},
		{"Unlink", testUnlink},
		{"Link", testLink},
		{"Symlink", testSymlink},
		{"Mknod", testMknod},
		{"Rename", testRename},
		{"RenameExchange", testExchange},
		{"Readdir", testReaddir},
		{"Attributes", testAttributes},
		{"Times", testTimes},
		{"Permission", testPermission},
		{"Sticky", testSticky},
		{"SetID", testSetID},
		{"Xattr", testXattr},
		{"Lock", testLock},
		{"Tmpfile", testTmpfile},
		{"Whiteout", testWhiteout},
		{"Limits", testLimits},
		{"Mount", testMount},
		{"Cache", testCache},
		{"Concurrent", testConcurrent},
	} {
		t.Run(group.name, func(t *testing.T) { group.test(t, d) })
	}
}

func (d Driver) has(f Feature) bool { return d.Lacks&f == 0 }

// fstype offers a driver to mount(2).
type fstype struct {
	t *testing.T
	d Driver
}

func (fstype) Name() string   { return "driver" }
func (fstype) Flags() uintptr { return 0 }

func (t fstype) Mount(context.Context, vfs.MountRequest) (vfs.FileSystem, error) {
	return t.d.New(t.t), nil
}

// sys is one namespace with the driver as its root, seen by root.
type sys struct {
	t   testing.TB
	d   Driver
	ctx context.Context
	ns  *vfs.Namespace
	v   *vfs.View
}

// cwd is where relative paths start.
var cwd vfs.Path

func newSys(t *testing.T, d Driver, layout ...string) *sys {
	return newSysConfig(t, d, vfs.Config{}, layout...)
}

func newSysConfig(t *testing.T, d Driver, cfg vfs.Config, layout ...string) *sys {
	t.Helper()
	cfg.Root = d.New(t)
	cfg.RootType = "driver"
	cfg.Types = []vfs.FileSystemType{fstype{t, d}}
	ns, err := vfs.New(cfg)
	require.NoError(t, err, "new namespace")
	s := &sys{t: t, d: d, ctx: context.Background(), ns: ns, v: ns.NewView(vfs.RootCred())}
	s.v.SetUmask(0)
	t.Cleanup(func() {
		s.v.Release()
		require.NoError(t, ns.Close(context.Background()), "close namespace")
	})
	s.layout(layout...)
	return s
}

// as returns s as another user sees it.
func (s *sys) as(uid, gid uint32, groups ...uint32) *sys {
	u := *s
	u.v = s.v.Clone()
	u.v.SetCred(&vfs.Cred{RUID: uid, EUID: uid, SUID: uid, RGID: gid, EGID: gid, SGID: gid, Groups: groups})
	s.t.Cleanup(u.v.Release)
	return &u
}

// enter makes path the working directory, which the layout notation and all paths are then relative to.
func (s *sys) chdir(path string) {
	s.t.Helper()
	p, err := s.v.Walk(s.ctx, cwd, path, vfs.WalkFollow|vfs.WalkDirectory)
	require.NoError(s.t, err, "chdir %s", path)
	defer p.Put()
	s.v.SetCwd(p)
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
