package volume_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// The benchmarks named BenchmarkFigure measure the figures that the engine is
// held to (`make bench-sefs`). Each runs once, whatever b.N. What is compared is
// measured in turns within one run, and medians are reported, so that a busy
// machine disturbs both sides alike.

const mib = 1 << 20

// figureStore returns a store in a new directory below parent, "" for the
// directory of tests.
func figureStore(b testing.TB, parent string) (dir string, st store.Store) {
	b.Helper()
	if parent == "" {
		dir = b.TempDir()
	} else {
		var err error
		dir, err = os.MkdirTemp(parent, "sefs-figure-")
		require.NoError(b, err)
		b.Cleanup(func() { os.RemoveAll(dir) })
	}
	st, err := store.OpenHost(dir, store.ReadWrite)
	require.NoError(b, err)
	return dir, st
}

// inMemory is where tmpfs is; a machine without it uses its disk.
func inMemory() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

// rawBox returns AES-128-GCM with a fresh key.
func rawBox(b testing.TB) *seal.Box {
	ring := seal.NewKeyring(seal.KeyringConfig{KeySize: 16})
	box, _, err := seal.NewSession(ring, nil).Reserve(1)
	require.NoError(b, err)
	return box
}

// rawSeal seals and opens size bytes in blocks of 4 KiB with bare
// AES-128-GCM on one processor, and return how long that took.
func rawSeal(b testing.TB, size int) (sealed, opened time.Duration) {
	box := rawBox(b)
	const piece = 4096 + seal.TagSize
	buf := make([]byte, 256*piece)
	for done := 0; done < size; done += mib {
		start := time.Now()
		for i := range uint64(256) {
			box.Seal(seal.DomainData, i, buf[i*piece:(i+1)*piece], nil)
		}
		sealed += time.Since(start)
		start = time.Now()
		for i := range uint64(256) {
			require.True(b, box.Open(seal.DomainData, i, buf[i*piece:(i+1)*piece], nil))
		}
		opened += time.Since(start)
	}
	return sealed, opened
}

// slowStore makes every call to the host take 10 µs longer, as leaving an
// enclave does.
func slowStore(st store.Store) store.Store {
	return store.NewFaulty(st, func(int, store.Call) store.Fault {
		for start := time.Now(); time.Since(start) < 10*time.Microsecond; {
		}
		return store.Fault{}
	})
}

// write does one WriteAt in its own transaction, without the cost of require.
func write(b *testing.B, v *volume.Volume, f *volume.File, p []byte, off int64) {
	tx, err := v.Begin(b.Context())
	if err == nil {
		err = f.WriteAt(b.Context(), tx, p, off)
		tx.End()
	}
	if err != nil {
		b.Error(err)
	}
}

func median[T float64 | time.Duration](x []T) T {
	slices.Sort(x)
	return x[len(x)/2]
}

// once runs fn as the only iteration that counts.
func once(b *testing.B, fn func()) {
	for i := 0; b.Loop(); i++ {
		if i == 0 {
			fn()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// sequential writes a file of size bytes to a new volume on st, mounts it again
// and reads it, and returns how long each took.
func sequential(b *testing.B, st store.Store, size int) (wrote, read time.Duration) {
	b.Helper()
	makeVolume(b, st)
	v := openLoose(b, st, config())
	f := v.File(10, 0)
	p := pattern(1, mib)
	start := time.Now()
	for off := 0; off < size; off += mib {
		write(b, v, f, p, int64(off))
	}
	commit(b, v)
	wrote = time.Since(start)
	closeVolume(b, v)
	v = openLoose(b, st, config())
	f = v.File(10, f.Blocks())
	f.SetSize(int64(size))
	start = time.Now()
	for off := 0; off < size; off += mib {
		require.NoError(b, f.ReadAt(b.Context(), p, int64(off)))
	}
	read = time.Since(start)
	v.Abandon()
	return wrote, read
}

// hugePages mounts a tmpfs with huge pages. Without them the kernel takes longer to find a page of
// 4 KiB than AES takes to seal it, and it is the kernel that is measured.
func hugePages(b *testing.B) string {
	dir := b.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "huge=within_size"); err != nil {
		b.Skipf("mounting a tmpfs with huge pages, which takes root: %v", err)
	}
	b.Cleanup(func() { require.NoError(b, unix.Unmount(dir, 0)) })
	return dir
}

// rawWrite seals size bytes with bare AES-128-GCM and writes them to new files in dir, on so
// many goroutines, and returns how long that took.
func rawWrite(b *testing.B, dir string, size, goroutines int) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			f, err := os.CreateTemp(dir, "raw-")
			if err != nil {
				b.Error(err)
				return
			}
			defer os.Remove(f.Name())
			defer f.Close()
			box, p := rawBox(b), make([]byte, mib+seal.TagSize)
			for off := 0; off < size/goroutines; off += mib {
				for i := range 256 {
					box.Seal(seal.DomainData, uint64(i), p[i*4096:(i+1)*4096+seal.TagSize], nil)
				}
				if _, err := f.WriteAt(p[:mib], int64(off)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// BenchmarkFigureSequential: bytes per second relative to bare AES-128-GCM on
// one processor, with one and with two processors, and what 10 µs more per call cost.
// limit/raw is what is left of it on one processor when the bytes are only sealed and
// written, limit-2cpu/1cpu what two processors make of that.
func BenchmarkFigureSequential(b *testing.B) {
	b.Run("hugepages", func(b *testing.B) { sequentialFigures(b, hugePages(b)) })
	b.Run("pages", func(b *testing.B) { sequentialFigures(b, inMemory()) })
}

func sequentialFigures(b *testing.B, parent string) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const size = 512 * mib
	results := make(map[string][]float64)
	add := func(name string, x float64) { results[name] = append(results[name], x) }
	// The store is removed after each turn, and the first turn does not count: a
	// virtual machine gets memory that nobody has touched yet much slower.
	turn := func(slow bool) (wrote, read time.Duration) {
		dir, st := figureStore(b, parent)
		defer os.RemoveAll(dir)
		if slow {
			st = slowStore(st)
		}
		return sequential(b, st, size)
	}
	once(b, func() {
		turn(false)
		for range 11 {
			runtime.GOMAXPROCS(1)
			sealed, opened := rawSeal(b, size)
			limit := rawWrite(b, parent, size, 1)
			runtime.GOMAXPROCS(2)
			add("limit-2cpu/1cpu", limit.Seconds()/rawWrite(b, parent, size, 2).Seconds())
			add("limit/raw", sealed.Seconds()/limit.Seconds())
			add("raw-GB/s", size/sealed.Seconds()/1e9)
			var wrote, read [3]time.Duration
			for procs := 1; procs <= 2; procs++ { // one after the other: they are compared
				runtime.GOMAXPROCS(procs)
				wrote[procs], read[procs] = turn(false)
			}
			for procs := 1; procs <= 2; procs++ {
				runtime.GOMAXPROCS(procs)
				slowWrote, slowRead := turn(true)
				add(fmt.Sprintf("write/raw-%dcpu", procs), sealed.Seconds()/wrote[procs].Seconds())
				add(fmt.Sprintf("read/raw-%dcpu", procs), opened.Seconds()/read[procs].Seconds())
				add(fmt.Sprintf("write-10µs-loss-%%-%dcpu", procs), 100*(1-wrote[procs].Seconds()/slowWrote.Seconds()))
				add(fmt.Sprintf("read-10µs-loss-%%-%dcpu", procs), 100*(1-read[procs].Seconds()/slowRead.Seconds()))
			}
			add("write-2cpu/1cpu", wrote[1].Seconds()/wrote[2].Seconds())
			add("read-2cpu/1cpu", read[1].Seconds()/read[2].Seconds())
		}
		for name, x := range results {
			b.ReportMetric(median(x), name)
		}
	})
}

// BenchmarkFigureRandom: random reads and writes of 4 KiB per second in a file of
// 1 GiB, on one processor and on two, and for comparison how often bare AES-128-GCM seals
// 4 KiB on one.
func BenchmarkFigureRandom(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for procs := 1; procs <= 2; procs++ {
		b.Run(fmt.Sprintf("%dcpu", procs), func(b *testing.B) {
			runtime.GOMAXPROCS(procs)
			once(b, func() { random(b) })
		})
	}
}

func random(b *testing.B) {
	const size, n = 1 << 30, 40_000
	_, st := figureStore(b, inMemory())
	makeVolume(b, st)
	v := open(b, st, config())
	f := v.File(10, writeFile(b, v, 10, size, mib))
	f.SetSize(size)
	commit(b, v)
	p := pattern(1, 4096)
	results := make(map[string][]float64)
	measure := func(name string, fn func(off int64)) {
		start, cpu := time.Now(), cpuTime()
		for range n {
			fn(rand.Int64N(size/4096) * 4096)
		}
		results[name+"/s"] = append(results[name+"/s"], n/time.Since(start).Seconds())
		results[name+"/cpu-s"] = append(results[name+"/cpu-s"], n/time.Duration(cpuTime()-cpu).Seconds())
	}
	for range 5 {
		sealed, _ := rawSeal(b, n*4096)
		results["raw-seals/s"] = append(results["raw-seals/s"], n/sealed.Seconds())
		measure("reads", func(off int64) {
			if err := f.ReadAt(b.Context(), p, off); err != nil {
				b.Error(err)
			}
		})
		measure("writes", func(off int64) { write(b, v, f, p, off) })
	}
	for name, x := range results {
		b.ReportMetric(median(x), name)
	}
}

// BenchmarkFigureAmplification: bytes written to the host for each byte, and
// calls per MiB or per operation.
func BenchmarkFigureAmplification(b *testing.B) {
	once(b, func() {
		_, c, v := counted(b)
		const size = 1 << 30
		before := c.Counts()
		did := func(per float64) (bytes, calls float64) {
			d := c.Counts().Sub(before)
			before = c.Counts()
			return float64(d.BytesWritten), float64(d.Total()) / per
		}
		f := v.File(10, writeFile(b, v, 10, size, mib))
		commit(b, v)
		require.NoError(b, volume.Verify(v))
		bytes, calls := did(size / mib)
		b.ReportMetric(bytes/size, "seq-amp")
		b.ReportMetric(calls, "seq-calls/MiB")

		p := pattern(1, 4096)
		writes := func(n int, sync bool) {
			for range n {
				write(b, v, f, p, rand.Int64N(size/4096)*4096)
				if sync {
					commit(b, v)
				}
			}
			require.NoError(b, volume.Verify(v))
		}
		const random, synced = 1 << 18, 20_000
		writes(synced, true)
		bytes, calls = did(synced)
		b.ReportMetric(bytes/(synced*4096), "fsync-amp")
		b.ReportMetric(calls, "fsync-calls/write")
		writes(random, false)
		bytes, calls = did(random)
		b.ReportMetric(bytes/(random*4096), "random-amp")
		b.ReportMetric(calls, "random-calls/write")
	})
}

// BenchmarkFigureFsync: 4 KiB write and commit on the disk, beside overwriting
// 8 KiB of a file and fdatasync(2), and commits per second with 8 writers.
func BenchmarkFigureFsync(b *testing.B) {
	once(b, func() {
		dir, st := figureStore(b, "")
		makeVolume(b, st)
		v := open(b, st, config())
		blocks := writeFile(b, v, 10, 64*mib, mib)
		commit(b, v)
		f := v.File(10, blocks)
		raw, err := os.Create(filepath.Join(dir, "raw"))
		require.NoError(b, err)
		defer raw.Close()
		p := pattern(1, 8192)
		for off := int64(0); off < 16*mib; off += 8192 {
			_, err := raw.WriteAt(p, off)
			require.NoError(b, err)
		}
		require.NoError(b, raw.Sync())
		var blocksOf [8]int64
		one := func(f *volume.File) {
			write(b, v, f, p[:4096], rand.Int64N(64*mib/4096)*4096)
			if err := v.Commit(b.Context()); err != nil {
				b.Error(err)
			}
		}
		var ours, bare []time.Duration
		for i := range 2000 {
			start := time.Now()
			_, err := raw.WriteAt(p, rand.Int64N(16*mib/8192)*8192)
			require.NoError(b, err)
			require.NoError(b, fdatasync(raw))
			between := time.Now()
			one(f)
			if i >= 200 {
				bare = append(bare, between.Sub(start))
				ours = append(ours, time.Since(between))
			}
		}
		b.ReportMetric(float64(median(ours).Microseconds()), "fsync-p50-µs")
		b.ReportMetric(float64(median(bare).Microseconds()), "raw-p50-µs")
		b.ReportMetric(median(ours).Seconds()/median(bare).Seconds(), "fsync/raw")

		rate := func(writers int) (perSecond, perCommit float64) {
			const n = 200
			start, seq := time.Now(), v.Stats().Seq
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					f := v.File(uint64(100+w), blocksOf[w])
					for range n {
						one(f)
					}
					blocksOf[w] = f.Blocks()
				})
			}
			wg.Wait()
			all := float64(writers * n)
			return all / time.Since(start).Seconds(), all / float64(v.Stats().Seq-seq)
		}
		var gain, group []float64
		for range 15 {
			single, _ := rate(1)
			eight, together := rate(8)
			gain = append(gain, eight/single)
			group = append(group, together)
		}
		b.ReportMetric(median(gain), "8-writers/1")
		b.ReportMetric(median(group), "8-writers-per-commit")
	})
}

// hostBytes returns what the segment files of a volume take on the host.
func hostBytes(t testing.TB, dir string) int64 {
	t.Helper()
	var sum int64
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "seg"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			sum += allocated(t, name)
		}
		return err
	}))
	return sum
}

// BenchmarkFigureSpace: cutting a file of 1 GiB, and what the host holds for
// each live byte after overwriting a volume 100 times in several ways.
func BenchmarkFigureSpace(b *testing.B) {
	b.Run("truncate", func(b *testing.B) {
		once(b, func() {
			dir, st := figureStore(b, inMemory())
			makeVolume(b, st)
			v := open(b, st, config())
			const size = 1 << 30
			f := v.File(10, writeFile(b, v, 10, size, mib))
			commit(b, v)
			start := time.Now()
			tx(b, v, func(tx *volume.Tx) { require.NoError(b, f.Truncate(tx, 0)) })
			b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "truncate-ms")
			require.NoError(b, volume.Verify(v)) // a checkpoint
			b.ReportMetric(float64(hostBytes(b, dir))/mib, "host-MiB-after")
		})
	})
	for _, piece := range []int{4 << 10, 64 << 10, mib} {
		b.Run("churn-"+strings.TrimSpace(sizeName(piece)), func(b *testing.B) {
			once(b, func() {
				const live = 192 * mib
				dir, st := figureStore(b, inMemory())
				c := store.NewCounter(st)
				makeVolume(b, c)
				v := open(b, c, config())
				f := v.File(10, writeFile(b, v, 10, live, mib))
				commit(b, v)
				p := pattern(1, piece)
				before := c.Counts()
				worst, at := 0.0, 0
				start := time.Now()
				const total = 100 * live
				done := 0
				for ; done < total && time.Since(start) < 40*time.Second; done += piece {
					write(b, v, f, p, rand.Int64N(int64(live/piece))*int64(piece))
					if done-at > live/2 {
						at = done
						worst = max(worst, float64(hostBytes(b, dir))/live)
					}
				}
				closeVolume(b, v)
				d := c.Counts().Sub(before)
				b.ReportMetric(worst, "worst-host/live")
				b.ReportMetric(float64(hostBytes(b, dir))/live, "host/live")
				b.ReportMetric(float64(d.BytesWritten)/float64(done), "amp")
				b.ReportMetric(float64(done)/live, "times")
				b.ReportMetric(float64(done)/mib/time.Since(start).Seconds(), "MiB/s")
			})
		})
	}
}
