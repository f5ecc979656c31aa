package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// An Inode is one file of any type: struct inode with its inode_operations. A
// driver implements it by embedding InodeState by value and, for all types but
// special files, one of Dir, Regular and Symlink. A file's type never changes.
//
// The methods of Inode itself are called with no VFS lock promised and must be
// safe for concurrent use.
type Inode interface {
	// Getattr returns the attributes; mask holds the STATX_* bits that the
	// caller will read, so that a driver may leave expensive ones out. It is on
	// the path of every walk: a driver serves it from memory. A walk takes no
	// references on the directories that it passes, so Getattr may be called during and after
	// Evict; the answer is then thrown away, but the call must do no harm.
	Getattr(ctx context.Context, mask uint32) (Attr, error)

	// Setattr changes what sa.Mask names, all of it or nothing. The VFS has
	// checked permissions and settled times and set-id bits. STATX_ATIME alone is the update
	// after a read, which a driver may leave out. Errors: EFBIG, ENOSPC for the size.
	Setattr(ctx context.Context, sa SetAttr) error

	// Xattrs returns the extended attributes, or nil where the driver keeps
	// none (the calls then fail with EOPNOTSUPP; see xattr(7)).
	Xattrs() Xattrs

	// Evict is called once, when nothing pins the inode any more. The driver
	// forgets the inode and, if no name is left, frees its storage. Any call that gives a reference back
	// may lead here, so drivers give references back without locks that their Evict takes.
	Evict(ctx context.Context) error

	state() *InodeState
}

// Regular is a regular file.
type Regular interface {
	Inode

	// Open returns the driver's part of one open file description. flags holds
	// the O_* access mode and status bits; O_CREAT, O_EXCL and O_TRUNC have
	// been dealt with, but O_TRUNC says that Setattr is about to drop the
	// content: a stacking driver need not copy it.
	Open(ctx context.Context, flags int) (Handle, error)
}

// Symlink is a symbolic link.
type Symlink interface {
	Inode

	// Readlink returns the target, 1 to 4095 bytes.
	Readlink(ctx context.Context) (string, error)
}

// Dir is a directory. Its methods are called with the lock of the directory's
// dentry held: shared for OpenDir and the DirHandle's ReadDir, exclusive for the rest
// (Rename: both directories). name is one component of 1 to 255 bytes without
// '/' and NUL, never "." or "..". Permission has been checked.
//
// Lookup and the creators return the inode pinned once (InodeState.Pin or
// TryPin); the same file is always the same Inode value while it is pinned.
//
// All calls that change names set mtime and ctime of the directories and ctime of the
// files concerned: the creators to CreateAttr.Time, the others to the driver's clock.
//
// A whiteout is an entry that hides a name in lower layers. Lookup and ReadDir show it as a
// character device 0:0 (IsWhiteout). Creators, Link and Rename replace a whiteout as if the
// name were absent, atomically; Rmdir and Rename do not count whiteouts as content.
type Dir interface {
	Inode

	// Lookup finds name. Errors: ENOENT.
	Lookup(ctx context.Context, name string) (Inode, error)

	Create(ctx context.Context, name string, a CreateAttr) (Regular, error)
	Mkdir(ctx context.Context, name string, a CreateAttr) (Dir, error)
	Symlink(ctx context.Context, name, target string, a CreateAttr) (Symlink, error)

	// Mknod makes a special file of the type in a.Mode. Errors: EPERM where the
	// driver has no special files.
	Mknod(ctx context.Context, name string, rdev uint64, a CreateAttr) (Inode, error)

	// Tmpfile makes a regular file without a name (O_TMPFILE); Link may name it later.
	// Errors: EOPNOTSUPP.
	Tmpfile(ctx context.Context, a CreateAttr) (Regular, error)

	Link(ctx context.Context, name string, target Inode) error
	Unlink(ctx context.Context, name string, child Inode) error

	// Rmdir removes the empty directory child. Errors: ENOTEMPTY.
	Rmdir(ctx context.Context, name string, child Dir) error

	// Rename moves an entry; see the Rename type.
	Rename(ctx context.Context, r Rename) error

	// Whiteout atomically replaces name by a whiteout. child is what name
	// stands for now, nil if it is absent; a directory must be empty
	// (ENOTEMPTY). Errors: EINVAL where the driver has no whiteouts.
	Whiteout(ctx context.Context, name string, child Inode) error

	OpenDir(ctx context.Context) (DirHandle, error)
}

// Rename is one rename inside a file system. The receiver of Dir.Rename is the old parent.
// The VFS has excluded: equal inodes, "." and "..", loops, RENAME_NOREPLACE on an existing
// target, type mismatches (EISDIR, ENOTDIR), mount points.
type Rename struct {
	OldName string
	Child   Inode // what OldName stands for
	NewDir  Dir   // may be the receiver
	NewName string
	Target  Inode  // what NewName stands for; nil if absent or, but for RENAME_EXCHANGE, a whiteout. A directory must be empty (ENOTEMPTY)
	Flags   uint32 // RENAME_EXCHANGE, RENAME_WHITEOUT; EINVAL if the driver cannot
}

// A Handle is the driver's part of one open regular file. No VFS lock is held;
// the methods are safe for concurrent use. Those that change the content set mtime and ctime to the
// driver's clock.
type Handle interface {
	// ReadAt reads up to len(p) bytes at byte offset off; 0, nil at and past the end of file.
	// A short count before the end of file is never returned.
	ReadAt(ctx context.Context, p []byte, off int64) (n int, err error)

	// WriteAt writes p at off. n < len(p) only together with an error.
	// Errors: EFBIG, ENOSPC, EIO.
	WriteAt(ctx context.Context, p []byte, off int64) (n int, err error)

	// Append writes p at the end of file, atomically (O_APPEND), and returns the
	// offset after the last byte.
	Append(ctx context.Context, p []byte) (n int, end int64, err error)

	// Fallocate does fallocate(2); mode holds FALLOC_FL_* bits. Errors: EOPNOTSUPP.
	Fallocate(ctx context.Context, mode uint32, off, n int64) error

	// Seek returns the next data (SEEK_DATA) or hole (SEEK_HOLE) at or after off.
	// Errors: ENXIO.
	Seek(ctx context.Context, off int64, whence int) (int64, error)

	Fsync(ctx context.Context, datasync bool) error
	Release(ctx context.Context) error
}

// A DirHandle is one open directory.
type DirHandle interface {
	// ReadDir calls emit for each entry after position pos, without "." and
	// "..", until emit returns false, which means that it has not taken the entry. pos is 0 or the Pos of an entry emitted
	// earlier (telldir(3)); entries that exist throughout are emitted exactly once.
	ReadDir(ctx context.Context, pos uint64, emit func(Dirent) bool) error
	Fsync(ctx context.Context, datasync bool) error
	Release(ctx context.Context) error
}

// Dirent is one directory entry.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8  // DT_*
	Pos  uint64 // position after this entry: 3 or more, at most 1<<63-1
}

// Xattrs are the extended attributes of an inode. Names carry their namespace
// ("user.x"). The namespace "overlay." belongs to stacking drivers: the system
// calls neither show nor accept it.
type Xattrs interface {
	Getxattr(ctx context.Context, name string) ([]byte, error) // ENODATA
	// flags: XATTR_CREATE (EEXIST), XATTR_REPLACE (ENODATA). Errors: ENOSPC, E2BIG.
	Setxattr(ctx context.Context, name string, value []byte, flags int) error
	Listxattr(ctx context.Context) ([]string, error)
	Removexattr(ctx context.Context, name string) error // ENODATA
}

// A Revalidator is a Dir whose entries change behind the VFS (a host directory).
// It is the only interface found by type assertion.
type Revalidator interface {
	// Revalidate reports whether name still stands for child (nil: for nothing), and if it does returns
	// the attributes of child, as its Getattr would. With Attr.Mask 0 they are asked for again. The directory's dentry lock
	// is not held.
	Revalidate(ctx context.Context, name string, child Inode) (attr Attr, ok bool)

	// RevalidatePath reports whether path, names with a slash between them, still leads from here to
	// child, and through nothing but directories. A driver that cannot tell by fewer calls than one for each name returns
	// false: then Revalidate is called for each. No dentry lock is held.
	RevalidatePath(ctx context.Context, path string, child Dir) bool
}

// Attr are the attributes of an inode, as statx(2) has them.
type Attr struct {
	Mask    uint32 // STATX_* bits that are valid
	Mode    uint32 // type and permission bits, S_IF* | 07777
	Nlink   uint32
	UID     uint32
	GID     uint32
	Ino     uint64
	Size    int64  // bytes
	Blocks  int64  // 512-byte blocks
	Blksize uint32 // bytes
	Rdev    uint64 // unix.Mkdev
	Atime   unix.Timespec
	Mtime   unix.Timespec
	Ctime   unix.Timespec
	Btime   unix.Timespec
}

// IsWhiteout reports whether the attributes are those of a whiteout (fs.h: IS_WHITEOUT).
func (a *Attr) IsWhiteout() bool {
	return a.Mode&unix.S_IFMT == unix.S_IFCHR && a.Rdev == 0
}

// SetAttr names changes of attributes, as struct iattr does.
type SetAttr struct {
	Mask  uint32 // STATX_MODE, STATX_UID, STATX_GID, STATX_SIZE, STATX_ATIME, STATX_MTIME, STATX_CTIME
	Mode  uint32 // permission bits only
	UID   uint32
	GID   uint32
	Size  int64
	Atime unix.Timespec
	Mtime unix.Timespec
	Ctime unix.Timespec
}

// CreateAttr are the attributes of a new file.
type CreateAttr struct {
	Mode   uint32 // permission bits (umask applied); Mknod: with type
	UID    uint32
	GID    uint32
	Time   unix.Timespec     // atime, mtime, ctime, btime of the new file; mtime and ctime of the directory
	Xattrs map[string][]byte // set in the same step, e.g. "overlay.opaque"; nil: none. EOPNOTSUPP where the driver keeps none
}
