package sefs

import "cloister/fs/sefs/internal/format"

// nextInoKey is the key of the lowest inode number that was never reserved.
var nextInoKey = format.Key{Type: format.TypeNextIno}

func inodeKey(ino uint64) format.Key { return format.Key{Ino: ino, Type: format.TypeInode} }

func direntKey(ino, off uint64) format.Key {
	return format.Key{Ino: ino, Type: format.TypeDirent, Off: off}
}

func xattrKey(ino, off uint64) format.Key {
	return format.Key{Ino: ino, Type: format.TypeXattr, Off: off}
}

func symlinkKey(ino, piece uint64) format.Key {
	return format.Key{Ino: ino, Type: format.TypeSymlink, Off: piece}
}

func orphanKey(ino uint64) format.Key { return format.Key{Type: format.TypeOrphan, Off: ino} }

// past returns the first key after all keys of k's inode and type.
func past(k format.Key) format.Key { return format.Key{Ino: k.Ino, Type: k.Type + 1} }
