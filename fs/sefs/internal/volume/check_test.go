package volume_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

func reading() volume.Config {
	cfg := config()
	cfg.Access = volume.ReadOnly
	return cfg
}

// check returns what Check finds.
func check(t testing.TB, v *volume.Volume) (found []volume.Damage) {
	t.Helper()
	var last format.Key
	require.NoError(t, v.Check(t.Context(), volume.CheckConfig{
		Damage: func(d volume.Damage) { found = append(found, d) },
		Item: func(k format.Key, _ []byte) error {
			require.True(t, last.Less(k), "items come in order")
			last = k
			return nil
		},
	}), "Check")
	return found
}

// TestCheckCalls counts the host calls of Check for files that were written from front to end,
// and in random order.
func TestCheckCalls(t *testing.T) {
	const size = 64 << 20
	for name, row := range map[string]struct {
		write func(v *volume.Volume)
		most  float64 // calls per MiB
	}{
		"sequential": {func(v *volume.Volume) { writeFile(t, v, 10, size, 1<<20) }, 1.3},
		"small files": {func(v *volume.Volume) {
			for ino := range uint64(size / 2 >> 14) {
				writeFile(t, v, 10+ino, 16<<10, 16<<10)
			}
		}, 1.3},
		"random": {func(v *volume.Volume) {
			f := v.File(10, 0)
			p := pattern(1, 4096)
			for i := range size / 2 / 4096 {
				at := int64(i*7919%(size/2/4096)) * 4096
				tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, p, at)) })
			}
		}, 1.5},
	} {
		t.Run(name, func(t *testing.T) {
			mem, v := newVolume(t)
			row.write(v)
			closeVolume(t, v)
			c := store.NewCounter(mem)
			v = open(t, c, reading())
			before := c.Counts()
			require.Empty(t, check(t, v))
			calls := c.Counts().Sub(before)
			mib := float64(v.Stats().BlocksUsed) * 4096 / (1 << 20)
			require.LessOrEqual(t, float64(calls.Total())/mib, row.most, "%d calls for %.1f MiB", calls.Total(), mib)
			t.Logf("%.2f calls per MiB", float64(calls.Total())/mib)
		})
	}
}

// TestCheckProgress counts every byte in use once.
func TestCheckProgress(t *testing.T) {
	mem, v := newVolume(t)
	writeFile(t, v, 10, 5<<20, 1<<20)
	closeVolume(t, v)
	v = open(t, mem, reading())
	var last int64
	require.NoError(t, v.Check(t.Context(), volume.CheckConfig{Progress: func(done, total int64) {
		require.GreaterOrEqual(t, done, last)
		require.EqualValues(t, v.Stats().BlocksUsed*4096, total)
		last = done
	}}))
	require.EqualValues(t, v.Stats().BlocksUsed*4096, last)
}

// TestCheckWithJournal checks a volume with commits that no checkpoint has.
func TestCheckWithJournal(t *testing.T) {
	mem, v := newVolume(t)
	writeFile(t, v, 10, 3<<20, 1<<20)
	closeVolume(t, v)
	v = open(t, mem, config())
	writeFile(t, v, 11, 2<<20, 1<<20)
	writeFile(t, v, 12, 8192, 4096)
	commit(t, v)
	v.Abandon()
	v = open(t, mem, reading())
	require.Positive(t, v.Stats().Replayed)
	require.Empty(t, check(t, v))
	logged, err := v.JournalBlocks()
	require.NoError(t, err)
	require.Equal(t, map[uint64]uint64{12: 2}, logged)
}

// TestCheckErrors tells damage from what ends a check.
func TestCheckErrors(t *testing.T) {
	mem, v := newVolume(t)
	require.ErrorIs(t, v.Check(t.Context(), volume.CheckConfig{}), unix.EINVAL, "open for writing")
	require.ErrorIs(t, v.Walk(t.Context(), format.Key{}, nil), unix.EINVAL, "open for writing")
	writeFile(t, v, 10, 8<<20, 1<<20)
	closeVolume(t, v)

	v = open(t, mem, reading())
	stop := errors.New("stop")
	require.ErrorIs(t, v.Check(t.Context(), volume.CheckConfig{Item: func(format.Key, []byte) error { return stop }}), stop)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, v.Check(ctx, volume.CheckConfig{}), context.Canceled)
}

// BenchmarkFigureScrub: bytes per second that Check verifies, relative to opening as many with bare
// AES-128-GCM on one processor: one large file, and many small ones. It must be 0.3 at least.
func BenchmarkFigureScrub(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	once(b, func() {
		results := make(map[string][]float64)
		for name, file := range map[string]int{"large": 192 * mib, "small": 16 << 10} {
			const size = 192 * mib
			_, st := figureStore(b, inMemory())
			makeVolume(b, st)
			v := openLoose(b, st, config())
			for n := range size / file {
				writeFile(b, v, uint64(10+n), file, min(file, mib))
			}
			closeVolume(b, v)
			for range 5 {
				for procs := 1; procs <= 2; procs++ {
					runtime.GOMAXPROCS(procs)
					v := openLoose(b, st, reading())
					bytes := int(v.Stats().BlocksUsed) * format.BlockSize
					_, opened := rawOpenOn1(b, bytes)
					start := time.Now()
					require.NoError(b, v.Check(b.Context(), volume.CheckConfig{Damage: func(d volume.Damage) { b.Error(d.Err) }}))
					key := fmt.Sprintf("%s/raw-%dcpu", name, procs)
					results[key] = append(results[key], opened.Seconds()/time.Since(start).Seconds())
					v.Abandon()
				}
			}
		}
		for name, x := range results {
			require.GreaterOrEqual(b, median(x), 0.3, name)
			b.ReportMetric(median(x), name)
		}
	})
}

// rawOpenOn1 is rawSeal on one processor.
func rawOpenOn1(b *testing.B, size int) (sealed, opened time.Duration) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return rawSeal(b, size)
}

// TestDamageStaysWhereItIs damages each node of the tree: files of which Check says that nothing is
// lost read as before, and others read as before or not at all.
func TestDamageStaysWhereItIs(t *testing.T) {
	const files = 200
	mem, v := newVolume(t)
	for ino := range uint64(files) {
		writeFile(t, v, 10+ino, int(1+ino*97%6)*700, 700)
	}
	closeVolume(t, v)
	sizes := func(ino uint64) int { return int(1+ino*97%6) * 700 }
	require.NotEmpty(t, mem.Bytes("seg/00/00000000"))
	data := mem.Bytes("seg/00/00000000")
	nodes := 0
	for at := 0; at < len(data); at += 4096 {
		data[at] ^= 1
		v := openLoose(t, mem, reading())
		var lost []volume.Damage
		for _, d := range check(t, v) {
			if d.Kind == volume.DamageNode {
				lost = append(lost, d)
			}
		}
		for ino := uint64(10); len(lost) > 0 && ino < 10+files; ino++ {
			hit := false
			for _, d := range lost {
				hit = hit || d.From.Less(format.Key{Ino: ino + 1}) && inodeKey(ino).Less(d.To)
			}
			f := v.File(ino, 0)
			f.SetSize(int64(sizes(ino - 10)))
			p := make([]byte, sizes(ino-10))
			err := f.ReadAt(t.Context(), p, 0)
			if hit && err != nil {
				require.ErrorIs(t, err, unix.EIO)
				continue
			}
			require.NoError(t, err, "inode %d, and lost is %v", ino, lost)
			for i := 0; i < len(p); i += 700 {
				require.Equal(t, pattern(int(ino), 700), p[i:i+700], "inode %d", ino)
			}
			if !hit {
				_, err = f.SeekData(0)
				require.NoError(t, err)
				_, err = f.SeekHole(0)
				require.NoError(t, err)
				require.NoError(t, v.Scan(inodeKey(ino), format.Key{Ino: ino + 1}, func(format.Key, []byte) bool { return true }))
			}
		}
		if len(lost) > 0 {
			nodes++
		}
		v.Abandon()
		data[at] ^= 1
	}
	require.Greater(t, nodes, 10)
}
