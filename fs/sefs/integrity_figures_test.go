package sefs_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/internal/treecopy"
	"cloister/vfs"
)

// buildOnHost builds an integrity-only image of a tree of the host and returns how long that took.
func buildOnHost(b *testing.B, tree, image string) (sefs.IntegrityResult, time.Duration) {
	b.Helper()
	require.NoError(b, os.RemoveAll(image))
	require.NoError(b, os.Mkdir(image, 0o700))
	start := time.Now()
	src, top, err := treecopy.OpenHostTree(tree)
	require.NoError(b, err)
	defer src.Close()
	result, err := sefs.BuildIntegrity(b.Context(), image, sefs.IntegrityConfig{Tree: src, Top: top})
	require.NoError(b, err)
	return result, time.Since(start)
}

func inMemoryDir(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "sefs-figure-")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// usedCPU returns the time that this process has used processors.
func usedCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func middle[T float64 | time.Duration](x []T) T {
	slices.Sort(x)
	return x[len(x)/2]
}

// BenchmarkFigureIntegrityRead reads a file of an integrity-only image, with a new mount each time, beside
// bare SHA-256 over as many bytes on one processor, in turns.
func BenchmarkFigureIntegrityRead(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const size, piece = 192 << 20, 1 << 20
	dir := inMemoryDir(b)
	tree, image := filepath.Join(dir, "tree"), filepath.Join(dir, "image")
	require.NoError(b, os.Mkdir(tree, 0o755))
	data := fill(1, size)
	require.NoError(b, os.WriteFile(filepath.Join(tree, "f"), data, 0o644))
	result, _ := buildOnHost(b, tree, image)
	read := func() (took, cpu time.Duration) {
		img, err := sefs.Open(b.Context(), image, sefs.OpenConfig{Access: sefs.ReadOnly, MAC: &result.Root})
		require.NoError(b, err)
		defer img.Close(b.Context(), vfs.ForceClose)
		require.NoError(b, withFile(b.Context(), img.Root(), "f", func(f vfs.Inode) error {
			h, err := f.(vfs.Regular).Open(b.Context(), unix.O_RDONLY)
			if err != nil {
				return err
			}
			p := make([]byte, piece)
			start := time.Now()
			cpu = usedCPU()
			for off := int64(0); off < size; off += piece {
				if _, err := h.ReadAt(b.Context(), p, off); err != nil {
					return err
				}
			}
			took, cpu = time.Since(start), usedCPU()-cpu
			return nil
		}))
		return took, cpu
	}
	for i := 0; b.Loop(); i++ {
		if i > 0 {
			continue
		}
		var raw, rawCPU []time.Duration
		ours, oursCPU := make([][]time.Duration, 3), make([][]time.Duration, 3)
		for range 5 {
			runtime.GOMAXPROCS(1)
			start, cpu := time.Now(), usedCPU()
			for off := 0; off < size; off += 4096 {
				sum := sha256.Sum256(data[off : off+4096])
				runtime.KeepAlive(sum)
			}
			raw, rawCPU = append(raw, time.Since(start)), append(rawCPU, usedCPU()-cpu)
			for procs := 1; procs <= 2; procs++ {
				runtime.GOMAXPROCS(procs)
				took, cpu := read()
				ours[procs], oursCPU[procs] = append(ours[procs], took), append(oursCPU[procs], cpu)
			}
		}
		b.ReportMetric(size/middle(raw).Seconds()/1e9, "raw-GB/s")
		for procs := 1; procs <= 2; procs++ {
			b.ReportMetric(middle(raw).Seconds()/middle(ours[procs]).Seconds(), fmt.Sprintf("read/raw-%dcpu", procs))
		}
		b.ReportMetric(middle(rawCPU).Seconds()/middle(oursCPU[1]).Seconds(), "read/raw-cpu-s")
		b.ReportMetric(0, "ns/op")
	}
}

// readLikeTar reads a tree as tar does that writes to /dev/null: names, attributes, contents.
func readLikeTar(b *testing.B, tree string) time.Duration {
	start := time.Now()
	buf := make([]byte, 1<<20)
	require.NoError(b, filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := d.Info(); err != nil || !d.Type().IsRegular() {
			return err
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for n := 1; n > 0; {
			if n, err = unix.Read(fd, buf); err != nil {
				return err
			}
		}
		return nil
	}))
	return time.Since(start)
}

// BenchmarkFigureIntegrityBuild builds images of 50,000 files of 1 KiB, and of one large file.
func BenchmarkFigureIntegrityBuild(b *testing.B) {
	const files, perDir, size = 50_000, 1000, 256 << 20
	dir := inMemoryDir(b)
	many, large, image := filepath.Join(dir, "many"), filepath.Join(dir, "large"), filepath.Join(dir, "image")
	for n := range files {
		sub := filepath.Join(many, fmt.Sprint("d", n/perDir))
		if n%perDir == 0 {
			require.NoError(b, os.MkdirAll(sub, 0o755))
		}
		require.NoError(b, os.WriteFile(filepath.Join(sub, fmt.Sprint("f", n)), fill(uint64(n), 1024), 0o644))
	}
	require.NoError(b, os.Mkdir(large, 0o755))
	require.NoError(b, os.WriteFile(filepath.Join(large, "f"), fill(1, size), 0o644))
	for i := 0; b.Loop(); i++ {
		if i > 0 {
			continue
		}
		var tar, ours, oursCPU, one, oneCPU []time.Duration
		for range 5 {
			tar = append(tar, readLikeTar(b, many))
			cpu := usedCPU()
			_, took := buildOnHost(b, many, image)
			ours, oursCPU = append(ours, took), append(oursCPU, usedCPU()-cpu)
			cpu = usedCPU()
			_, took = buildOnHost(b, large, image)
			one, oneCPU = append(one, took), append(oneCPU, usedCPU()-cpu)
		}
		b.ReportMetric(files/middle(oursCPU).Seconds(), "files/cpu-s")
		b.ReportMetric(size/middle(oneCPU).Seconds()/1e9, "GB/cpu-s")
		b.ReportMetric(files/middle(ours).Seconds(), "files/s")
		b.ReportMetric(middle(tar).Seconds()/middle(ours).Seconds(), "build/tar")
		b.ReportMetric(size/middle(one).Seconds()/1e9, "GB/s")
		b.ReportMetric(0, "ns/op")
	}
}
