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
	return crashRun{images: 6000, each: 8}
}

// A crashRig checks the crashes of one recorded workload after another.
type crashRig struct {
	run   crashRun
	seeds *atomic.Uint64
	total *atomic.Int64 // images checked
	seen  *crashFeatures
}

// crashFeatures counts what the workloads made the volume do.
type crashFeatures struct {
	images, again, inRecovery               atomic.Int64
	calls, checkpoints, reused, removed     atomic.Int64
	headers, torn, replayed, keysTried, big atomic.Int64
}

// TestCrash records the host calls of workloads, makes what a crash after each of
// them may leave, and checks that what opens is a state that some prefix of the
// transactions made, with everything that was acknowledged.
func TestCrash(t *testing.T) {
	var seeds atomic.Uint64
	var total atomic.Int64
	rig := crashRig{run: crashSize(), seeds: &seeds, total: &total, seen: new(crashFeatures)}
	start := time.Now()
	t.Run("workloads", func(t *testing.T) {
		for worker := range 2 {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for total.Load() < int64(rig.run.images) || seeds.Load() < uint64(len(crashKinds)) {
					seed := seeds.Add(1) - 1
					rig.crash(t, seed, crashKinds[seed%uint64(len(crashKinds))])
				}
			})
		}
	})
	f := rig.seen
	took := time.Since(start)
	t.Logf("%d different crash images of %d workloads with %d host calls in %v, %.0f a second; %d crashed again after more work, %d in recovery",
		total.Load(), seeds.Load(), f.calls.Load(), took.Round(time.Second), float64(total.Load())/took.Seconds(), f.again.Load(), f.inRecovery.Load())
	t.Logf("the workloads: %d checkpoints, %d writes to blocks used before, %d segments removed, %d changes of key slots; %d images with a journal to replay, %d tries of keys",
		f.checkpoints.Load(), f.reused.Load(), f.removed.Load(), f.headers.Load(), f.replayed.Load(), f.keysTried.Load())
	for what, n := range map[string]*atomic.Int64{
		"checkpoints": &f.checkpoints, "blocks used again": &f.reused, "segments removed": &f.removed,
		"changes of key slots": &f.headers, "journals replayed": &f.replayed, "second crashes": &f.again, "crashes in recovery": &f.inRecovery,
	} {
		require.Positive(t, n.Load(), what)
	}
}

// A crashKind is a kind of workload.
type crashKind struct {
	name    string
	journal int64 // bytes; 0: as it comes
	prepare func(t *testing.T, c *crashWork)
	between func(t *testing.T, c *crashWork, step int)
	steps   int
}

var crashKinds = []crashKind{
	{name: "commits and checkpoints", steps: 80, between: commitsAndMounts},
	{name: "small journal", steps: 80, journal: 8192, between: commitsAndMounts},
	{name: "key slots", steps: 30, between: changesOfKeys},
	{name: "churn", steps: 160, journal: 64 << 10, between: commitsAndMounts},
	{name: "kills", steps: 60, between: kills},
	{name: "compaction", steps: 24, prepare: makeGarbage, between: compactions},
}

// crashWork is a workload on its way.
type crashWork struct {
	*workload
	v       *volume.Volume
	mem     *store.Memory
	rec     *store.Recorder // nil: not yet
	cfg     volume.Config
	headers []headerCall
}

// A headerCall is a change of the key slots: which header it made, which keys open
// the volume then, when it began and when it returned.
type headerCall struct {
	generation uint64
	slots      [3]int // of crashKeys; noSlot: it does not open the volume
	from, to   int
}

const noSlot = -1

// onlySlot is how it is when one key opens the volume, in slot.
func onlySlot(key, slot int) [3]int {
	slots := [3]int{noSlot, noSlot, noSlot}
	slots[key] = slot
	return slots
}

// key returns one of the keys that open the volume.
func (h headerCall) key() []byte {
	return crashKeys[slices.IndexFunc(h.slots[:], func(slot int) bool { return slot != noSlot })]
}

var crashKeys = [][]byte{testKey, secondKey, thirdKey}

func (c *crashWork) store() store.Store {
	if c.rec == nil {
		return c.mem
	}
	return c.rec
}

func (c *crashWork) mount(t *testing.T) {
	c.v = openLoose(t, c.store(), c.cfg)
	c.files = make(map[uint64]*volume.File)
}

func (c *crashWork) close(t *testing.T) {
	c.durable(t, func() error { return c.v.Close(t.Context()) })
}

func commitsAndMounts(t *testing.T, c *crashWork, step int) {
	switch {
	case step%20 == 19: // a checkpoint
		c.close(t)
		c.mount(t)
	case c.r.IntN(2) == 0:
		c.durable(t, func() error { return c.v.Commit(t.Context()) })
	}
}

// kills leaves journals to be replayed while calls are recorded. What no commit
// held is gone with the process.
func kills(t *testing.T, c *crashWork, step int) {
	if c.r.IntN(3) > 0 {
		c.durable(t, func() error { return c.v.Commit(t.Context()) })
		if step%8 == 7 {
			c.v.Abandon()
			c.durable(t, func() error { c.mount(t); return nil })
		}
	}
}

func changesOfKeys(t *testing.T, c *crashWork, step int) {
	commitsAndMounts(t, c, step)
	if step%5 != 4 {
		return
	}
	c.close(t)
	last := c.headers[len(c.headers)-1]
	k := openKeys(t, c.rec, last.key())
	next := headerCall{generation: last.generation + 1, slots: last.slots, from: c.rec.Len()}
	n := c.r.IntN(len(crashKeys))
	var err error
	switch slot := &next.slots[n]; {
	case *slot == noSlot:
		*slot, err = k.Add(testSlot, crashKeys[n])
	case last.slots == onlySlot(n, *slot) || c.r.IntN(4) == 0:
		err = k.Replace(*slot, testSlot, crashKeys[n])
	default:
		err = k.Remove(*slot)
		*slot = noSlot
	}
	require.NoError(t, err)
	require.NoError(t, k.Close())
	next.to = c.rec.Len()
	c.headers = append(c.headers, next)
	c.cfg.Unlocking = with(next.key())
	c.mount(t)
}

// garbage is a file that no state has; what it leaves has to be compacted away.
const garbage = 50

// makeGarbage makes a volume of two segments of which little is in use, all over
// them.
func makeGarbage(t *testing.T, c *crashWork) {
	p := pattern(1, 1<<20)
	for n := range 100 {
		if n%10 == 0 {
			c.mount(t)
			c.step(t, c.v)
			c.step(t, c.v)
		}
		f := c.v.File(garbage, 0)
		tx(t, c.v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, p, int64(n)<<20)) })
		if n%10 == 9 {
			c.close(t)
		}
	}
	c.mount(t)
	tx(t, c.v, func(tx *volume.Tx) { require.NoError(t, c.v.File(garbage, 0).Discard(tx)) })
	c.close(t)
}

func compactions(t *testing.T, c *crashWork, step int) {
	if c.r.IntN(2) == 0 {
		c.durable(t, func() error { return c.v.Commit(t.Context()) })
	}
	if step%6 == 5 {
		c.durable(t, func() error {
			if err := c.v.Compact(t.Context(), nil); err != nil {
				return err
			}
			return c.v.Commit(t.Context())
		})
	}
}

// record runs a workload of a kind and records it.
func (kind *crashKind) record(t *testing.T, seed uint64) *crashWork {
	c := &crashWork{mem: store.NewMemory(), cfg: config(), headers: []headerCall{{generation: 1, slots: onlySlot(0, 0)}}}
	if kind.journal > 0 {
		volume.LimitJournal(&c.cfg, kind.journal)
	}
	c.workload = newWorkload(seed, func() int {
		if c.rec == nil {
			return 0
		}
		return c.rec.Len()
	})
	makeVolume(t, c.mem)
	if kind.prepare != nil {
		kind.prepare(t, c)
	}
	c.rec = store.NewRecorder(c.mem)
	c.mount(t)
	for step := range kind.steps {
		c.step(t, c.v)
		kind.between(t, c, step)
	}
	c.v.Abandon()
	return c
}

// crash records one workload and checks its crashes.
func (rig *crashRig) crash(t *testing.T, seed uint64, kind crashKind) {
	c := kind.record(t, seed)
	rig.seen.note(c)
	r := rand.New(rand.NewPCG(seed, 3))
	for img := range c.rec.Crashes(store.CrashConfig{Rand: r, Each: rig.run.each}) {
		n := rig.total.Add(1)
		if n%100_000 == 0 {
			t.Logf("%d images", n)
		}
		what := func() string {
			return fmt.Sprintf("%s, seed %d, crash after call %d: %s", kind.name, seed, img.Calls, img.Fate)
		}
		rig.check(t, c, img, n, what)
	}
}

func (f *crashFeatures) note(c *crashWork) {
	ends := make(map[string]int64)
	for _, name := range c.mem.Names() {
		ends[name] = 0
	}
	for _, call := range c.rec.Log() {
		f.calls.Add(1)
		segment := strings.HasPrefix(call.Name, "seg/")
		switch {
		case call.Kind == store.KindWrite && segment:
			if call.Off < ends[call.Name] {
				f.reused.Add(1)
			}
			ends[call.Name] = max(ends[call.Name], call.Off+int64(len(call.Data)))
		case call.Kind == store.KindWrite && call.Name == "heads" && call.Off == 0:
			f.checkpoints.Add(1)
		case call.Kind == store.KindUnlink && segment:
			f.removed.Add(1)
		case call.Kind == store.KindRename:
			f.headers.Add(1)
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
	if n%64 == 1 && cfg.Access == volume.ReadWrite {
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
		rig.seen.replayed.Add(1)
	}
	if n%16 == 2 && cfg.Access == volume.ReadWrite {
		checkUsable(t, &c.history, img.Memory, v, cfg, step)
		rig.seen.again.Add(1)
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
		rig.seen.keysTried.Add(1)
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
		rig.seen.inRecovery.Add(1)
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
