package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
)

// smallTree returns files by path: small and large ones in a few directories.
func smallTree(seed uint64) map[string][]byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	files := map[string][]byte{}
	for i, size := range []int{0, 1, 100, 1500, 2048, 2049, 4096, 5000, 70_000, 300_000, 1 << 20} {
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		files[fmt.Sprintf("dir%d/file%d-%d", i%3, seed, i)] = data
	}
	return files
}

// hostFiles returns the regular files below dir, as relative paths.
func hostFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		files[rel], err = os.ReadFile(path)
		return err
	}))
	return files
}

// restore makes dir hold exactly files.
func restore(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for rel := range hostFiles(t, dir) {
		if _, ok := files[rel]; !ok {
			require.NoError(t, os.Remove(filepath.Join(dir, rel)))
		}
	}
	for rel, data := range files {
		path := filepath.Join(dir, rel)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
}

// damage changes one thing in one of the files and says what it did.
func damage(rng *rand.Rand, dir string, files map[string][]byte) (string, error) {
	names := slices.Sorted(maps.Keys(files))
	name := names[rng.IntN(len(names))]
	path, data := filepath.Join(dir, name), bytes.Clone(files[name])
	if len(data) == 0 {
		return "appended to " + name, os.WriteFile(path, []byte("x"), 0o600)
	}
	// Half of the places are in the first 64 KiB, where the structures are.
	at := rng.IntN(len(data))
	if rng.IntN(2) == 0 {
		at = rng.IntN(min(len(data), 64<<10))
	}
	var what string
	switch rng.IntN(8) {
	case 0:
		what = fmt.Sprintf("cut %s to %d bytes", name, at)
		data = data[:at]
	case 1:
		other := rng.IntN(len(data))
		a, b := at&^4095, other&^4095
		if a+4096 > len(data) || b+4096 > len(data) || a == b {
			return damage(rng, dir, files)
		}
		what = fmt.Sprintf("swapped %d and %d of %s", a, b, name)
		block := bytes.Clone(data[a : a+4096])
		copy(data[a:], data[b:b+4096])
		copy(data[b:], block)
	default:
		bit := byte(1) << rng.IntN(8)
		what = fmt.Sprintf("flipped %#x at %d of %s", bit, at, name)
		data[at] ^= bit
	}
	return what, os.WriteFile(path, data, 0o600)
}

// readAll reads the whole mounted tree. Errors are fine; wrong bytes are not:
// what can be read must be what some committed state had.
// Each error must say which path it is about.
func readAll(t *testing.T, task *syscall.Task, path string, visit func(path string, data []byte)) (failed int) {
	names, err := readDir(task, path)
	if err != nil {
		requirePath(t, path, err)
		return 1
	}
	for _, name := range names {
		child := path + "/" + name
		if _, err := readDir(task, child); err == nil {
			failed += readAll(t, task, child, visit)
			continue
		}
		data, err := readFile(task, child)
		if err != nil {
			requirePath(t, child, err)
			failed++
			continue
		}
		visit(child, data)
	}
	return failed
}

// requirePath requires an error to name path.
func requirePath(t *testing.T, path string, err error) {
	t.Helper()
	named, ok := errors.AsType[*fs.PathError](err)
	require.True(t, ok, "%s: %v", path, err)
	require.Equal(t, path, named.Path, "%v", err)
}

// TestTamper damages either layer at random places: whatever can still be read
// is right.
func TestTamper(t *testing.T) {
	dir := scratch(t)
	lower, upper, tree := filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), filepath.Join(dir, "tree")
	want := map[string][]byte{}
	for rel, data := range smallTree(1) {
		path := filepath.Join(tree, rel)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o644))
		want["/data/"+rel] = data
	}
	buildImage(t, tree, lower)
	require.NoError(t, os.Mkdir(upper, 0o755))

	p := platform(t, "m", "s")
	lib, task := start(t, p)
	mountUnion(t, task, lower, upper, keyA)
	for rel, data := range smallTree(2) {
		require.NoError(t, writeFile(task, "/data/"+rel, data))
		want["/data/"+rel] = data
	}
	task.Sync()
	require.NoError(t, task.Umount2("/data", 0))
	task.Exit()
	require.NoError(t, lib.Close(context.Background()))

	pristine := map[string]map[string][]byte{lower: hostFiles(t, lower), upper: hostFiles(t, upper)}
	rng := rand.New(rand.NewPCG(5, 6))
	refused, partial, whole := 0, 0, 0
	n := rounds(300, 2000)
	for range n {
		layer := []string{lower, upper}[rng.IntN(2)]
		what, err := damage(rng, layer, pristine[layer])
		require.NoError(t, err)

		lib, task := start(t, p)
		require.NoError(t, task.Mkdir("/data", 0o755))
		if err := task.Mount("unionfs", "/data", "unionfs", 0, options(lower, upper, keyA)); err != nil {
			refused++
		} else {
			seen := 0
			failed := readAll(t, task, "/data", func(path string, data []byte) {
				right, ok := want[path]
				require.True(t, ok, "%s in %s: %s is not a file of ours", what, layer, path)
				require.True(t, bytes.Equal(right, data), "%s in %s: wrong bytes in %s", what, layer, path)
				seen++
			})
			if failed == 0 {
				require.Equal(t, len(want), seen, "%s in %s: files are missing and nothing failed", what, layer)
				whole++
			} else {
				partial++
			}
		}
		lib.Kill()
		restore(t, lower, pristine[lower])
		restore(t, upper, pristine[upper])
	}
	t.Logf("%d damages: mount refused %d, some files failed %d, everything read right %d", n, refused, partial, whole)
}

// TestRefused shows that a wrong key, another signer and another machine are refused and change nothing.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name            string
		key, wrongKey   string
		machine, signer string
	}{
		{"wrong key", keyA, keyB, "m", "s"},
		{"no key", keyA, "", "m", "s"},
		{"key for a sealed image", "", keyA, "m", "s"},
		{"other machine", "", "", "m2", "s"},
		{"other signer", "", "", "m", "s2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lower, upper := emptyLayers(t)
			lib, task := start(t, platform(t, "m", "s"))
			mountUnion(t, task, lower, upper, tt.key)
			require.NoError(t, writeFile(task, "/data/file", []byte("content")))
			require.NoError(t, task.Umount2("/data", 0))
			task.Exit()
			require.NoError(t, lib.Close(context.Background()))
			before := hashDir(t, filepath.Dir(upper))

			_, task = start(t, platform(t, tt.machine, tt.signer))
			require.NoError(t, task.Mkdir("/data", 0o755))
			err := task.Mount("unionfs", "/data", "unionfs", 0, options(lower, upper, tt.wrongKey))
			require.ErrorIs(t, err, unix.EACCES)
			require.NotContains(t, err.Error(), "32-b3-ed", "the text shows no key")
			require.Equal(t, before, hashDir(t, filepath.Dir(upper)), "a refused mount changes nothing")

			_, task = start(t, platform(t, "m", "s"))
			mountUnion(t, task, lower, upper, tt.key)
			data, err := readFile(task, "/data/file")
			require.NoError(t, err)
			require.Equal(t, "content", string(data))
		})
	}
}
