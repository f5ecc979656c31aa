package sefs

import (
	"log/slog"

	"cloister/fs/sefs/internal/format"
)

// SetHash makes fs hash names with fn, so that tests can make names collide.
func (fs *FS) SetHash(fn func(name string) uint64) { fs.hash = fn }

// Items returns the number of items in the tree that belong to inode ino, by type.
func (fs *FS) Items(ino uint64) map[uint8]int {
	n := make(map[uint8]int)
	err := fs.vol.Scan(format.Key{Ino: ino}, format.Key{Ino: ino + 1}, func(k format.Key, _ []byte) bool {
		n[k.Type]++
		return true
	})
	if err != nil {
		panic(err)
	}
	return n
}

// MaxDirty is the length of the list of changed inodes that writes it out.
const MaxDirty = maxDirty

// WarnOfSlowAES is the warning of a mount where the processor is fast or not.
func WarnOfSlowAES(log *slog.Logger, fast bool) { warnOfSlowAES(log, "image", fast) }
