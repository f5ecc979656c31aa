package volume_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// benchVolume makes a volume in a directory of memory, if the machine has one.
func benchVolume(b *testing.B) (store.Store, *volume.Volume) {
	b.Helper()
	parent := ""
	if _, err := os.Stat("/dev/shm"); err == nil {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "sefs-bench-")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	st, err := store.OpenHost(dir, store.ReadWrite)
	require.NoError(b, err)
	makeVolume(b, st)
	return st, open(b, st, config())
}

const benchSize = 256 << 20

func BenchmarkWriteSequential(b *testing.B) {
	for _, piece := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(sizeName(piece), func(b *testing.B) {
			_, v := benchVolume(b)
			f := v.File(10, 0)
			p := pattern(1, piece)
			b.SetBytes(int64(piece))
			off := int64(0)
			measure(b, func() {
				tx(b, v, func(tx *volume.Tx) { require.NoError(b, f.WriteAt(b.Context(), tx, p, off)) })
				off = (off + int64(piece)) % benchSize
			})
			commit(b, v)
		})
	}
}

func BenchmarkReadSequential(b *testing.B) {
	for _, piece := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(sizeName(piece), func(b *testing.B) {
			_, v := benchVolume(b)
			f := v.File(10, writeFile(b, v, 10, benchSize, 1<<20))
			f.SetSize(benchSize)
			p := make([]byte, piece)
			b.SetBytes(int64(piece))
			off := int64(0)
			measure(b, func() {
				require.NoError(b, f.ReadAt(b.Context(), p, off))
				off = (off + int64(piece)) % benchSize
			})
		})
	}
}

func BenchmarkReadRandom(b *testing.B) {
	_, v := benchVolume(b)
	f := v.File(10, writeFile(b, v, 10, benchSize, 1<<20))
	f.SetSize(benchSize)
	p := make([]byte, 4096)
	b.SetBytes(4096)
	measure(b, func() {
		require.NoError(b, f.ReadAt(b.Context(), p, rand.Int64N(benchSize/4096)*4096))
	})
}

func BenchmarkWriteRandom(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "fsync"}[fsync], func(b *testing.B) {
			_, v := benchVolume(b)
			f := v.File(10, writeFile(b, v, 10, benchSize, 1<<20))
			p := pattern(1, 4096)
			b.SetBytes(4096)
			measure(b, func() {
				tx(b, v, func(tx *volume.Tx) {
					require.NoError(b, f.WriteAt(b.Context(), tx, p, rand.Int64N(benchSize/4096)*4096))
				})
				if fsync {
					commit(b, v)
				}
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	_, v := benchVolume(b)
	const n = 50_000
	tx(b, v, func(tx *volume.Tx) {
		for i := range uint64(n) {
			require.NoError(b, tx.Put(inodeKey(i), pattern(int(i), 128)))
		}
	})
	var buf [256]byte
	measure(b, func() {
		_, err := v.Get(inodeKey(rand.Uint64N(n)), buf[:])
		require.NoError(b, err)
	})
}

func BenchmarkPut(b *testing.B) {
	_, v := benchVolume(b)
	val := pattern(1, 128)
	i := uint64(0)
	measure(b, func() {
		tx(b, v, func(tx *volume.Tx) { require.NoError(b, tx.Put(inodeKey(i%100_000), val)) })
		i += 7919
	})
}

// cpuTime is the processor time of the process so far: what a busy machine
// does not distort.
func cpuTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// measure runs fn b.N times and reports processor time beside wall time.
func measure(b *testing.B, fn func()) {
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		fn()
	}
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return string(rune('0'+n>>20)) + "MiB"
	}
	return map[int]string{4 << 10: "4KiB", 128 << 10: "128KiB"}[n]
}
