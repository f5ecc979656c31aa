package unionfs_test

import (
	"testing"

	"cloister/fs/ramfs"
	"cloister/fs/unionfs"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

// A union does what any file system does. Its root is a merged directory, and
// those always have one link; whiteouts are its own business.
func TestConformance(t *testing.T) {
	vfstest.Run(t, vfstest.Driver{
		New: func(t *testing.T) vfs.FileSystem {
			return newUnion(t, unionfs.UpperWritable, ramfs.New(ramfs.Config{}), ramfs.New(ramfs.Config{}))
		},
		Lacks: vfstest.DirLinks | vfstest.Whiteouts,
	})
}
