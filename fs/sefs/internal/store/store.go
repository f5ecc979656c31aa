// Package store is what a SEFS volume asks of the untrusted host: one
// directory, and in it files that are read, written and synced by path.
//
// Nothing the host answers is believed. Counts are checked, errno outside a
// short list become EIO, interrupted calls are repeated. What the bytes mean
// is for the layers above, which authenticate them.
package store

// Access says what a store or a volume is opened for.
type Access int

const (
	ReadWrite Access = iota // the only user
	ReadOnly                // one of several readers; writes nothing
)

// A Store is the directory of one volume. Names are relative, with '/' between
// components. Methods may be called concurrently.
//
// Errors wrap one unix.Errno: ENOENT, ENOTDIR, EACCES, ENOSPC, EDQUOT, EROFS
// and the like where they fit the call, EIO for the rest.
type Store interface {
	// Open opens an existing file: read(2) only, or for writing too.
	Open(name string, access Access) (File, error)
	// Create makes name an empty file, open for reading and writing.
	Create(name string) (File, error)
	// Mkdir makes a directory; EEXIST if the name is taken.
	Mkdir(name string) error
	// Unlink removes a file or an empty directory.
	Unlink(name string) error
	// Rename replaces to by from, as rename(2).
	Rename(from, to string) error
	// SyncDir makes the names in the volume's own directory durable where the
	// host can; a host that cannot is no error.
	SyncDir() error
	// Empty reports whether the directory holds nothing.
	Empty() (bool, error)
	// List returns at most most names of what is in the directory.
	List(most int) ([]string, error)
	// Lock takes the advisory lock of the volume: exclusive for ReadWrite,
	// which makes the lock file if there is none, shared for ReadOnly, which
	// returns ENOENT then. Closing the file releases it. EBUSY if it is held.
	Lock(access Access) (File, error)
	// Close closes every file and releases the lock. A closed store may be
	// used again.
	Close() error
}

// A File is one open file of a Store. Methods may be called concurrently.
type File interface {
	// ReadAt fills p from byte off on. n < len(p) without an error means that
	// the file ends there.
	ReadAt(p []byte, off int64) (n int, err error)
	// WriteAt writes all of p at byte off.
	WriteAt(p []byte, off int64) error
	// Sync makes what was written durable, as fdatasync(2).
	Sync() error
	Close() error
}
