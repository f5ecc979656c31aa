package sefs_test

import (
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
			Lacks: vfstest.ShiftRange,
			New: func(t *testing.T) vfs.FileSystem {
				fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: onStore(t, store.NewMemory())})
				require.NoError(t, err)
				return fs
			},
		})
	})
	t.Run("host", func(t *testing.T) {
		vfstest.Run(t, vfstest.Driver{
			Lacks: vfstest.ShiftRange,
			New: func(t *testing.T) vfs.FileSystem {
				fs, err := sefs.Make(t.Context(), t.TempDir(), sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: testKey(t)}})
				require.NoError(t, err)
				return fs
			},
		})
	})
}
