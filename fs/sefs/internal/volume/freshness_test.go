package volume_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// memAnchor is an anchor in memory. told, if set, is called with every advance, and its
// error is returned before or after that has happened.
type memAnchor struct {
	mu     sync.Mutex
	states map[[16]byte]volume.State
	told   func(next volume.State) (before, after error)
}

func newAnchor() *memAnchor { return &memAnchor{states: make(map[[16]byte]volume.State)} }

func (a *memAnchor) State(_ context.Context, uuid [16]byte) (volume.State, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.states[uuid], nil
}

func (a *memAnchor) Advance(_ context.Context, uuid [16]byte, old, next volume.State) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var before, after error
	if a.told != nil {
		before, after = a.told(next)
	}
	switch {
	case before != nil:
		return before
	case a.states[uuid] != old:
		return unix.ESTALE
	}
	a.states[uuid] = next
	return after
}

// only returns the one state that the anchor has.
func (a *memAnchor) only(t testing.TB) volume.State {
	t.Helper()
	require.Len(t, a.states, 1)
	for _, s := range a.states {
		return s
	}
	return volume.State{}
}

func (a *memAnchor) clone() *memAnchor {
	c := newAnchor()
	for uuid, s := range a.states {
		c.states[uuid] = s
	}
	return c
}

func anchored(a volume.Anchor) volume.Config {
	cfg := config()
	if a != nil {
		cfg.Anchor = a
	}
	return cfg
}

// refusedStale opens a volume for reading and for writing: it is refused as not being the
// newest state, with a reason, and nothing is written.
func refusedStale(t *testing.T, mem *store.Memory, a volume.Anchor, reason string, what ...any) {
	t.Helper()
	before := make(map[string][]byte)
	for _, name := range mem.Names() {
		if name != store.LockName {
			before[name] = bytes.Clone(mem.Bytes(name))
		}
	}
	for _, access := range []volume.Access{volume.ReadOnly, volume.ReadWrite} {
		cfg := anchored(a)
		cfg.Access = access
		v, err := volume.Open(t.Context(), mem, cfg)
		if err == nil {
			v.Abandon()
		}
		require.ErrorIs(t, err, unix.ESTALE, what...)
		require.ErrorAs(t, err, new(*seal.StaleError), what...)
		require.ErrorContains(t, err, reason, what...)
	}
	for name, data := range before {
		require.True(t, bytes.Equal(data, mem.Bytes(name)), "%s was written by a mount that was refused: %v", name, what)
	}
}

// anchoredHistory makes a volume under an anchor and returns its content after every commit,
// checkpoint and kill, the newest last.
func anchoredHistory(t *testing.T, a volume.Anchor) (images []*store.Memory) {
	t.Helper()
	mem := store.NewMemory()
	makeVolume(t, mem)
	w := newWorkload(5, func() int { return 0 })
	for round := range 4 {
		v := openLoose(t, mem, anchored(a))
		images = append(images, mem.Clone())
		w.files = map[uint64]*volume.File{}
		for range 3 {
			w.step(t, v)
			commit(t, v)
			images = append(images, mem.Clone())
		}
		if round%2 == 0 {
			closeVolume(t, v)
			images = append(images, mem.Clone())
		} else {
			v.Abandon()
		}
	}
	return images
}

// TestOlderStatesRefused presents every state that the volume ever had, and the newest one
// with older heads and journals.
func TestOlderStatesRefused(t *testing.T) {
	a := newAnchor()
	images := anchoredHistory(t, a)
	newest := images[len(images)-1]
	for i, m := range images[:len(images)-1] {
		refusedStale(t, m, a, "older state", "image %d", i)
		for _, name := range []string{"heads", "journal"} {
			if bytes.Equal(m.Bytes(name), newest.Bytes(name)) {
				continue
			}
			mixed := newest.Clone()
			mixed.SetBytes(name, bytes.Clone(m.Bytes(name)))
			v, err := volume.Open(t.Context(), mixed, anchored(a.clone()))
			if err == nil {
				v.Abandon()
			}
			require.Error(t, err, "%s of image %d", name, i)
			errno, _ := errors.AsType[unix.Errno](err)
			require.Contains(t, []unix.Errno{unix.ESTALE, unix.EIO}, errno, "%s of image %d: %v", name, i, err)
		}
	}
	v := open(t, newest, anchored(a))
	closeVolume(t, v)
}

// TestDroppedTailRefused cuts the journal behind every record but the last.
func TestDroppedTailRefused(t *testing.T) {
	a, mem := newAnchor(), store.NewMemory()
	makeVolume(t, mem)
	v := openLoose(t, mem, anchored(a))
	for n := range uint64(4) {
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(n+1), []byte("value"))) })
		commit(t, v)
	}
	v.Abandon()
	data := mem.Bytes("journal")
	off := 0
	for n := range 4 {
		m := mem.Clone()
		cut := bytes.Clone(data)
		clear(cut[off:])
		m.SetBytes("journal", cut)
		refusedStale(t, m, a, "older state", "%d records left", n)
		p, ok := format.GetRecordPlain(data[off:])
		require.True(t, ok)
		off += int(p.Bytes)
	}
	v = open(t, mem, anchored(a))
	_, err := v.Get(inodeKey(4), nil)
	require.NoError(t, err)
}

// TestForksRefused lets a copy of the volume go its own way, with a copy of the anchor, as
// the host could do with an enclave that has another one.
func TestForksRefused(t *testing.T) {
	a := newAnchor()
	images := anchoredHistory(t, a)
	other := images[len(images)-1].Clone()
	b := a.clone()
	advance := func(mem *store.Memory, a *memAnchor, n uint64) {
		v := openLoose(t, mem, anchored(a))
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(n), []byte("value"))) })
		commit(t, v)
		v.Abandon()
	}
	advance(images[len(images)-1], a, 50)
	for n := range uint64(6) {
		advance(other, b, 60+n)
		if b.only(t).Seq < a.only(t).Seq {
			refusedStale(t, other.Clone(), a, "older state", "after %d commits", n+1)
		} else {
			refusedStale(t, other.Clone(), a, "fork", "after %d commits", n+1)
		}
	}
}

// TestTwoWriters opens two copies at once: the first that commits goes on, the other
// one can write no more.
func TestTwoWriters(t *testing.T) {
	a, mem := newAnchor(), store.NewMemory()
	makeVolume(t, mem)
	closeVolume(t, open(t, mem, anchored(a)))
	copied := mem.Clone()
	first, second := open(t, mem, anchored(a)), open(t, copied, anchored(a))
	for _, v := range []*volume.Volume{first, second} {
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("value"))) })
	}
	commit(t, first)
	err := second.Commit(t.Context())
	require.ErrorIs(t, err, unix.ESTALE)
	require.ErrorContains(t, err, "in use elsewhere")
	_, err = second.Begin(t.Context())
	require.ErrorIs(t, err, unix.EIO, "no more changes")
	second.Abandon()
	refusedStale(t, copied, a, "fork")
	tx(t, first, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(2), []byte("value"))) })
	commit(t, first)
}

// TestAnchorSurvivesCrashes cuts a volume under an anchor at every call. It always opens
// again, and has all that was acknowledged.
func TestAnchorSurvivesCrashes(t *testing.T) {
	type told struct {
		at    int
		state volume.State
	}
	a, mem := newAnchor(), store.NewMemory()
	makeVolume(t, mem)
	closeVolume(t, open(t, mem, anchored(a)))
	log := []told{{0, a.only(t)}}
	rec := store.NewRecorder(mem)
	a.told = func(next volume.State) (error, error) {
		log = append(log, told{rec.Len(), next})
		return nil, nil
	}
	w := newWorkload(3, rec.Len)
	for round := range 3 {
		cfg := anchored(a)
		v := openLoose(t, rec, cfg)
		w.files = map[uint64]*volume.File{}
		for range 4 {
			w.step(t, v)
			w.durable(t, func() error { return v.Commit(t.Context()) })
		}
		if round == 1 {
			v.Abandon() // with a journal, which the next round replays
			continue
		}
		w.durable(t, func() error { return v.Close(t.Context()) })
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := range rec.Len() + 1 {
		// The anchor as it was when call n had been made: before it was told, or after.
		var states []volume.State
		for _, l := range log {
			if l.at < n {
				states = states[:0]
			}
			if l.at <= n {
				states = append(states, l.state)
			}
		}
		acked, _ := w.bounds(n)
		for _, s := range states {
			for _, access := range []volume.Access{volume.ReadOnly, volume.ReadWrite} {
				crashed := newAnchor()
				for uuid := range a.states {
					crashed.states[uuid] = s
				}
				m := rec.Crash(n, func(int, store.Call) store.Fate { return store.Fate(r.IntN(3)) })
				cfg := anchored(crashed)
				cfg.Access = access
				v, err := volume.Open(t.Context(), m, cfg)
				require.NoError(t, err, "crash after call %d, anchor at commit %d", n, s.Seq)
				step, err := w.read(v)
				require.NoError(t, err, "crash after call %d", n)
				require.GreaterOrEqual(t, step, acked, "crash after call %d: acknowledged step lost", n)
				v.Abandon()
				v = openLoose(t, m, cfg)
				again, err := w.read(v)
				require.NoError(t, err)
				require.Equal(t, step, again, "what was shown once stays")
				v.Abandon()
			}
		}
	}
}

// TestAnchorFails lets the anchor fail, before or after it has stored a state: the
// commit fails, the volume takes no more changes, and it opens again.
func TestAnchorFails(t *testing.T) {
	for name, tt := range map[string]struct{ before, after error }{
		"before":   {unix.ETIMEDOUT, nil},
		"after":    {nil, unix.ETIMEDOUT},
		"no errno": {errors.New("connection reset"), nil},
	} {
		for _, how := range []string{"commit", "close"} {
			t.Run(name+" "+how, func(t *testing.T) {
				a, mem := newAnchor(), store.NewMemory()
				makeVolume(t, mem)
				v := openLoose(t, mem, anchored(a))
				tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(1), []byte("value"))) })
				commit(t, v)
				a.told = func(volume.State) (error, error) { return tt.before, tt.after }
				tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(2), []byte("value"))) })
				err := v.Commit(t.Context())
				if how == "close" {
					err = errors.Join(err, v.Close(t.Context()))
				}
				_, ok := errors.AsType[unix.Errno](err)
				require.True(t, ok, "%v", err)
				_, err = v.Begin(t.Context())
				require.ErrorIs(t, err, unix.EIO)
				v.Abandon()
				a.told = nil
				v = open(t, mem, anchored(a))
				_, err = v.Get(inodeKey(1), nil)
				require.NoError(t, err, "acknowledged")
				closeVolume(t, v)
				closeVolume(t, open(t, mem, anchored(a)))
			})
		}
	}
}

// TestComingUnderAnAnchor follows a volume that had none.
func TestComingUnderAnAnchor(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	putAndCloseIn(t, mem)
	a := newAnchor()
	ro := anchored(a)
	ro.Access = volume.ReadOnly
	v := open(t, mem, ro)
	marked, asked := v.Anchored()
	require.True(t, !marked && asked)
	v.Abandon()
	require.Empty(t, a.states, "a reader takes nothing under an anchor")

	closeVolume(t, open(t, mem, anchored(a)))
	v = open(t, mem, anchored(a))
	marked, asked = v.Anchored()
	require.True(t, marked && asked, "it is under the anchor though nothing was written to it")
	closeVolume(t, v)

	refusedWriting := func() {
		_, err := volume.Open(t.Context(), mem, config())
		require.ErrorIs(t, err, unix.ESTALE, "for writing it needs the anchor")
	}
	refusedWriting()
	cfg := config()
	cfg.Access = volume.ReadOnly
	v = open(t, mem, cfg)
	marked, asked = v.Anchored()
	require.True(t, marked && !asked, "reading is allowed, unguarded")
	v.Abandon()
	refusedStale(t, mem, newAnchor(), "another one or has lost its state")
	refusedWriting()
	closeVolume(t, open(t, mem, anchored(a)))
}
