package treecopy_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/internal/treecopy"
)

func TestHostTree(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("file"), []byte("content"), 0o640))
	require.NoError(t, os.Link(at("file"), at("other")))
	require.NoError(t, os.Mkdir(at("sub"), 0o700))
	require.NoError(t, os.Symlink("file", at("link")))
	require.NoError(t, os.Symlink("sub", at("way")))
	require.NoError(t, unix.Mkfifo(at("fifo"), 0o600))
	require.NoError(t, unix.Truncate(at("file"), 7))
	sparse, err := os.Create(at("sub/sparse"))
	require.NoError(t, err)
	_, err = sparse.WriteAt([]byte("end"), 5<<20)
	require.NoError(t, err)
	require.NoError(t, sparse.Truncate(9<<20))
	require.NoError(t, sparse.Close())

	tree, top, err := treecopy.OpenHostTree(dir)
	require.NoError(t, err)
	defer tree.Close()
	require.EqualValues(t, unix.S_IFDIR, top.Mode&unix.S_IFMT)
	entries, err := tree.Entries(t.Context())
	require.NoError(t, err)
	byName := make(map[string]sefs.TreeEntry)
	for _, e := range entries {
		byName[e.Name] = e
	}
	require.Len(t, byName, 6)
	require.Equal(t, "file", byName["link"].Target)
	require.EqualValues(t, 7, byName["file"].Size)
	require.NotZero(t, byName["file"].Link)
	require.Equal(t, byName["file"].Link, byName["other"].Link)
	require.Zero(t, byName["fifo"].Link)

	f, err := tree.Open(t.Context(), "file")
	require.NoError(t, err)
	b := make([]byte, 100)
	n, err := f.ReadAt(t.Context(), b, 3)
	require.NoError(t, err)
	require.Equal(t, "tent", string(b[:n]))
	n, err = f.ReadAt(t.Context(), b, 7)
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, f.Close())

	sub, err := tree.Dir(t.Context(), "sub")
	require.NoError(t, err)
	defer sub.Close()
	f, err = sub.Open(t.Context(), "sparse")
	require.NoError(t, err)
	defer f.Close()
	for _, off := range []int64{0, 5 << 20, 8 << 20} {
		data, err := f.NextData(t.Context(), off)
		require.NoError(t, err)
		require.GreaterOrEqual(t, data, off)
		require.LessOrEqual(t, data, int64(9<<20))
		if off == 0 {
			require.LessOrEqual(t, data, int64(5<<20), "the data is not left out")
		}
	}

	// What is no longer what it was when it was listed is refused.
	place := func(err error, want unix.Errno) {
		t.Helper()
		require.ErrorIs(t, err, want)
		_, ok := errors.AsType[*treecopy.Error](err)
		require.True(t, ok, "%v", err)
	}
	_, err = tree.Open(t.Context(), "link")
	place(err, unix.ELOOP)
	_, err = tree.Open(t.Context(), "fifo")
	place(err, unix.EINVAL)
	_, err = tree.Open(t.Context(), "sub")
	place(err, unix.EINVAL)
	_, err = tree.Open(t.Context(), "missing")
	place(err, unix.ENOENT)
	_, err = tree.Dir(t.Context(), "way")
	place(err, unix.ENOTDIR)
	_, err = tree.Dir(t.Context(), "file")
	place(err, unix.ENOTDIR)
	_, _, err = treecopy.OpenHostTree(at("missing"))
	place(err, unix.ENOENT)
}
