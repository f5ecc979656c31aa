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
const lacks = vfstest.DirLinks | vfstest.Whiteouts

func newEmpty(t *testing.T) vfs.FileSystem {
	return newUnion(t, unionfs.UpperWritable, ramfs.New(ramfs.Config{}), ramfs.New(ramfs.Config{}))
}

func TestConformance(t *testing.T) {
	vfstest.Run(t, vfstest.Driver{New: newEmpty, Lacks: lacks})
}

// TestConformanceLower has the files with which a test begins in the lower
// layer, so that everything is copied up first.
func TestConformanceLower(t *testing.T) {
	vfstest.Run(t, vfstest.Driver{
		New: newEmpty,
		NewOver: func(t *testing.T, prepare func(lower vfs.FileSystem)) vfs.FileSystem {
			lower := ramfs.New(ramfs.Config{})
			prepare(lower)
			return newUnion(t, unionfs.UpperWritable, ramfs.New(ramfs.Config{}), lower)
		},
		Lacks: lacks | vfstest.LowerDirs,
	})
}
