//go:build !ego

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const keyText = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"

func TestRun(t *testing.T) {
	for _, row := range []struct {
		name string
		key  string
	}{
		{"key sealed to the enclave", ""},
		{"key given", keyText},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("INENCLAVE_MACHINE", filepath.Join(dir, "state", "machine"))
			lower, upper := filepath.Join(dir, "lower: a"), filepath.Join(dir, "upper, b")
			require.NoError(t, os.Mkdir(lower, 0o700))
			require.NoError(t, os.Mkdir(upper, 0o700))
			args := []string{"-lower", lower, "-upper", upper}
			if row.key != "" {
				file := filepath.Join(dir, "key")
				require.NoError(t, os.WriteFile(file, []byte(row.key+"\n"), 0o600))
				args = append(args, "-key", file)
			}
			for range 2 { // the second run finds the image of the first
				var out bytes.Buffer
				require.NoError(t, run(t.Context(), args, &out))
				require.Contains(t, out.String(), "NOTICE: simulated enclave")
				require.Contains(t, out.String(), "/data/notes holds: today\n")
				require.Contains(t, out.String(), "mounted again: /data/notes/today is as it was written")
			}
			requireAbsent(t, upper, "Nobody outside", "today", "notes")

			entries, err := os.ReadDir(lower)
			require.NoError(t, err)
			require.Empty(t, entries, "the lower directory is left alone")
		})
	}
}

func TestRunTemporary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("INENCLAVE_MACHINE", filepath.Join(t.TempDir(), "machine"))
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out))
	require.Contains(t, out.String(), "mounted again")
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left, "temporary directories are removed")
}

func TestRunFails(t *testing.T) {
	t.Setenv("INENCLAVE_MACHINE", filepath.Join(t.TempDir(), "machine"))
	var out bytes.Buffer
	err := run(t.Context(), []string{"-lower", t.TempDir(), "-upper", filepath.Join(t.TempDir(), "missing")}, &out)
	require.ErrorIs(t, err, os.ErrNotExist, "mount over a missing upper directory")
}

// requireAbsent looks for texts in the names and bytes of a directory's files.
func requireAbsent(t *testing.T, dir string, texts ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, text := range texts {
			require.NotContains(t, d.Name(), text)
			require.False(t, bytes.Contains(data, []byte(text)), "%s holds %q", path, text)
		}
		return err
	})
	require.NoError(t, err)
	require.NotZero(t, files, "an image was written")
}
