package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
)

// benchUnion returns a task with the union of two empty images on /data, on a host tmpfs.
func benchUnion(b *testing.B) *syscall.Task {
	b.Helper()
	lower, upper := emptyLayers(b)
	_, task := start(b, platform(b, "m", "s"))
	mountUnion(b, task, lower, upper, keyA)
	return task
}

const mib = 1 << 20

// BenchmarkSequentialWrite writes a 1 GiB file in 1 MiB calls and syncs it.
// Run it with -cpu 1 for the figure of one core.
func BenchmarkSequentialWrite(b *testing.B) {
	task := benchUnion(b)
	buf := make([]byte, mib)
	rand.NewChaCha8([32]byte{}).Read(buf)
	b.SetBytes(1 << 30)
	for b.Loop() {
		fd, err := task.Open("/data/file", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600)
		require.NoError(b, err)
		for range 1024 {
			n, err := task.Write(fd, buf)
			if n != mib {
				b.Fatal(n, err)
			}
		}
		require.NoError(b, task.Fsync(fd))
		require.NoError(b, task.Close(fd))
	}
}

// BenchmarkSequentialRead reads a 1 GiB file in 1 MiB calls; it is far larger
// than the caches.
func BenchmarkSequentialRead(b *testing.B) {
	task := benchUnion(b)
	buf := make([]byte, mib)
	rand.NewChaCha8([32]byte{}).Read(buf)
	fd, err := task.Open("/data/file", unix.O_RDWR|unix.O_CREAT, 0o600)
	require.NoError(b, err)
	for range 1024 {
		_, err := task.Write(fd, buf)
		require.NoError(b, err)
	}
	require.NoError(b, task.Fsync(fd))
	b.SetBytes(1 << 30)
	for b.Loop() {
		_, err := task.Lseek(fd, 0, unix.SEEK_SET)
		require.NoError(b, err)
		for range 1024 {
			n, err := task.Read(fd, buf)
			if n != mib {
				b.Fatal(n, err)
			}
		}
	}
}

// BenchmarkStatDepth8 is a warm stat(2) of a file eight directories deep in a union.
func BenchmarkStatDepth8(b *testing.B) {
	for _, where := range []string{"upper", "lower"} {
		b.Run(where, func(b *testing.B) {
			dir := scratch(b)
			lower, upper, tree := filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), filepath.Join(dir, "tree")
			deep := strings.Repeat("/directory", 8)
			require.NoError(b, os.MkdirAll(tree+deep, 0o755))
			require.NoError(b, os.WriteFile(tree+deep+"/file", nil, 0o644))
			require.NoError(b, os.Mkdir(upper, 0o755))
			if where == "lower" {
				buildImage(b, tree, lower)
			} else {
				require.NoError(b, os.Mkdir(lower, 0o755))
			}
			_, task := start(b, platform(b, "m", "s"))
			mountUnion(b, task, lower, upper, keyA)
			if where == "upper" {
				path := "/data"
				for range 8 {
					path += "/directory"
					require.NoError(b, task.Mkdir(path, 0o755))
				}
				require.NoError(b, writeFile(task, path+"/file", nil))
			}
			path := "/data" + deep + "/file"
			var st unix.Stat_t
			require.NoError(b, task.Stat(path, &st))
			b.ReportAllocs()
			for b.Loop() {
				if err := task.Stat(path, &st); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMount200k mounts an image of 200,000 files.
func BenchmarkMount200k(b *testing.B) {
	dir := scratch(b)
	image := filepath.Join(dir, "image")
	buildImage(b, manyFiles(b, dir, 200_000), image)
	upper := filepath.Join(dir, "upper")
	require.NoError(b, os.Mkdir(upper, 0o755))
	_, task := start(b, platform(b, "m", "s"))
	require.NoError(b, task.Mkdir("/data", 0o755))
	for b.Loop() {
		require.NoError(b, task.Mount("unionfs", "/data", "unionfs", 0, options(image, upper, keyA)))
		b.StopTimer()
		require.NoError(b, task.Umount2("/data", 0))
		b.StartTimer()
	}
}

// manyFiles makes a tree of n small files, 500 to a directory.
func manyFiles(t testing.TB, dir string, n int) string {
	t.Helper()
	tree := filepath.Join(dir, "many")
	for i := range n {
		d := filepath.Join(tree, fmt.Sprintf("directory-%d", i/500))
		if i%500 == 0 {
			require.NoError(t, os.MkdirAll(d, 0o755))
		}
		require.NoError(t, os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%d", i)), []byte("small\n"), 0o644))
	}
	return tree
}

// TestManyFiles walks an image of many files in a process of its own, whose
// memory stays bounded.
func TestManyFiles(t *testing.T) {
	dir := scratch(t)
	n := rounds(20_000, 200_000)
	image := filepath.Join(dir, "image")
	buildImage(t, manyFiles(t, dir, n), image)
	key := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(key, []byte(keyA), 0o600))
	cmd := cloister(t, "ls", "-l", "-R", "--image-key", key, image, "/")
	rss := maxRSS(cmd)
	t.Logf("%d files: largest resident set %d MiB", n, rss>>20)
	require.Less(t, rss, int64(256<<20))
}

// TestHostCalls counts the calls to the host for sequential writing and reading, over the whole stack.
func TestHostCalls(t *testing.T) {
	const size = 64
	lower, upper := emptyLayers(t)
	lib, task := start(t, platform(t, "m", "s"))
	mountUnion(t, task, lower, upper, keyA)
	buf := make([]byte, mib)

	count := countHostCalls(t, func() {
		fd, err := task.Open("/data/file", unix.O_WRONLY|unix.O_CREAT, 0o600)
		require.NoError(t, err)
		for range size {
			_, err := task.Write(fd, buf)
			require.NoError(t, err)
		}
		require.NoError(t, task.Fsync(fd))
		require.NoError(t, task.Close(fd))
	})
	t.Logf("writing: %.2f host calls per MiB", float64(count)/size)
	require.LessOrEqual(t, float64(count)/size, 2.0)

	require.NoError(t, task.Umount2("/data", 0))
	task.Exit()
	require.NoError(t, lib.Close(context.Background()))
	_, task = start(t, platform(t, "m", "s"))
	mountUnion(t, task, lower, upper, keyA)
	count = countHostCalls(t, func() {
		data, err := readFile(task, "/data/file")
		require.NoError(t, err)
		require.Len(t, data, size*mib)
	})
	t.Logf("reading: %.2f host calls per MiB", float64(count)/size)
	require.LessOrEqual(t, float64(count)/size, 2.0)
}
