package hostfs_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/syscall"
	"cloister/vfs"
)

// compare times ours and the host's in turn, so that whatever else the machine does hits both alike, and
// reports the medians in nanoseconds and their ratio.
func compare(b *testing.B, round int, host, ours func() error) {
	var times [2][]float64
	for b.Loop() {
		for i, f := range []func() error{host, ours} {
			start := time.Now()
			for range round {
				if err := f(); err != nil {
					b.Fatal(i, err)
				}
			}
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/float64(round))
		}
	}
	var medians [2]float64
	for i, t := range times {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
	}
	b.ReportMetric(medians[0], "host-ns")
	b.ReportMetric(medians[1], "ours-ns")
	b.ReportMetric(medians[1]/medians[0], "ours/host")
	b.ReportMetric(0, "ns/op") // of a round of both: says nothing
}

// BenchmarkStat compares lstat(2) of a file below some directories with the kernel's own. Who may not search everything
// costs a call on the host for each directory on the way, and so does a host that has only paths.
func BenchmarkStat(b *testing.B) {
	for _, c := range []struct {
		name string
		host hostfs.Host
		cred *vfs.Cred
	}{
		{"root", nil, vfs.RootCred()},
		{"user", nil, &vfs.Cred{EUID: 1000}},
		{"restricted", hostfs.NewRestricted(), vfs.RootCred()},
	} {
		for _, depth := range []int{1, 4, 8} {
			b.Run(fmt.Sprintf("%s/depth=%d", c.name, depth), func(b *testing.B) {
				w := newWorld(b, c.host)
				path := ""
				for i := range depth {
					path += fmt.Sprintf("/dir%d", i)
				}
				require.NoError(b, os.MkdirAll(w.dir+path, 0o755))
				path += "/file"
				w.plant(path, "")
				onHost, inside := w.dir+path, "/host"+path
				task := syscall.NewTask(w.ns, c.cred)
				defer task.Exit()
				var st, hostSt unix.Stat_t
				ours := func() error { return task.Lstat(inside, &st) }
				if c.host == nil {
					require.Zero(b, testing.AllocsPerRun(100, func() { _ = ours() }))
				}
				compare(b, 20, func() error { return unix.Lstat(onHost, &hostSt) }, ours)
			})
		}
	}
}

// BenchmarkData compares reads and writes with those of an os.File.
func BenchmarkData(b *testing.B) {
	w := newWorld(b, nil)
	for _, size := range []int{4 << 10, 1 << 20} {
		w.plant("f", strings.Repeat("x", size))
		host, err := os.OpenFile(w.on("f"), os.O_RDWR, 0)
		require.NoError(b, err)
		defer host.Close()
		f := w.file("/host/f", unix.O_RDWR)
		buf := make([]byte, size)
		b.Run(fmt.Sprintf("read/%d", size), func(b *testing.B) {
			compare(b, 4, func() error { _, err := host.ReadAt(buf, 0); return err },
				func() error { _, err := f.ReadAt(w.ctx, buf, 0); return err })
		})
		b.Run(fmt.Sprintf("write/%d", size), func(b *testing.B) {
			compare(b, 4, func() error { _, err := host.WriteAt(buf, 0); return err },
				func() error { _, err := f.WriteAt(w.ctx, buf, 0); return err })
		})
	}
}
