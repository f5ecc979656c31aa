package gvisor_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tree is what the two worlds have in common.
type tree interface {
	mkdir(path string)
	create(path string)
	mount(path string)
	umount(path string)
	setUser()
}

// deep makes a file below depth directories and returns its path. If mounted is not 0, a file
// system is mounted on the directory that many levels down.
func deep(w tree, depth, mounted int) string {
	path := ""
	for i := range depth {
		path += fmt.Sprintf("/dir%d", i)
		w.mkdir(path)
		if i+1 == mounted {
			w.mount(path)
		}
	}
	path += "/file"
	w.create(path)
	return path
}

// round is how many calls are timed together.
const round = 500

// timed is one of the calls that are compared.
type timed struct {
	name string
	to   string // which one it is set in relation to; "" for none
	call func() error
}

// compare times the calls in turn, a round of each at a time, so that whatever else the machine does hits
// all of them alike. It reports the median of each in nanoseconds, and the ratios of medians.
func compare(b *testing.B, calls []timed) {
	times := make([][]float64, len(calls))
	for b.Loop() {
		for i, c := range calls {
			start := time.Now()
			for range round {
				if err := c.call(); err != nil {
					b.Fatal(c.name, err)
				}
			}
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/round)
		}
	}
	medians := make(map[string]float64)
	for i, c := range calls {
		slices.Sort(times[i])
		medians[c.name] = times[i][len(times[i])/2]
		b.ReportMetric(medians[c.name], c.name+"-ns")
		if c.to != "" {
			b.ReportMetric(medians[c.name]/medians[c.to], c.name+"/"+c.to)
		}
	}
	b.ReportMetric(0, "ns/op") // of a round of all: says nothing
}

func stat[W any](f func(W, string) error, w W, path string) func() error {
	return func() error { return f(w, path) }
}

// BenchmarkStat compares stat of a file below some directories.
func BenchmarkStat(b *testing.B) {
	for _, user := range []bool{false, true} {
		for _, depth := range []int{1, 4, 8} {
			b.Run(fmt.Sprintf("user=%v/depth=%d", user, depth), func(b *testing.B) {
				g, c := newTheirs(b), newOurs(b)
				path := deep(g, depth, 0)
				require.Equal(b, path, deep(c, depth, 0))
				if user {
					g.setUser()
					c.setUser()
				}
				compare(b, []timed{
					{"gvisor", "", stat((*theirs).stat, g, path)},
					{"view", "gvisor", stat((*ours).stat, c, path)},
					{"task", "gvisor", stat((*ours).taskStat, c, path)},
				})
			})
		}
	}
}

// BenchmarkStatMount compares the same 8 directories with and without a mount on the way.
func BenchmarkStatMount(b *testing.B) {
	plain, crossing, g := newOurs(b), newOurs(b), newTheirs(b)
	path := deep(plain, 8, 0)
	deep(crossing, 8, 4)
	deep(g, 8, 4)
	compare(b, []timed{
		{"gvisor", "", stat((*theirs).stat, g, path)},
		{"plain", "", stat((*ours).stat, plain, path)},
		{"view", "plain", stat((*ours).stat, crossing, path)},
		{"task", "plain", stat((*ours).taskStat, crossing, path)},
	})
}

// BenchmarkStatManyMounts compares crossing the only mount with crossing one of 10000.
func BenchmarkStatManyMounts(b *testing.B) {
	one, many := newOurs(b), newOurs(b)
	path := deep(one, 8, 4)
	deep(many, 8, 4)
	many.mkdir("/others")
	for i := range 10000 {
		at := fmt.Sprintf("/others/m%d", i)
		many.mkdir(at)
		many.mount(at)
	}
	compare(b, []timed{
		{"one", "", stat((*ours).stat, one, path)},
		{"many", "one", stat((*ours).stat, many, path)},
		{"onetask", "", stat((*ours).taskStat, one, path)},
		{"manytask", "onetask", stat((*ours).taskStat, many, path)},
	})
}

// BenchmarkMountUmount compares mounting a file system in memory and unmounting it.
func BenchmarkMountUmount(b *testing.B) {
	cycle := func(w tree) func() error {
		w.mkdir("/m")
		return func() error {
			w.mount("/m")
			w.umount("/m")
			return nil
		}
	}
	compare(b, []timed{{"gvisor", "", cycle(newTheirs(b))}, {"task", "gvisor", cycle(newOurs(b))}})
}

// TestAllocations: neither side of the comparison allocates.
func TestAllocations(t *testing.T) {
	w := newOurs(t)
	path := deep(w, 8, 4)
	for name, f := range map[string]func(string) error{"view": w.stat, "task": w.taskStat} {
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = f(path) }), name)
		require.NoError(t, f(path))
	}
}
