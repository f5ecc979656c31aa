package libos_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/libos"
	"cloister/mountopt"
)

// TestCounter puts an image under a counter back to what it was: it cannot be mounted, alone
// or in a union.
func TestCounter(t *testing.T) {
	counter, err := sim.OpenCounter(t.TempDir())
	require.NoError(t, err)
	dir, lower := t.TempDir(), t.TempDir()
	start := func(typ, data string, c enclave.Counter) error {
		l, err := libos.Start(t.Context(), libos.Config{Platform: platform(t), Counter: c, Mounts: []mountopt.Mount{
			{Source: "none", Target: "/m", Type: typ, Data: data},
		}})
		if err == nil {
			require.NoError(t, l.Close(t.Context()))
		}
		return err
	}
	union := "lowerdir=" + lower + ",upperdir=" + dir
	require.NoError(t, start("unionfs", union, counter))
	older := t.TempDir()
	require.NoError(t, os.CopyFS(older, os.DirFS(dir)))
	l, err := libos.Start(t.Context(), libos.Config{Platform: platform(t), Counter: counter, Mounts: []mountopt.Mount{
		{Source: "none", Target: "/m", Type: "sefs", Data: "dir=" + dir},
	}})
	require.NoError(t, err)
	task := l.NewTask()
	require.NoError(t, task.Mkdir("/m/d", 0o755))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))

	require.NoError(t, start("unionfs", union, counter))
	require.ErrorIs(t, start("sefs", "dir="+older, counter), unix.ESTALE)
	require.ErrorIs(t, start("unionfs", "lowerdir="+lower+",upperdir="+older, counter), unix.ESTALE)
	require.ErrorIs(t, start("sefs", "dir="+dir, nil), unix.ESTALE, "without the counter")
}
