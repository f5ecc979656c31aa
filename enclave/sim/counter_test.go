package sim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
)

func counter(t *testing.T, dir string) *sim.Counter {
	c, err := sim.OpenCounter(dir)
	require.NoError(t, err)
	return c
}

func TestCounter(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	c := counter(t, dir)
	a, b := [16]byte{1}, [16]byte{2}
	s, err := c.State(ctx, a)
	require.NoError(t, err)
	require.Zero(t, s)
	first := enclave.CounterState{Seq: 0, Root: [32]byte{1}}
	require.NoError(t, c.Advance(ctx, a, enclave.CounterState{}, first), "the first state may be number 0")
	second := enclave.CounterState{Seq: 18446744073709551615, Root: [32]byte{2, 31: 3}}
	require.NoError(t, c.Advance(ctx, a, first, second))
	for name, old := range map[string]enclave.CounterState{"none": {}, "older": first, "other root": {Seq: second.Seq - 1}} {
		err := c.Advance(ctx, a, old, enclave.CounterState{Seq: second.Seq, Root: [32]byte{9}})
		require.ErrorIs(t, err, unix.ESTALE, name)
	}
	require.ErrorIs(t, c.Advance(ctx, a, second, first), unix.EINVAL, "backwards")
	again := counter(t, dir)
	s, err = again.State(ctx, a)
	require.NoError(t, err)
	require.Equal(t, second, s)
	s, err = again.State(ctx, b)
	require.NoError(t, err)
	require.Zero(t, s, "another id")
}

func TestCounterErrors(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	_, err := sim.OpenCounter(filepath.Join(dir, "nope"))
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	_, err = sim.OpenCounter(filepath.Join(dir, "f"))
	require.ErrorIs(t, err, unix.ENOTDIR)

	c := counter(t, dir)
	require.NoError(t, c.Advance(ctx, [16]byte{}, enclave.CounterState{}, enclave.CounterState{Seq: 5}))
	file := filepath.Join(dir, fmt.Sprintf("%032d", 0))
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"empty": "", "cut": string(good[:len(good)-1]), "longer": string(good) + "x", "other header": "x" + string(good[1:]),
		"not a number": string(good[:29]) + "x" + string(good[30:]), "zero in front": string(good[:29]) + "0" + string(good[29:]),
		"upper case": string(good[:40]) + "A" + string(good[41:]),
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := c.State(ctx, [16]byte{})
		require.ErrorIs(t, err, unix.EIO, name)
		require.ErrorIs(t, c.Advance(ctx, [16]byte{}, enclave.CounterState{}, enclave.CounterState{Seq: 9}), unix.EIO, name)
	}
}

// TestCounterRace lets many advance one state at once: one of them succeeds.
func TestCounterRace(t *testing.T) {
	dir := t.TempDir()
	var old enclave.CounterState
	for seq := range uint64(5) {
		var won atomic.Int32
		var wg sync.WaitGroup
		for n := range byte(8) {
			c := counter(t, dir)
			wg.Go(func() {
				if c.Advance(t.Context(), [16]byte{}, old, enclave.CounterState{Seq: seq + 1, Root: [32]byte{n}}) == nil {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		var err error
		old, err = counter(t, dir).State(t.Context(), [16]byte{})
		require.NoError(t, err)
	}
}
