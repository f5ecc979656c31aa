package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestFaults lets every host call of a workload fail in turn, once or from
// then on. The volume must report it, go on or refuse to, and lose nothing
// that it had acknowledged.
func TestFaults(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	faults := []struct {
		name  string
		fault store.Fault
		only  func(store.Call) bool
		stays bool
	}{
		{"EIO once", store.Fault{Errno: unix.EIO}, anyCall, false},
		{"EIO from then on", store.Fault{Errno: unix.EIO}, anyCall, true},
		{"ENOSPC once", store.Fault{Errno: unix.ENOSPC}, isWrite, false},
		{"torn write", store.Fault{Errno: unix.ENOSPC, Part: 1000}, isWrite, false},
		{"ENOSPC from then on", store.Fault{Errno: unix.ENOSPC, Part: 4096}, isWrite, true},
		{"EDQUOT once", store.Fault{Errno: unix.EDQUOT}, anyCall, false},
		{"short read", store.Fault{Short: true}, isDataRead, false},
	}
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for at := 0; ; at++ {
				m := mem.Clone()
				armed := false
				st := store.NewFaulty(m, func(n int, c store.Call) store.Fault {
					if !tt.only(c) {
						return store.Fault{}
					}
					if n == at || armed && tt.stays {
						armed = true
						return tt.fault
					}
					return store.Fault{}
				})
				runFaulty(t, st, m, fmt.Sprintf("fault at call %d", at))
				if at > st.Calls() {
					require.Greater(t, at, 30, "calls of the workload")
					break
				}
			}
		})
	}
}

func anyCall(store.Call) bool { return true }

// isDataRead leaves out the header, where that is EACCES, and the journal: one that
// ends early is an older state, which only a freshness counter tells from the newest.
func isDataRead(c store.Call) bool {
	return c.Kind == store.KindRead && (c.Name == "heads" || strings.HasPrefix(c.Name, "seg/"))
}

func isWrite(c store.Call) bool { return c.Kind == store.KindWrite }

// runFaulty runs a workload on a store that fails, then looks at what is left.
func runFaulty(t *testing.T, st store.Store, m *store.Memory, at string) {
	w := newWorkload(7, func() int { return 0 })
	acked := 0
	if v, err := volume.Open(t.Context(), st, config()); err != nil {
		requireErrno(t, err, at)
	} else {
		acked = faultyWorkload(t, w, v, at)
		v.Abandon()
	}
	v := openLoose(t, m, config())
	defer v.Abandon()
	step, err := w.read(v)
	require.NoError(t, err, "%s: content", at)
	require.GreaterOrEqual(t, step, acked, "%s: acknowledged step lost", at)
	require.NoError(t, volume.Verify(v), at)
}

// faultyWorkload runs steps until one fails and returns the last step that was
// acknowledged as durable.
func faultyWorkload(t *testing.T, w *workload, v *volume.Volume, at string) (acked int) {
	for i := range 24 {
		if err := w.tryStep(t, v); err != nil {
			requireErrno(t, err, at)
			return acked
		}
		var err error
		if i%3 == 2 {
			if err = v.Commit(t.Context()); err == nil {
				acked = len(w.states) - 1
			}
		}
		if err != nil {
			requireErrno(t, err, at)
			// Once more: it works now, or the volume is read-only.
			if err = v.Commit(t.Context()); err == nil {
				acked = len(w.states) - 1
			} else {
				requireErrno(t, err, at)
			}
			requireReadable(t, w, v, at)
		}
	}
	if err := v.Close(t.Context()); err == nil {
		acked = len(w.states) - 1
	} else {
		requireErrno(t, err, at)
	}
	return acked
}

// requireReadable looks at a volume whose commit failed: it still shows what is in it, unless the host
// goes on failing.
func requireReadable(t *testing.T, w *workload, v *volume.Volume, at string) {
	t.Helper()
	step, err := w.read(v)
	require.NotErrorIs(t, err, errWrong, at)
	if err != nil {
		requireErrno(t, err, at)
		return
	}
	require.Equal(t, len(w.states)-1, step, at)
}

// tryStep is step for a volume that may fail.
func (w *workload) tryStep(t *testing.T, v *volume.Volume) error {
	h, err := v.Begin(t.Context())
	if err != nil {
		return err
	}
	defer h.End()
	n := len(w.states)
	for range 1 + w.r.IntN(4) {
		if err := w.change(t, v, h, n); err != nil {
			return err
		}
	}
	if err := h.Put(stepKey, stepValue(n)); err != nil {
		return err
	}
	w.states = append(w.states, w.state.clone())
	return nil
}

// requireErrno checks that an error tells the application what happened.
func requireErrno(t *testing.T, err error, at string) {
	t.Helper()
	errno, ok := errors.AsType[unix.Errno](err)
	require.True(t, ok, "%s: no errno in %v", at, err)
	require.Contains(t, []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT}, errno, "%s: %v", at, err)
}

// TestFullHost fills the host, sees ENOSPC, makes room and goes on: nothing is
// lost and the volume stays writable.
func TestFullHost(t *testing.T) {
	tests := []struct {
		name  string
		write int // bytes written while the host is full
		where string
	}{
		{"journal", 100, "journal"},
		{"data", 300_000, "seg/"},
		{"streaming", 8 << 20, "seg/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem := store.NewMemory()
			makeVolume(t, mem)
			var full atomic.Bool
			v := open(t, store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
				if full.Load() && c.Kind == store.KindWrite && strings.HasPrefix(c.Name, tt.where) {
					return store.Fault{Errno: unix.ENOSPC, Part: 512}
				}
				return store.Fault{}
			}), config())
			f := v.File(10, 0)
			before := pattern(1, 50_000)
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, before, 0)) })
			commit(t, v)

			full.Store(true)
			data := pattern(2, tt.write)
			var err error
			tx(t, v, func(tx *volume.Tx) { err = f.WriteAt(t.Context(), tx, data, 50_000) })
			if err == nil {
				err = v.Commit(t.Context())
			}
			require.ErrorIs(t, err, unix.ENOSPC)
			err = v.Close(t.Context())
			if tt.where == "seg/" {
				require.ErrorIs(t, err, unix.ENOSPC, "Close on a full host")
			}
			if err == nil {
				v = open(t, mem, config())
				f = v.File(10, f.Blocks())
			}

			full.Store(false)
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, data, 50_000)) })
			commit(t, v)
			closeVolume(t, v)
			v = open(t, mem, config())
			got := make([]byte, len(before)+len(data))
			require.NoError(t, v.File(10, f.Blocks()).ReadAt(t.Context(), got, 0))
			require.True(t, bytes.Equal(append(before, data...), got), "content")
		})
	}
}
