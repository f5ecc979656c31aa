package volume_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// crashRun is how much a run of the tests of this file does.
type crashRun struct {
	images int // different ones, at least
	each   int // tried after each host call
}

// long reports whether the long runs are asked for (make crash).
func long() bool { return os.Getenv("CLOISTER_CRASH") == "full" }

func crashSize() crashRun {
	switch {
	case long():
		return crashRun{images: 1_000_000, each: 150}
	case raceDetector:
		return crashRun{images: 300, each: 2}
	}
	return crashRun{images: 4000, each: 8}
}

// A crashRig checks the crashes of one recorded workload after another. It counts
// what it does, and what the workloads made the volume do.
type crashRig struct {
	run   crashRun
	seeds atomic.Uint64 // workloads begun

	images, again, inRecovery, replayed, keysTried atomic.Int64
	calls, checkpoints, reused, removed, headers   atomic.Int64
}

// TestCrash records the host calls of workloads, makes what a crash after each of
// them may leave, and checks that what opens is a state that some prefix of the
// transactions made, with everything that was acknowledged.
func TestCrash(t *testing.T) {
	rig := &crashRig{run: crashSize()}
	start := time.Now()
	t.Run("workloads", func(t *testing.T) {
		for worker := range 2 {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for rig.images.Load() < int64(rig.run.images) || rig.seeds.Load() < uint64(len(crashKinds)) {
					seed := rig.seeds.Add(1) - 1
					rig.crash(t, seed, crashKinds[seed%uint64(len(crashKinds))])
				}
			})
		}
	})
	took := time.Since(start)
	t.Logf("%d different crash images of %d workloads with %d host calls in %v, %.0f a second; %d crashed again after more work, %d in recovery",
		rig.images.Load(), rig.seeds.Load(), rig.calls.Load(), took.Round(time.Second), float64(rig.images.Load())/took.Seconds(),
		rig.again.Load(), rig.inRecovery.Load())
	t.Logf("the workloads: %d checkpoints, %d writes to blocks used before, %d segments removed, %d changes of key slots; %d images with a journal to replay, %d tries of keys",
		rig.checkpoints.Load(), rig.reused.Load(), rig.removed.Load(), rig.headers.Load(), rig.replayed.Load(), rig.keysTried.Load())
	for what, n := range map[string]*atomic.Int64{
		"checkpoints": &rig.checkpoints, "blocks used again": &rig.reused, "segments removed": &rig.removed,
		"changes of key slots": &rig.headers, "journals replayed": &rig.replayed, "second crashes": &rig.again, "crashes in recovery": &rig.inRecovery,
	} {
		require.Positive(t, n.Load(), what)
	}
}

// crash records one workload and checks its crashes.
func (rig *crashRig) crash(t *testing.T, seed uint64, kind crashKind) {
	c := kind.record(t, seed)
	rig.note(c)
	r := rand.New(rand.NewPCG(seed, 3))
	for img := range c.rec.Crashes(store.CrashConfig{Rand: r, Each: rig.run.each}) {
		n := rig.images.Add(1)
		if n%100_000 == 0 {
			t.Logf("%d images", n)
		}
		what := func() string {
			return fmt.Sprintf("%s, seed %d, crash after call %d: %s", kind.name, seed, img.Calls, img.Fate)
		}
		rig.check(t, c, img, n, what)
	}
}

// note counts what a workload made the volume do.
func (rig *crashRig) note(c *crashWork) {
	ends := make(map[string]int64) // of what was written to each segment
	for _, call := range c.rec.Log() {
		rig.calls.Add(1)
		segment := strings.HasPrefix(call.Name, "seg/")
		switch {
		case call.Kind == store.KindWrite && segment:
			if call.Off < ends[call.Name] {
				rig.reused.Add(1)
			}
			ends[call.Name] = max(ends[call.Name], call.Off+int64(len(call.Data)))
		case call.Kind == store.KindWrite && call.Name == "heads" && call.Off == 0:
			rig.checkpoints.Add(1)
		case call.Kind == store.KindUnlink && segment:
			rig.removed.Add(1)
		case call.Kind == store.KindRename:
			rig.headers.Add(1)
		}
	}
}

// check opens what a crash left.
func (rig *crashRig) check(t *testing.T, c *crashWork, img store.CrashImage, n int64, what func() string) {
	acked, issued := c.bounds(img.Calls)
	cfg := config()
	cfg.Unlocking = with(rig.checkKeys(t, c, img, what).key())
	if n%3 == 0 {
		cfg.Access = volume.ReadOnly
	}
	if n%c.kind.nested() == 1 && cfg.Access == volume.ReadWrite {
		rig.crashInRecovery(t, c, img.Memory.Clone(), cfg, what)
	}
	v := openLoose(t, img.Memory, cfg)
	defer v.Abandon()
	step, err := c.read(v)
	if err != nil || step < acked || step > issued {
		require.NoError(t, err, what())
		require.GreaterOrEqual(t, step, acked, "acknowledged step lost: %s", what())
		require.LessOrEqual(t, step, issued, "step that no commit had begun with: %s", what())
	}
	if v.Stats().Replayed > 0 {
		rig.replayed.Add(1)
	}
	if n%16 == 2 && cfg.Access == volume.ReadWrite {
		checkUsable(t, &c.history, img.Memory, v, cfg, step)
		rig.again.Add(1)
	}
}

// checkKeys tries which keys open a volume: those of the header before a change
// or of the one after it, which it returns.
func (rig *crashRig) checkKeys(t *testing.T, c *crashWork, img store.CrashImage, what func() string) headerCall {
	if len(c.headers) == 1 {
		return c.headers[0]
	}
	id, err := volume.Peek(img.Memory)
	require.NoError(t, err, what())
	i := slices.IndexFunc(c.headers, func(h headerCall) bool { return h.generation == id.Generation })
	require.GreaterOrEqual(t, i, 0, "header %d never was: %s", id.Generation, what())
	h := c.headers[i]
	require.True(t, i == 0 || h.from < img.Calls, "header from the future: %s", what())
	require.True(t, i == len(c.headers)-1 || c.headers[i+1].to > img.Calls, "a change of the key slots was lost: %s", what())
	for k, key := range crashKeys {
		cfg := config()
		cfg.Unlocking, cfg.Access = with(key), volume.ReadOnly
		v, err := volume.Open(t.Context(), img.Memory, cfg)
		rig.keysTried.Add(1)
		if h.slots[k] == noSlot {
			require.ErrorIs(t, err, unix.EACCES, "a key that was removed: %s", what())
			continue
		}
		require.NoError(t, err, what())
		v.Abandon()
	}
	return h
}

// crashInRecovery crashes the recovery from a crash: what it has shown once stays.
func (rig *crashRig) crashInRecovery(t *testing.T, c *crashWork, mem *store.Memory, cfg volume.Config, what func() string) {
	rec := store.NewRecorder(mem)
	v := openLoose(t, rec, cfg)
	step, err := c.read(v)
	v.Abandon()
	require.NoError(t, err, what())
	r := rand.New(rand.NewPCG(uint64(step), 4))
	for img := range rec.Crashes(store.CrashConfig{Rand: r, From: 1, Each: 6}) {
		rig.inRecovery.Add(1)
		v := openLoose(t, img.Memory, cfg)
		again, err := c.read(v)
		v.Abandon()
		require.NoError(t, err, "crash of the recovery after call %d, %s: %s", img.Calls, img.Fate, what())
		require.Equal(t, step, again, "crash of the recovery after call %d, %s: %s", img.Calls, img.Fate, what())
	}
}

// checkUsable goes on working with a recovered volume and crashes again.
func checkUsable(t *testing.T, h *history, m *store.Memory, v *volume.Volume, cfg volume.Config, step int) {
	k := inodeKey(1 << 20)
	tx(t, v, func(tx *volume.Tx) {
		require.NoError(t, tx.Put(k, []byte("after")))
		require.NoError(t, v.File(77, 0).WriteAt(t.Context(), tx, pattern(1, 9000), 0))
	})
	commit(t, v)
	v.Abandon()
	again := openLoose(t, m, cfg)
	defer again.Abandon()
	got, err := h.read(again)
	require.NoError(t, err, "after the second crash")
	require.Equal(t, step, got, "step after the second crash")
	_, err = again.Get(k, nil)
	require.NoError(t, err, "item written after recovery")
	data := make([]byte, 9000)
	require.NoError(t, again.File(77, 3).ReadAt(t.Context(), data, 0))
	require.Equal(t, pattern(1, 9000), data, "file written after recovery")
	require.NoError(t, volume.Verify(again), "after recovery")
}
