package sim_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave/sim"
)

func TestLoadMachine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "machine")
	first, err := sim.LoadMachine(file)
	require.NoError(t, err)
	require.Len(t, first, 32)
	st, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode())

	again, err := sim.LoadMachine(file)
	require.NoError(t, err)
	require.Equal(t, first, again)

	other, err := sim.LoadMachine(filepath.Join(dir, "other"))
	require.NoError(t, err)
	require.NotEqual(t, first, other)

	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 2, "temporary files are left")
}

func TestLoadMachineAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "machine")
	var wg sync.WaitGroup
	secrets, errs := make([][]byte, 8), make([]error, 8)
	for i := range secrets {
		wg.Go(func() { secrets[i], errs[i] = sim.LoadMachine(file) })
	}
	wg.Wait()
	for i, secret := range secrets {
		require.NoError(t, errs[i])
		require.Equal(t, secrets[0], secret)
	}
}

func TestLoadMachineRefuses(t *testing.T) {
	write := func(change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			_, err := sim.LoadMachine(file)
			require.NoError(t, err)
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, change(data), 0o600))
		}
	}
	chmod := func(mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			_, err := sim.LoadMachine(file)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(file, mode))
		}
	}
	for _, tc := range []struct {
		name  string
		setup func(*testing.T, string)
		errno unix.Errno
	}{
		{"group may read", chmod(0o640), unix.EACCES},
		{"others may write", chmod(0o602), unix.EACCES},
		{"empty", write(func([]byte) []byte { return nil }), unix.EINVAL},
		{"cut off", write(func(b []byte) []byte { return b[:len(b)-1] }), unix.EINVAL},
		{"longer", write(func(b []byte) []byte { return append(b, '\n') }), unix.EINVAL},
		{"other header", write(func(b []byte) []byte { b[0] ^= 1; return b }), unix.EINVAL},
		{"secret not in hex", write(func(b []byte) []byte { b[40] = 'z'; return b }), unix.EINVAL},
		{"secret changed", write(func(b []byte) []byte { b[40] = '0' + (b[40]+1)&7; return b }), unix.EINVAL},
		{"check changed", write(func(b []byte) []byte { b[len(b)-2] ^= 1; return b }), unix.EINVAL},
		{"upper case", write(bytes.ToUpper), unix.EINVAL},
		{"directory", func(t *testing.T, file string) { require.NoError(t, os.Mkdir(file, 0o700)) }, unix.EINVAL},
		{"FIFO", func(t *testing.T, file string) { require.NoError(t, unix.Mkfifo(file, 0o600)) }, unix.EINVAL},
		{"dangling link", func(t *testing.T, file string) { require.NoError(t, os.Symlink("nowhere", file)) }, unix.ENOENT},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "machine")
			tc.setup(t, file)
			secret, err := sim.LoadMachine(file)
			require.ErrorIs(t, err, tc.errno)
			require.Nil(t, secret)
		})
	}
	_, err := sim.LoadMachine(filepath.Join(t.TempDir(), "no", "machine"))
	require.ErrorIs(t, err, unix.ENOENT)
}
