package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// A FileSystemType makes file systems of one kind. It corresponds to struct
// file_system_type.
type FileSystemType interface {
	Name() string   // as in mount(2) and /proc/filesystems
	Flags() uintptr // MS_* attributes that all its mounts have, asked for or not; 0: none

	// Mount opens or makes a file system, another one at each call. The target has been resolved and
	// found good, so a failure leaves no trace on the host.
	Mount(ctx context.Context, req MountRequest) (FileSystem, error)
}

// MountRequest is what mount(2) was asked.
type MountRequest struct {
	Source string  // mount(2) source; "none" for NULL
	Flags  uintptr // MS_* flags of the superblock, e.g. MS_RDONLY
	Data   string  // option text; parse it with package mountopt
	Cred   *Cred   // the mounter's; a stacking driver acts on its layers with it
}

// A FileSystem is one mounted instance. It corresponds to struct
// super_operations. Methods are safe for concurrent use.
type FileSystem interface {
	Root() Dir                                         // the same, pinned, value for the life of the instance
	Statfs(ctx context.Context) (unix.Statfs_t, error) // statfs(2); Flags are the VFS's
	Sync(ctx context.Context) error                    // syncfs(2)
	Options() string                                   // for /proc/self/mountinfo, no secrets, "" for none

	// Close is called once nothing uses the instance. If its last flush fails it
	// returns the error and stays usable, so that the unmount can be refused, unless mode is another one than SafeClose:
	// then everything is released whatever happens.
	Close(ctx context.Context, mode CloseMode) error
}

// CloseMode says what Close does when the last flush fails.
type CloseMode int

const (
	SafeClose  CloseMode = iota // fail and stay open
	ForceClose                  // release everything (MNT_FORCE, MNT_DETACH)
	AbortClose                  // also undo what Mount has made: the mount has failed after all
)
