// Package format encodes and decodes the structures that SEFS keeps on the
// host: pure functions over byte slices, without I/O and without keys. The
// byte tables are in docs/sefs-format.md.
//
// Whatever is decoded here may come from a hostile host: every length and
// count is checked against the bytes that are there, and no input makes a
// function panic or allocate more than its own size.
package format

import (
	"cmp"
	"encoding/binary"
)

// BlockSize is the unit of allocation, of encryption and of file data, in bytes.
const BlockSize = 4096

// MaxValue is the longest value that an item can have, in bytes. Three items
// of this size fit into one node, which is what splitting needs.
const MaxValue = 2600

// KeySize is the encoded length of a Key, in bytes.
const KeySize = 17

// Item types, the second part of a Key.
const (
	TypeInode   uint8 = 1 // attributes of an inode
	TypeInline  uint8 = 2 // block 0 of a small file
	TypeExtent  uint8 = 3 // file data; Off is the number of the first block
	TypeDirent  uint8 = 4 // directory entries; Off is the hash of the name
	TypeXattr   uint8 = 5 // extended attributes; Off is the hash of the name
	TypeSymlink uint8 = 6 // target of a symbolic link
	TypeOrphan  uint8 = 7 // inode without a name; Ino is 0, Off the inode number
	TypeSegment uint8 = 8 // blocks in use in a segment; Ino is 0, Off the segment number
	TypeNextIno uint8 = 9 // next free inode number; Ino is 0
)

// A Key orders the items of a volume: by inode, then by type, then by offset.
// Keys with Ino 0 belong to the volume as a whole.
type Key struct {
	Ino  uint64
	Type uint8
	Off  uint64
}

// Compare returns -1, 0 or +1 as k sorts before, with or after o.
func (k Key) Compare(o Key) int {
	switch {
	case k.Ino != o.Ino:
		return cmp.Compare(k.Ino, o.Ino)
	case k.Type != o.Type:
		return cmp.Compare(k.Type, o.Type)
	default:
		return cmp.Compare(k.Off, o.Off)
	}
}

// Less reports whether k sorts before o.
func (k Key) Less(o Key) bool { return k.Compare(o) < 0 }

// PutKey writes k to the first KeySize bytes of b, big endian, so that encoded
// keys compare as bytes.
func PutKey(b []byte, k Key) {
	_ = b[KeySize-1]
	binary.BigEndian.PutUint64(b, k.Ino)
	b[8] = k.Type
	binary.BigEndian.PutUint64(b[9:], k.Off)
}

// GetKey reads a key from the first KeySize bytes of b.
func GetKey(b []byte) Key {
	_ = b[KeySize-1]
	return Key{Ino: binary.BigEndian.Uint64(b), Type: b[8], Off: binary.BigEndian.Uint64(b[9:])}
}
