package volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
)

// A history is what a workload did to a volume: its state after every step.
// Step 0 is the empty volume. Every transaction ends a step and stores its
// number in the volume, so that a recovered state says which one it claims to be.
type history struct {
	states  []volumeState
	commits []commitCall
	buf     []byte
}

// A volumeState is the content of a volume.
type volumeState struct {
	items map[uint64][]byte
	files map[uint64][]byte
}

// A commitCall is one call that makes steps durable: when it began and when it
// returned, in recorded host calls.
type commitCall struct{ step, from, to int }

func (s volumeState) clone() volumeState {
	c := volumeState{maps.Clone(s.items), make(map[uint64][]byte)}
	for ino, data := range s.files {
		c.files[ino] = data // never changed in place
	}
	return c
}

const (
	historyFiles = 6
	historyItems = 40
	firstFile    = 1000
)

var stepKey = format.Key{Ino: 1, Type: format.TypeInode}

// A workload runs random transactions on a volume and keeps their history.
type workload struct {
	history
	r     *rand.Rand
	state volumeState
	files map[uint64]*volume.File
	calls func() int // recorded host calls so far
}

func newWorkload(seed uint64, calls func() int) *workload {
	empty := volumeState{map[uint64][]byte{}, map[uint64][]byte{}}
	return &workload{
		history: history{states: []volumeState{empty}},
		r:       rand.New(rand.NewPCG(seed, 2)),
		state:   empty.clone(),
		files:   make(map[uint64]*volume.File),
		calls:   calls,
	}
}

// step runs one transaction.
func (w *workload) step(t *testing.T, v *volume.Volume) {
	t.Helper()
	n := len(w.states)
	tx(t, v, func(tx *volume.Tx) {
		for range 1 + w.r.IntN(4) {
			require.NoError(t, w.change(t, v, tx, n), "step %d", n)
		}
		require.NoError(t, tx.Put(stepKey, stepValue(n)), "Put")
	})
	w.states = append(w.states, w.state.clone())
}

func (w *workload) change(t *testing.T, v *volume.Volume, tx *volume.Tx, n int) error {
	ino := firstFile + uint64(w.r.IntN(historyFiles))
	if w.r.IntN(3) == 0 {
		k := uint64(2 + w.r.IntN(historyItems))
		if w.r.IntN(3) == 0 {
			delete(w.state.items, k)
			return tx.Delete(inodeKey(k))
		}
		val := pattern(n, w.r.IntN(300))
		w.state.items[k] = val
		return tx.Put(inodeKey(k), val)
	}
	f := w.files[ino]
	if f == nil {
		f = v.File(ino, 0)
		w.files[ino] = f
	}
	data := w.state.files[ino]
	whole := len(data) / 4096 * 4096
	switch w.r.IntN(10) {
	case 8:
		if whole < 8192 {
			return nil
		}
		off := w.r.IntN(whole/4096-1) * 4096
		n := 4096 * (1 + w.r.IntN((whole-off)/4096-1))
		w.state.files[ino] = slices.Concat(data[:off], data[off+n:])
		return f.Collapse(tx, int64(off), int64(n))
	case 9:
		if len(data) == 0 || len(data) > 1<<20 {
			return nil
		}
		off, n := w.r.IntN(len(data)+4095)/4096*4096, 4096*(1+w.r.IntN(20))
		off = min(off, whole)
		w.state.files[ino] = slices.Concat(data[:off], make([]byte, n), data[off:])
		return f.Insert(tx, int64(off), int64(n))
	case 0:
		size := w.r.IntN(len(data) + 1)
		w.state.files[ino] = bytes.Clone(data[:size])
		return f.Truncate(tx, int64(size))
	case 1:
		delete(w.state.files, ino)
		return f.Discard(tx)
	default:
		p := pattern(n, 1+w.r.IntN([]int{300, 5000, 20_000, 100_000}[w.r.IntN(4)]))
		off := w.r.IntN(len(data) + 3000)
		if end := off + len(p); end > len(data) {
			data = append(bytes.Clone(data), make([]byte, end-len(data))...)
		} else {
			data = bytes.Clone(data)
		}
		copy(data[off:], p)
		w.state.files[ino] = data
		return f.WriteAt(t.Context(), tx, p, int64(off))
	}
}

// durable runs fn, which makes all steps durable.
func (w *workload) durable(t *testing.T, fn func() error) {
	t.Helper()
	c := commitCall{step: len(w.states) - 1, from: w.calls()}
	require.NoError(t, fn(), "commit of step %d", c.step)
	c.to = w.calls()
	w.commits = append(w.commits, c)
}

// bounds returns the steps that a crash after n host calls may leave: all that
// a commit which returned made durable, and none that no commit had begun with.
func (h *history) bounds(n int) (acked, issued int) {
	for _, c := range h.commits {
		if c.to <= n {
			acked = c.step
		}
		if c.from < n {
			issued = c.step
		}
	}
	return acked, max(acked, issued)
}

// read returns which step a volume claims to be at and checks that its content
// is that step's. An error is what reading the volume failed with; content
// that is not the step's is errWrong.
func (h *history) read(v *volume.Volume) (step int, err error) {
	val, err := v.Get(stepKey, nil)
	switch {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return 0, err
	case len(val) != 8:
		return 0, errWrong
	default:
		step = int(binary.LittleEndian.Uint64(val))
	}
	if step >= len(h.states) {
		return step, fmt.Errorf("%w: step %d never was", errWrong, step)
	}
	want := h.states[step]
	for k := uint64(2); k < 2+historyItems; k++ {
		val, err := v.Get(inodeKey(k), nil)
		w, ok := want.items[k]
		switch {
		case err != nil && !errors.Is(err, unix.ENOENT):
			return step, err
		case (err == nil) != ok || !bytes.Equal(val, w):
			return step, fmt.Errorf("%w: item %d of step %d", errWrong, k, step)
		}
	}
	for ino := uint64(firstFile); ino < firstFile+historyFiles; ino++ {
		w := want.files[ino]
		h.buf = slices.Grow(h.buf[:0], len(w)+tailSize)
		got := h.buf[:len(w)+tailSize]
		if err := v.File(ino, 0).ReadAt(context.Background(), got, 0); err != nil {
			return step, err
		}
		if !bytes.Equal(got[:len(w)], w) || !bytes.Equal(got[len(w):], noTail[:]) {
			return step, fmt.Errorf("%w: file %d of step %d", errWrong, ino, step)
		}
	}
	return step, nil
}

// reader returns a history for another goroutine to read with.
func (h *history) reader() *history { return &history{states: h.states, commits: h.commits} }

// tailSize is how far behind its end a file is looked at, in bytes.
const tailSize = 9000

var noTail [tailSize]byte

func stepValue(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

var errWrong = errors.New("wrong content")
