package vfstest

import (
	"testing"

	"cloister/vfs"
)

// Feature is a set of what drivers may lack.
type Feature uint32

// The features, each with the errno of a driver that lacks it.
const (
	Links          Feature = 1 << iota // hard links; EPERM
	Symlinks                           // EPERM
	Devices                            // device nodes; EPERM
	FIFOs                              // FIFOs and sockets; EPERM
	Owners                             // chown(2) to other users, files of several users; EPERM
	Times                              // utimensat(2) with given times; EPERM
	Xattrs                             // EOPNOTSUPP
	TrustedXattrs                      // the namespace trusted.*; EOPNOTSUPP
	Tmpfile                            // EOPNOTSUPP
	Exchange                           // RENAME_EXCHANGE; EINVAL
	Whiteouts                          // Dir.Whiteout and RENAME_WHITEOUT; EINVAL
	Allocate                           // fallocate(2) with mode 0 and FALLOC_FL_KEEP_SIZE; EOPNOTSUPP
	PunchHole                          // EOPNOTSUPP
	ZeroRange                          // EOPNOTSUPP
	ShiftRange                         // FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE; EOPNOTSUPP
	Sparse                             // holes take no blocks and SEEK_HOLE finds them; no errno: all is data
	DirLinks                           // link counts of directories count subdirectories; no errno: 1 or more
	RootParent                         // d_ino of ".." in the root is the root's; no errno: any
	ProtectedLinks                     // links only to files of one's own or that one can write (fs.protected_hardlinks of proc(5)); no errno: links to all
	LowerDirs                          // directories that lie in a lower layer are renamed; EXDEV
	ReadTimes                          // all reads note their time; no errno: those that a cache answers do not
)

// Driver is what Run tests.
type Driver struct {
	// New returns a fresh, empty file system.
	New func(t *testing.T) vfs.FileSystem

	// Lacks are the features that the driver does not have.
	Lacks Feature

	// Block is the size of the driver's blocks in bytes, for the table of boundary sizes; 0: 4096.
	Block int

	// HugeFiles says that files can have 1<<63-1 bytes. Otherwise that is EFBIG.
	HugeFiles bool

	// NewOver, if not nil, returns a fresh file system that shows the files of another one which prepare makes: prepare
	// mounts and unmounts lower. The files with which a test begins are then made in lower, others in the file system
	// itself. New is still needed, for mount(2).
	NewOver func(t *testing.T, prepare func(lower vfs.FileSystem)) vfs.FileSystem

	// start returns root's first process; nil: through vfs.View. See System.
	start func(t *testing.T, prepare func(process)) process
}

// group is a part of the suite.
type group struct {
	name string
	test func(*testing.T, Driver)
}

// everywhere are the groups that need nothing but a process.
var everywhere = []group{
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
	{"Limits", testLimits},
	{"Mount", testMount},
	{"Concurrent", testConcurrent},
}

// inProcess are the groups that need more than a process has.
var inProcess = []group{
	{"Whiteout", testWhiteout},         // Dir.Whiteout is no system call, and a process does not see that a new file replaces a whiteout
	{"Cache", testCache},               // the bound of the dentry cache is a setting of the VFS
	{"CacheConcurrent", testCacheRace}, // likewise
	{"AccessTime", testAccessTime},     // a day has to pass, and the clock is a setting of the VFS
}

// Run runs the whole suite in this process.
func Run(t *testing.T, d Driver) {
	run(t, d, everywhere)
	run(t, d, inProcess)
}

func run(t *testing.T, d Driver, groups []group) {
	if d.Block == 0 {
		d.Block = 4096
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { g.test(t, d) })
	}
}

func (d Driver) has(f Feature) bool { return d.Lacks&f == 0 }
