package hostfs

import "golang.org/x/sys/unix"

// FD is what a Host calls something that it has opened: 0 or more.
type FD int

// Caps are bits that tell what a Host can do besides reading, writing, creating,
// renaming and removing files and directories. A call that the host lacks fails
// with the errno of a file system that lacks it, and is not sent.
type Caps uint32

const (
	CanChown       Caps = 1 << iota // Chown to any owner; the host's owners are shown
	CanChmod                        // Chmod
	CanUtimes                       // Utimes
	CanLink                         // Link
	CanSymlink                      // Symlink, Readlink
	CanExchange                     // Rename with flags
	CanFallocate                    // Fallocate
	CanSeekData                     // Seek with SEEK_DATA and SEEK_HOLE
	CanXattr                        // the calls on extended attributes
	CanStatfs                       // Statfs
	CanReopen                       // Reopen
	CanStatBeneath                  // StatBeneath
)

// Host makes the calls on the host, each like the Linux system call of its name.
// Its answers need not be right: the caller checks them. It is safe for concurrent
// use, Append and Seek on one FD aside.
//
// A name is one component; it never names, or resolves through, a symbolic link,
// unless the method says that it acts on links. Stat, Chmod, Chown, Utimes and the
// calls on extended attributes take any FD, the other calls on files one of
// OpenFile or Create.
type Host interface {
	Caps() Caps

	// OpenRoot opens the directory to mount, following links. Errors: ENOENT, ENOTDIR.
	OpenRoot(dir string) (FD, error)
	// OpenPath opens a file of any type, a link itself, only to refer to it (O_PATH).
	OpenPath(dir FD, name string) (FD, error)
	// OpenFile opens a regular file. flags: the access mode, O_NOATIME.
	// It does not wait if the name is that of a FIFO or a device.
	OpenFile(dir FD, name string, flags int) (FD, error)
	// Reopen opens the regular file that fd refers to, which may have lost its name.
	Reopen(fd FD, flags int) (FD, error)
	// OpenDir opens the directory that dir refers to for Getdents and Fsync.
	OpenDir(dir FD) (FD, error)
	// Create makes a regular file and opens it for reading and writing. Errors: EEXIST.
	Create(dir FD, name string, mode uint32) (FD, error)
	Close(fd FD) error

	// Stat does statx(2) of name in fd, a link itself, or of fd if name is "".
	Stat(fd FD, name string) (unix.Statx_t, error)
	// StatBeneath does statx(2) of a path of names below dir, all of them but the last directories. It fails,
	// whatever is done to them meanwhile, if one is a link or the path leads out of dir.
	StatBeneath(dir FD, path string) (unix.Statx_t, error)
	Statfs(fd FD) (unix.Statfs_t, error)
	// Readlink reads the link name in dir, or dir itself if name is "".
	Readlink(dir FD, name string, buf []byte) (int, error)
	// Getdents fills buf with records of getdents64(2).
	Getdents(fd FD, buf []byte) (int, error)

	Mkdir(dir FD, name string, mode uint32) error
	Symlink(target string, dir FD, name string) error
	// Link makes another name of a file, of a link itself.
	Link(oldDir FD, oldName string, dir FD, name string) error
	Unlink(dir FD, name string) error
	Rmdir(dir FD, name string) error
	Rename(oldDir FD, oldName string, dir FD, name string, flags uint32) error

	Pread(fd FD, p []byte, off int64) (int, error)
	Pwrite(fd FD, p []byte, off int64) (int, error)
	// Append writes at the end of file, wherever that is when the host does it
	// (O_APPEND), and returns the offset after the last byte.
	Append(fd FD, p []byte) (n int, end int64, err error)
	Seek(fd FD, off int64, whence int) (int64, error)
	Truncate(fd FD, size int64) error
	Fallocate(fd FD, mode uint32, off, n int64) error
	Fsync(fd FD, datasync bool) error

	Chmod(fd FD, mode uint32) error
	Chown(fd FD, uid, gid int) error // -1: as it is
	Utimes(fd FD, ts [2]unix.Timespec) error
	Getxattr(fd FD, name string, buf []byte) (int, error)
	Setxattr(fd FD, name string, value []byte, flags int) error
	Listxattr(fd FD, buf []byte) (int, error)
	Removexattr(fd FD, name string) error
}
