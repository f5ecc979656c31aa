package volume_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestAnchorWithFaults lets every host call of a workload under an anchor fail, once or
// from then on. Whatever that leaves, the anchor takes it, and nothing acknowledged is lost.
func TestAnchorWithFaults(t *testing.T) {
	image, first := store.NewMemory(), newAnchor()
	makeVolume(t, image)
	closeVolume(t, open(t, image, anchored(first)))
	for name, tt := range map[string]struct {
		fault store.Fault
		only  func(store.Call) bool
		stays bool
	}{
		"EIO once":            {store.Fault{Errno: unix.EIO}, anyCall, false},
		"EIO from then on":    {store.Fault{Errno: unix.EIO}, anyCall, true},
		"ENOSPC once":         {store.Fault{Errno: unix.ENOSPC}, isWrite, false},
		"all of it, ENOSPC":   {store.Fault{Errno: unix.ENOSPC, Part: 1 << 30}, isWrite, false},
		"torn, ENOSPC":        {store.Fault{Errno: unix.ENOSPC, Part: 1000}, isWrite, false},
		"ENOSPC from then on": {store.Fault{Errno: unix.ENOSPC, Part: 4096}, isWrite, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 0; ; at += 1 + 2*(6-scaled(6)) { // sparser under the race detector
				mem, a := image.Clone(), first.clone()
				armed := false
				st := store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
					if tt.only(c) && (n == at || armed && tt.stays) {
						armed = true
						return tt.fault
					}
					return store.Fault{}
				})
				what := fmt.Sprintf("fault at call %d", at)
				w := newWorkload(9, func() int { return 0 })
				acked := 0
				if v, err := volume.Open(t.Context(), st, anchored(a)); err == nil {
					acked = faultyWorkload(t, w, v, what)
					v.Abandon()
				} else {
					requireErrno(t, err, what)
				}
				v, err := volume.Open(t.Context(), mem, anchored(a))
				require.NoError(t, err, what)
				step, err := w.read(v)
				require.NoError(t, err, what)
				require.GreaterOrEqual(t, step, acked, "%s: acknowledged step lost", what)
				v.Abandon()
				if at > st.Calls() {
					require.Greater(t, at, 30, "calls of the workload")
					return
				}
			}
		})
	}
}
