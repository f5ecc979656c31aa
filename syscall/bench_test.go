package syscall_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStatAllocates(t *testing.T) {
	task := newTask(t)
	path := deepPath(t, task, 8)
	var st unix.Stat_t
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := task.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
	}), "allocations of a warm stat")
	fd := mustOpen(t, task, path, unix.O_RDWR)
	buf := make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, err := task.Pwrite64(fd, buf, 0)
		_, err2 := task.Pread64(fd, buf, 0)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	}), "allocations of a read and a write")
}

// deepPath makes a file below depth directories.
func deepPath(t testing.TB, c caller, depth int) string {
	path := ""
	for range depth {
		path += "/d"
		tree(t, c, path+"/")
	}
	tree(t, c, path+"/f")
	return path + "/f"
}

func BenchmarkStat(b *testing.B) {
	for _, depth := range []int{0, 3, 7} {
		b.Run(fmt.Sprintf("depth=%d", depth+1), func(b *testing.B) {
			task := newTask(b)
			path := deepPath(b, task, depth)
			var st unix.Stat_t
			b.ReportAllocs()
			for b.Loop() {
				if err := task.Stat(path, &st); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPread(b *testing.B) {
	task := newTask(b)
	fd := mustOpen(b, task, "f", unix.O_CREAT|unix.O_RDWR)
	buf := make([]byte, 4096)
	if _, err := task.Write(fd, buf); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := task.Pread64(fd, buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	task := newTask(b)
	path := deepPath(b, task, 3)
	b.ReportAllocs()
	for b.Loop() {
		fd, err := task.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := task.Close(fd); err != nil {
			b.Fatal(err)
		}
	}
}
