package treecopy_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/mountopt"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
)

func key(t *testing.T) mountopt.Key {
	t.Helper()
	key, err := mountopt.ParseKey(strings.Repeat("5a", 16))
	require.NoError(t, err)
	return key
}

// image builds an image and opens it for reading.
func image(t *testing.T, cfg instance.BuildConfig) vfs.Path {
	t.Helper()
	cfg.Image, cfg.Key = filepath.Join(t.TempDir(), "image"), key(t)
	_, err := instance.Build(t.Context(), cfg)
	require.NoError(t, err)
	i, err := instance.Open(t.Context(), instance.Config{Image: cfg.Image, Key: cfg.Key, ReadOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close(context.Background())) })
	return i.Root()
}

// TestThroughImages takes the odd tree into an image, and from there to the host and to an
// archive, and back into images.
func TestThroughImages(t *testing.T) {
	src := oddTree(t)
	first := image(t, instance.BuildConfig{Source: src})
	require.Empty(t, changes(t, copied(t, src), first), "the image is the tree")

	dst := t.TempDir()
	_, err := treecopy.Extract(t.Context(), treecopy.ExtractConfig{Source: first, Cred: vfs.RootCred()}, dst)
	require.NoError(t, err)
	require.Empty(t, changes(t, first, image(t, instance.BuildConfig{Source: dst})))

	archive := writeTar(t, first)
	second := image(t, instance.BuildConfig{Source: "archive", Archive: bytes.NewReader(archive)})
	require.Empty(t, changes(t, first, second))
	require.True(t, bytes.Equal(archive, writeTar(t, second)), "equal images give equal archives")
}

// TestHeld shows that a run of changes is one commit.
func TestHeld(t *testing.T) {
	dir, src := filepath.Join(t.TempDir(), "image"), oddTree(t)
	_, err := instance.Build(t.Context(), instance.BuildConfig{Image: dir, Key: key(t)})
	require.NoError(t, err)
	open := func(held bool) *instance.Instance {
		i, err := instance.Open(t.Context(), instance.Config{Image: dir, Key: key(t), Held: held, ReadOnly: !held})
		require.NoError(t, err)
		return i
	}
	add := func(i *instance.Instance) {
		_, err := treecopy.CopyEntry(t.Context(), treecopy.Config{Target: i.Root(), Cred: vfs.RootCred(), Replace: true}, src, "tree")
		require.NoError(t, err)
	}
	names := func() (names []string) {
		i := open(false)
		defer i.Close(t.Context())
		list, err := treecopy.ReadDir(t.Context(), vfs.RootCred(), i.Root())
		require.NoError(t, err)
		for _, e := range list {
			names = append(names, e.Name)
		}
		return names
	}
	i := open(true)
	add(i)
	require.False(t, i.Abandon(), "nothing was committed on the way")
	require.Empty(t, names())
	i = open(true)
	add(i)
	require.NoError(t, i.Close(t.Context()))
	require.Equal(t, []string{"tree"}, names())

	i = open(true)
	add(i)
	require.NoError(t, os.WriteFile(filepath.Join(src, "more"), nil, 0o600))
	add(i)
	require.NoError(t, i.View().Namespace().Sync(t.Context()))
	require.True(t, i.Abandon(), "there was a commit")
}
