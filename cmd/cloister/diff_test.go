package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"cloister/internal/treecopy"

	"github.com/stretchr/testify/require"
)

func TestDiff(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	require.NoError(t, os.Chmod(filepath.Join(e.source, "empty"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(e.source, "dir/sub/new\nline"), []byte("x"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(e.source, "fifo")))
	two := e.path("two")
	must(t, "build", "--from", e.source, "--image", two, "--image-key", e.key)
	beforeOne, beforeTwo := digest(t, e.image), digest(t, two)

	r := cloister(t, "diff", "--image-key", e.key, e.image, two)
	require.Equal(t, exitDiffer, r.code)
	require.Empty(t, r.err)
	require.Regexp(t, regexp.MustCompile(`^changed  /: mtime .* -> .*
changed  /dir/sub: mtime .* -> .*
added    "/dir/sub/new\\nline"
changed  /empty: mode 0600 -> 0644
removed  /fifo
$`), r.out)
	r = cloister(t, "diff", "--json", "--image-key", e.key, e.image, two)
	require.Equal(t, exitDiffer, r.code)
	var got diffResult
	require.NoError(t, json.Unmarshal([]byte(r.out), &got))
	require.False(t, got.Equal)
	require.Contains(t, got.Changes, treecopy.Change{Path: "/empty", Kind: treecopy.Changed, Differences: []treecopy.Difference{{What: "mode", Old: "0600", New: "0644"}}})
	require.Contains(t, must(t, "diff", "--json", "--image-key", e.key, e.image, e.image), `"equal": true`)

	t.Run("two keys", func(t *testing.T) {
		key2, three, sealed := e.path("key2"), e.path("three"), e.path("sealed")
		must(t, "gen-image-key", key2)
		must(t, "build", "--from", e.source, "--image", three, "--image-key", key2)
		must(t, "build", "--from", e.source, "--image", sealed, "--machine-secret", e.machine)
		must(t, "diff", "--image-key", e.key, "--image-key2", key2, two, three)
		must(t, "diff", "--image-key", e.key, "--machine-secret2", e.machine, two, sealed)
		must(t, "diff", "--machine-secret", e.machine, "--image-key2", e.key, sealed, two)
		refused(t, exitKey, "diff", "--image-key", e.key, two, three)
		refused(t, exitKey, "diff", "--image-key", key2, two, three)
		refused(t, exitKey, "diff", "--image-key", e.key, two, sealed)
		key, err := os.ReadFile(e.key)
		require.NoError(t, err)
		require.Zero(t, cloisterIn(t, string(key), "diff", "--image-key", "-", two, two).code, "the key is read once")
	})
	t.Run("a layer", func(t *testing.T) {
		upper := e.path("upper")
		must(t, "mkfs", "--image", upper, "--image-key", e.key)
		must(t, "import", "--image-key", e.key, "--upper", upper, e.image, e.key, "--to", "/dir/key")
		r := cloister(t, "diff", "--image-key", e.key, e.image, e.image, "--upper2", upper)
		require.Equal(t, exitDiffer, r.code, r.err)
		require.Contains(t, r.out, "added    /dir/key\n")
	})
	t.Run("errors are never code 1", func(t *testing.T) {
		refused(t, exitHost, "diff", e.image)
		refused(t, exitHost, "diff", "--frobnicate", e.image, two)
		refused(t, exitHost, "diff", "--image-key", "", e.image, two)
		refused(t, exitHost, "diff", "--image-key", e.path("none"), e.image, two)
		refused(t, exitImage, "diff", "--image-key", e.key, e.image, e.path("none"))
		r := cloisterIn(t, "", "diff", "--image-key", "-", "--image-key2", "-", e.image, two)
		require.Equal(t, exitHost, r.code)
	})
	require.Equal(t, beforeOne, digest(t, e.image), "reading changes nothing on the host")
	require.Equal(t, beforeTwo, digest(t, two), "reading changes nothing on the host")
}
