package format

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

// Layout of an INODE item, little-endian; docs/sefs-format.md has the byte table.
const (
	inodeVersion = 1

	inodeOffVersion = 0
	inodeOffZero1   = 1 // 3 bytes
	inodeOffMode    = 4
	inodeOffUID     = 8
	inodeOffGID     = 12
	inodeOffNlink   = 16
	inodeOffXattrs  = 20
	inodeOffSize    = 24
	inodeOffBlocks  = 32
	inodeOffRdev    = 40
	inodeOffParent  = 48
	inodeOffAtime   = 56
	inodeOffMtime   = 68
	inodeOffCtime   = 80
	inodeOffBtime   = 92
	inodeOffZero2   = 104 // 8 bytes

	// InodeLen is the length of an INODE item in bytes.
	InodeLen = 112
)

// MaxFileSize is the largest size of a regular file in bytes.
const MaxFileSize = 1 << 52

// MaxNlink is the largest link count of an inode.
const MaxNlink = math.MaxUint32

// Inode is the content of an INODE item.
type Inode struct {
	Mode   uint32 // S_IF* | 07777
	UID    uint32
	GID    uint32
	Nlink  uint32
	Xattrs uint32 // extended attributes
	Size   uint64 // bytes; DirentSize per visible entry of a directory
	Blocks uint64 // 4096-byte blocks of data
	Rdev   uint64 // unix.Mkdev, device files only
	Parent uint64 // inode number of the parent, directories only

	Atime, Mtime, Ctime, Btime unix.Timespec
}

// DirentSize is what one visible entry adds to the size of its directory, in bytes.
const DirentSize = 32

// Append appends the item to dst.
func (n *Inode) Append(dst []byte) []byte {
	var b [InodeLen]byte
	le := binary.LittleEndian
	b[inodeOffVersion] = inodeVersion
	le.PutUint32(b[inodeOffMode:], n.Mode)
	le.PutUint32(b[inodeOffUID:], n.UID)
	le.PutUint32(b[inodeOffGID:], n.GID)
	le.PutUint32(b[inodeOffNlink:], n.Nlink)
	le.PutUint32(b[inodeOffXattrs:], n.Xattrs)
	le.PutUint64(b[inodeOffSize:], n.Size)
	le.PutUint64(b[inodeOffBlocks:], n.Blocks)
	le.PutUint64(b[inodeOffRdev:], n.Rdev)
	le.PutUint64(b[inodeOffParent:], n.Parent)
	putTime(b[inodeOffAtime:], n.Atime)
	putTime(b[inodeOffMtime:], n.Mtime)
	putTime(b[inodeOffCtime:], n.Ctime)
	putTime(b[inodeOffBtime:], n.Btime)
	return append(dst, b[:]...)
}

// DecodeInode decodes and checks an INODE item. Errors: ItemError.
func DecodeInode(val []byte) (Inode, error) {
	bad := func(reason string) (Inode, error) {
		return Inode{}, &ItemError{Item: "inode", Reason: reason}
	}
	if len(val) != InodeLen {
		return bad("wrong length")
	}
	if val[inodeOffVersion] != inodeVersion {
		return bad("unknown version")
	}
	le := binary.LittleEndian
	if le.Uint32(val[inodeOffVersion:])>>8 != 0 || le.Uint64(val[inodeOffZero2:]) != 0 {
		return bad("reserved bytes are set")
	}
	n := Inode{
		Mode:   le.Uint32(val[inodeOffMode:]),
		UID:    le.Uint32(val[inodeOffUID:]),
		GID:    le.Uint32(val[inodeOffGID:]),
		Nlink:  le.Uint32(val[inodeOffNlink:]),
		Xattrs: le.Uint32(val[inodeOffXattrs:]),
		Size:   le.Uint64(val[inodeOffSize:]),
		Blocks: le.Uint64(val[inodeOffBlocks:]),
		Rdev:   le.Uint64(val[inodeOffRdev:]),
		Parent: le.Uint64(val[inodeOffParent:]),
		Atime:  getTime(val[inodeOffAtime:]),
		Mtime:  getTime(val[inodeOffMtime:]),
		Ctime:  getTime(val[inodeOffCtime:]),
		Btime:  getTime(val[inodeOffBtime:]),
	}
	if reason := n.check(); reason != "" {
		return bad(reason)
	}
	return n, nil
}

// check returns what is impossible about n, or "".
func (n *Inode) check() string {
	device, dir := false, false
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if n.Size > MaxFileSize || n.Blocks > MaxFileSize/4096 {
			return "size too large"
		}
	case unix.S_IFDIR:
		dir = true
		if n.Size > math.MaxInt64 || n.Size%DirentSize != 0 {
			return "impossible directory size"
		}
	case unix.S_IFLNK:
		if n.Size == 0 || n.Size > MaxSymlink {
			return "impossible link length"
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		device = true
	case unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return "unknown file type"
	}
	for _, t := range [...]unix.Timespec{n.Atime, n.Mtime, n.Ctime, n.Btime} {
		if t.Nsec < 0 || t.Nsec >= 1e9 {
			return "impossible time"
		}
	}
	switch {
	case n.Mode&^(unix.S_IFMT|0o7777) != 0:
		return "unknown mode bits"
	case !device && n.Rdev != 0:
		return "device number on a file that is no device"
	case dir != (n.Parent != 0) || n.Parent >= MaxIno:
		return "impossible parent"
	}
	return ""
}

func putTime(b []byte, t unix.Timespec) {
	binary.LittleEndian.PutUint64(b, uint64(t.Sec))
	binary.LittleEndian.PutUint32(b[8:], uint32(t.Nsec))
}

func getTime(b []byte) unix.Timespec {
	return unix.Timespec{
		Sec:  int64(binary.LittleEndian.Uint64(b)),
		Nsec: int64(binary.LittleEndian.Uint32(b[8:])),
	}
}

// MaxSymlink is the longest target of a symbolic link in bytes, PATH_MAX without the NUL.
const MaxSymlink = unix.PathMax - 1

// SymlinkPiece is the most bytes of a target that one SYMLINK item holds; the
// item at offset i has the bytes from i*SymlinkPiece on.
const SymlinkPiece = 2048

// CheckSymlink checks a target put together from its items; size is the length
// that the inode has. Errors: ItemError.
func CheckSymlink(target []byte, size uint64) error {
	if uint64(len(target)) != size || size == 0 || size > MaxSymlink {
		return &ItemError{Item: "symlink", Reason: "length differs from the inode's"}
	}
	for _, c := range target {
		if c == 0 {
			return &ItemError{Item: "symlink", Reason: "NUL in the target"}
		}
	}
	return nil
}

// NextInoLen is the length of a NEXTINO item in bytes: the lowest inode number never given out.
const NextInoLen = 8

// AppendNextIno appends a NEXTINO item to dst.
func AppendNextIno(dst []byte, ino uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, ino)
}

// DecodeNextIno decodes a NEXTINO item. Errors: ItemError.
func DecodeNextIno(val []byte) (uint64, error) {
	if len(val) != NextInoLen {
		return 0, &ItemError{Item: "next inode number", Reason: "wrong length"}
	}
	ino := binary.LittleEndian.Uint64(val)
	if ino < FirstIno || ino > MaxIno {
		return 0, &ItemError{Item: "next inode number", Reason: "out of range"}
	}
	return ino, nil
}
