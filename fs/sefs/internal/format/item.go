package format

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ItemError reports an item of the tree that no version of this code writes,
// although it is authentic. It unwraps to EUCLEAN ("structure needs cleaning").
type ItemError struct {
	Item   string // "inode", "dirent", "xattr", "symlink", "orphan", "next inode number"
	Reason string
}

func (e *ItemError) Error() string { return fmt.Sprintf("format: %s item: %s", e.Item, e.Reason) }

// Unwrap returns unix.EUCLEAN.
func (e *ItemError) Unwrap() error { return unix.EUCLEAN }

// Numbers of inodes.
const (
	RootIno  = 1       // the root directory
	FirstIno = 16      // lowest number given to other files; 2 to 15 are kept free
	MaxIno   = 1 << 48 // numbers are below it
)
