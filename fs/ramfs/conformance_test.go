package ramfs_test

import (
	"testing"

	"cloister/fs/ramfs"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, vfstest.Driver{
		New: func(t *testing.T) vfs.FileSystem { return ramfs.New(ramfs.Config{}) },
	})
}
