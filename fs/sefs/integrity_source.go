package sefs

import (
	"context"

	"golang.org/x/sys/unix"
)

// A TreeDir is a directory of the tree that an integrity-only image is built from. Methods of
// one may be called concurrently. Their errors reach the caller of BuildIntegrity as they are.
type TreeDir interface {
	// Entries returns what is in the directory, in any order, "." and ".." left out.
	Entries(ctx context.Context) ([]TreeEntry, error)
	// Xattrs returns the extended attributes of the directory itself.
	Xattrs(ctx context.Context) (map[string][]byte, error)
	// Dir opens a directory in it. A symbolic link is an error.
	Dir(ctx context.Context, name string) (TreeDir, error)
	// Open opens a regular file in it. Anything else is an error.
	Open(ctx context.Context, name string) (TreeFile, error)
	Close() error
}

// A TreeFile is an open regular file of such a tree. Methods may be called concurrently.
type TreeFile interface {
	// ReadAt fills p with the bytes at off. n < len(p) without an error means that the
	// file ends there.
	ReadAt(ctx context.Context, p []byte, off int64) (n int, err error)
	// NextData returns an offset from off on, below which all bytes from off are zeros. off
	// itself is always right.
	NextData(ctx context.Context, off int64) (int64, error)
	Xattrs(ctx context.Context) (map[string][]byte, error)
	Close() error
}

// A TreeEntry is one name in a TreeDir.
type TreeEntry struct {
	Name     string
	Mode     uint32 // S_IF* and permission bits
	UID, GID uint32
	Size     int64 // regular files, in bytes
	Mtime    unix.Timespec
	Rdev     uint64 // devices, as makedev(3)
	Target   string // symbolic links

	// Link is the same for all names of one file, and for no other. Zero: the file
	// has no other name.
	Link [2]uint64
}
