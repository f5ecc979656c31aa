package gvisor_test

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkStatParallel compares what two threads get done with what one does: a speedup of 2 is the best there
// is. "none" is a call that shares nothing, and tells what the machine has to give at the same time.
func BenchmarkStatParallel(b *testing.B) {
	for _, c := range []struct {
		name  string
		paths [2]string
	}{
		{"different", [2]string{"/d1/d/d/d/d/d/d/f", "/d2/d/d/d/d/d/d/f"}},
		{"same", [2]string{"/d1/d/d/d/d/d/d/f", "/d1/d/d/d/d/d/d/f"}},
	} {
		g, o := newTheirs(b), newOurs(b)
		for _, w := range []tree{g, o} {
			for _, top := range []string{"/d1", "/d2"} {
				path := top
				w.mkdir(path)
				for range 6 {
					path += "/d"
					w.mkdir(path)
				}
				w.create(path + "/f")
			}
		}
		b.Run(c.name, func(b *testing.B) {
			speedup(b, c.paths, []*candidate{
				{name: "none", stat: spin}, {name: "gvisor", stat: g.stat}, {name: "view", stat: o.stat}, {name: "task", stat: o.taskStat},
			})
		})
	}
}

var sink atomic.Uint64

// spin takes about as long as a stat.
func spin(path string) error {
	x := uint64(len(path))
	for range 200 {
		x = x*31 + 1
	}
	if x == 0 {
		sink.Store(x)
	}
	return nil
}

// A share is one thread's part of a round.
type share struct {
	cpu  int
	path string
	used time.Duration // processor time
	end  time.Time
}

// calls is how many calls a share is.
const calls = 40 * round

// run makes the calls on its processor, once all are ready.
func (s *share) run(stat func(string) error, ready *atomic.Int32) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its affinity with it
	var set unix.CPUSet
	set.Set(s.cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		panic(err)
	}
	ready.Add(-1)
	for ready.Load() != 0 { // spins: waking up takes longer than it should count
	}
	before := threadTime()
	for range calls {
		if err := stat(s.path); err != nil {
			panic(err)
		}
	}
	s.used, s.end = threadTime()-before, time.Now()
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// together runs the shares at one time. It returns the time that all take, and the processor time of one
// call, in ns.
func together(stat func(string) error, shares ...*share) (wall, cpu float64) {
	var ready atomic.Int32
	var wg sync.WaitGroup
	ready.Store(int32(len(shares)) + 1)
	for _, s := range shares {
		wg.Go(func() { s.run(stat, &ready) })
	}
	for ready.Load() > 1 {
		runtime.Gosched()
	}
	start := time.Now()
	ready.Add(-1)
	wg.Wait()
	for _, s := range shares {
		wall = max(wall, float64(s.end.Sub(start).Nanoseconds()))
		cpu += float64(s.used.Nanoseconds()) / float64(len(shares)*calls)
	}
	return wall, cpu
}

// A candidate is one of the calls that are compared, with what its rounds took on one thread and on two.
type candidate struct {
	name        string
	stat        func(string) error
	wall1, cpu1 []float64
	wall2, cpu2 []float64
}

// speedup reports for each candidate the throughput of two threads over that of one: by the best rounds of each, and
// by the processor time of a call, which other programs on the machine disturb less. The rounds of all candidates alternate.
func speedup(b *testing.B, paths [2]string, all []*candidate) {
	if runtime.NumCPU() < 2 || runtime.GOMAXPROCS(0) < 3 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3)) // two that spin, and the one that starts them
	}
	for b.Loop() {
		for _, c := range all {
			w, cpu := together(c.stat, &share{cpu: 0, path: paths[0]})
			c.wall1, c.cpu1 = append(c.wall1, w), append(c.cpu1, cpu)
			w, cpu = together(c.stat, &share{cpu: 0, path: paths[0]}, &share{cpu: 1, path: paths[1]})
			c.wall2, c.cpu2 = append(c.wall2, w), append(c.cpu2, cpu)
		}
	}
	for _, c := range all {
		b.ReportMetric(2*slices.Min(c.wall1)/slices.Min(c.wall2), c.name+"-speedup")
		b.ReportMetric(2*median(c.cpu1)/median(c.cpu2), c.name+"-cpu-speedup")
	}
	b.ReportMetric(0, "ns/op")
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
