package unionfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/unionfs"
)

// What is read is what was written; anything else is EIO.
func FuzzOrigin(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := unionfs.RecodeOrigin(b)
		if err != nil {
			require.ErrorIs(t, err, unix.EIO)
			return
		}
		require.Equal(t, b, got)
	})
}

func FuzzLinkCount(f *testing.F) {
	for _, s := range []string{"U0", "U-1", "A3", "A", "", "X1", "U4294967296", "U99999999999999999999"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := unionfs.RecodeLinkCount(b)
		if err != nil {
			require.ErrorIs(t, err, unix.EIO)
			return
		}
		again, err := unionfs.RecodeLinkCount(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
