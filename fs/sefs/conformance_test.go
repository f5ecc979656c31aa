package sefs_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

// TestConformance runs the suite of all drivers over both kinds of stores. The
// suite closes the file systems.
func TestConformance(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		vfstest.Run(t, vfstest.Driver{
			New: func(t *testing.T) vfs.FileSystem {
				fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: onStore(t, store.NewMemory())})
				require.NoError(t, err)
				return fs
			},
		})
	})
	t.Run("host", func(t *testing.T) {
		vfstest.Run(t, vfstest.Driver{
			New: func(t *testing.T) vfs.FileSystem {
				fs, err := sefs.Make(t.Context(), memoryDir(t), sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: testKey(t)}})
				require.NoError(t, err)
				return fs
			},
		})
	})
}

// memoryDir returns a host directory that is in memory: the suite makes hundreds of
// images, and each would wait for the disk.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "sefs")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
