package volume_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// BenchmarkFigureScale: memory and mount time for growing numbers of files, and a
// sparse file of 1 TiB. SEFS_FIGURES=full adds 10 million files.
func BenchmarkFigureScale(b *testing.B) {
	sizes := []int{10_000, 1_000_000}
	if os.Getenv("SEFS_FIGURES") == "full" {
		sizes = append(sizes, 10_000_000)
	}
	for _, files := range sizes {
		b.Run(fmt.Sprint(files), func(b *testing.B) { once(b, func() { scale(b, files) }) })
	}
}

func scale(b *testing.B, files int) {
	_, st := figureStore(b, inMemory())
	c := store.NewCounter(st)
	makeVolume(b, c)
	forgetPeak(b)
	v := openLoose(b, c, config())
	start := time.Now()
	const perDir = 1000
	val := pattern(1, 112)
	put := func(tx *volume.Tx, k format.Key, val []byte) {
		if err := tx.Put(k, val); err != nil {
			b.Error(err)
		}
	}
	for n := 0; n < files; n += perDir {
		tx(b, v, func(tx *volume.Tx) {
			for i := range uint64(perDir) {
				put(tx, inodeKey(1000+uint64(n)+i), val)
				put(tx, format.Key{Ino: 1000 + uint64(n), Type: format.TypeDirent, Off: rand.Uint64()}, val[:40])
			}
		})
	}
	f := v.File(10, 0)
	block := pattern(1, 4096)
	for range 20_000 {
		write(b, v, f, block, rand.Int64N(1<<40/4096)*4096)
	}
	commit(b, v)
	b.ReportMetric(time.Since(start).Seconds(), "make-s")
	blocks := f.Blocks()
	v.Abandon()

	// It is about the memory of one mounted volume: what those before had goes first.
	mount := func(access volume.Access) (took time.Duration, calls float64) {
		v, f = nil, nil
		runtime.GC()
		cfg := config()
		cfg.Access = access
		before, start := c.Counts(), time.Now()
		v = openLoose(b, c, cfg)
		return time.Since(start), float64(c.Counts().Sub(before).Total())
	}
	took, calls := mount(volume.ReadWrite)
	b.ReportMetric(float64(took.Microseconds())/1000, "dirty-mount-ms")
	b.ReportMetric(calls, "dirty-mount-calls")
	closeVolume(b, v)
	took, calls = mount(volume.ReadWrite)
	b.ReportMetric(float64(took.Microseconds())/1000, "mount-ms")
	b.ReportMetric(calls, "mount-calls")
	f = v.File(10, blocks)
	p := make([]byte, 4096)
	for range 20_000 { // find, random reads
		_, err := v.Get(inodeKey(1000+rand.Uint64N(uint64(files))), p)
		require.NoError(b, err)
		require.NoError(b, f.ReadAt(b.Context(), p, rand.Int64N(1<<40/4096)*4096))
	}
	n := 0
	require.NoError(b, v.Scan(format.Key{}, format.Key{Ino: ^uint64(0)}, func(format.Key, []byte) bool { n++; return true }))
	require.GreaterOrEqual(b, n, files)
	b.ReportMetric(peak(b), "peak-RSS-MiB")
	v.Abandon()
}
