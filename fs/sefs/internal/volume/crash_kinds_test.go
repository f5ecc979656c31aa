package volume_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// A crashKind is a kind of workload.
type crashKind struct {
	name    string
	journal int64 // bytes; 0: as it comes
	prepare func(t *testing.T, c *crashWork)
	between func(t *testing.T, c *crashWork, step int)
	steps   int
}

// nested is how many images come between two whose recovery is crashed, too.
func (k *crashKind) nested() int64 {
	if k.prepare != nil {
		return 2048 // they are large
	}
	return 64
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
	kind    *crashKind
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
	c := &crashWork{kind: kind, mem: store.NewMemory(), cfg: config(), headers: []headerCall{{generation: 1, slots: onlySlot(0, 0)}}}
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
