package volume_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestConcurrent writes, reads, truncates, commits and checkpoints at the same
// time, with caches too small for the data.
func TestConcurrent(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	cfg := config()
	cfg.NodeCacheBytes, cfg.PageCacheBytes = 1, 1
	cfg.CommitInterval = time.Millisecond
	v := open(t, mem, cfg)
	const workers, rounds, size = 4, 60, 3 << 20
	var wg sync.WaitGroup
	errs := make(chan error, workers+1)
	for n := range workers {
		wg.Go(func() {
			if err := churn(t.Context(), v, n, rounds, size); err != nil {
				errs <- fmt.Errorf("worker %d: %w", n, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, volume.Verify(v))
	closeVolume(t, v)
}

// TestCloseWhileCommitting closes volumes whose background work never rests: neither waits for the other for ever.
func TestCloseWhileCommitting(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	cfg := config()
	cfg.CommitInterval = time.Microsecond
	for range 300 {
		closeVolume(t, open(t, mem, cfg))
	}
}

// churn works on one file: it writes, checks, truncates and commits. A reader
// reads along.
func churn(ctx context.Context, v *volume.Volume, n, rounds, size int) error {
	r := rand.New(rand.NewPCG(uint64(n), 5))
	f := v.File(uint64(100+n), 0)
	want := make([]byte, size)
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	readErr := make(chan error, 1)
	wg.Go(func() { readErr <- readAlong(ctx, f, size, stop) })
	for round := range rounds {
		err := inTx(ctx, v, func(tx *volume.Tx) error {
			off, p := r.IntN(size), pattern(round, 1+r.IntN(200_000))
			if round%10 == 9 {
				off, p = 0, pattern(round, 2<<20)
			}
			p = p[:min(len(p), size-off)]
			copy(want[off:], p)
			if err := tx.Put(inodeKey(uint64(n)), p[:min(len(p), 100)]); err != nil {
				return err
			}
			return f.WriteAt(ctx, tx, p, int64(off))
		})
		if err == nil && round%7 == 6 {
			cut := r.IntN(size)
			clear(want[cut:])
			err = inTx(ctx, v, func(tx *volume.Tx) error { return f.Truncate(tx, int64(cut)) })
		}
		if err == nil && round%3 == 0 {
			err = v.Commit(ctx)
		}
		if err != nil {
			return err
		}
		off := r.IntN(size)
		got := make([]byte, min(500_000, size-off))
		if err := f.ReadAt(ctx, got, int64(off)); err != nil {
			return err
		}
		if !bytes.Equal(got, want[off:off+len(got)]) {
			return fmt.Errorf("round %d: wrong data at %d", round, off)
		}
		select {
		case err := <-readErr:
			return err
		default:
		}
	}
	return nil
}

// readAlong reads random parts until stop is closed; what it reads may change.
func readAlong(ctx context.Context, f *volume.File, size int, stop chan struct{}) error {
	r := rand.New(rand.NewPCG(9, 9))
	p := make([]byte, 400_000)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		n := 1 + r.IntN(len(p))
		if err := f.ReadAt(ctx, p[:n], int64(r.IntN(size-n))); err != nil {
			return fmt.Errorf("reading along: %w", err)
		}
	}
}

func inTx(ctx context.Context, v *volume.Volume, fn func(*volume.Tx) error) error {
	tx, err := v.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.End()
	return fn(tx)
}

// TestReadDuringWrite lets a write replace the blocks that a read is just
// fetching. The read may see either, but must not leave the old ones cached.
func TestReadDuringWrite(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	const size = 1 << 20
	before, after := pattern(1, size), pattern(2, size)
	var during func() // what happens during the next read of data
	v := open(t, store.NewFaulty(mem, func(_ int, c store.Call) store.Fault {
		if fn := during; fn != nil && c.Kind == store.KindRead && len(c.Data) == 4096 {
			during = nil
			fn()
		}
		return store.Fault{}
	}), config())
	f := v.File(10, 0)
	write := func(p []byte) {
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, p, 0)) })
	}
	tests := []struct {
		name   string
		change func()
		want   []byte
	}{
		{"overwrite", func() { write(after) }, after},
		{"truncate", func() { tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Truncate(tx, 0)) }) }, make([]byte, size)},
		{"overwrite and reuse", func() { write(after); commit(t, v) }, after},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write(before)
			commit(t, v) // what is on its way to a segment is not read from there
			during = tt.change
			p := make([]byte, 4096)
			require.NoError(t, f.ReadAt(t.Context(), p, 40*4096))
			require.Nil(t, during, "the change came during the read")
			require.NoError(t, f.ReadAt(t.Context(), p, 40*4096))
			require.True(t, bytes.Equal(tt.want[40*4096:41*4096], p), "content afterwards")
		})
	}
}

// TestGroupCommit lets many callers commit at once: they share the work.
func TestGroupCommit(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	var slow sync.Mutex
	c := store.NewCounter(store.NewFaulty(mem, func(_ int, call store.Call) store.Fault {
		if call.Kind == store.KindSync {
			slow.Lock() // held by the test until all callers wait
			defer slow.Unlock()
		}
		return store.Fault{}
	}))
	v := open(t, c, config())
	const callers = 20
	slow.Lock()
	before := c.Counts()
	var wg, ready sync.WaitGroup
	errs := make(chan error, callers)
	for i := range uint64(callers) {
		ready.Add(1)
		wg.Go(func() {
			err := inTx(t.Context(), v, func(tx *volume.Tx) error { return tx.Put(inodeKey(i), []byte("x")) })
			ready.Done()
			if err == nil {
				err = v.Commit(t.Context())
			}
			errs <- err
		})
	}
	ready.Wait()
	slow.Unlock()
	wg.Wait()
	for range callers {
		require.NoError(t, <-errs)
	}
	syncs := c.Counts().Sub(before).Of(store.KindSync)
	require.LessOrEqual(t, syncs, int64(callers/2), "syncs of %d commits at once", callers)
	v.Abandon()
	v = open(t, mem, config())
	for i := range uint64(callers) {
		_, err := v.Get(inodeKey(i), nil)
		require.NoError(t, err, "item %d", i)
	}
}
