package unionfs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// benchStack is a union whose file /d1/.../d8/f is in the lower layer, or has been copied up.
func benchStack(b *testing.B, copied bool) (s *stack, path string) {
	dirs := "d1/d2/d3/d4/d5/d6/d7/d8/"
	s = layout(b, nil, []string{dirs + "f=" + strings.Repeat("x", 1<<20)})
	if copied {
		require.NoError(b, s.openClose("/"+dirs+"f", unix.O_RDWR))
	}
	b.Cleanup(s.unmount)
	return s, "/" + dirs + "f"
}

func BenchmarkStat(b *testing.B) {
	for _, copied := range []bool{false, true} {
		b.Run(fmt.Sprintf("depth=8/copied=%t", copied), func(b *testing.B) {
			s, path := benchStack(b, copied)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				p, err := s.v.Walk(ctx, vfs.Path{}, path, 0)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := vfs.Getattr(ctx, p, unix.STATX_BASIC_STATS); err != nil {
					b.Fatal(err)
				}
				p.Put()
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, copied := range []bool{false, true} {
		b.Run(fmt.Sprintf("4KiB/copied=%t", copied), func(b *testing.B) {
			s, path := benchStack(b, copied)
			f := s.mustOpen(path, unix.O_RDONLY)
			defer f.Close(b.Context())
			ctx, buf := b.Context(), make([]byte, 4096)
			b.SetBytes(4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.ReadAt(ctx, buf, 8192); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	s, path := benchStack(b, true)
	f := s.mustOpen(path, unix.O_RDWR)
	defer f.Close(b.Context())
	ctx, buf := b.Context(), make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.WriteAt(ctx, buf, 8192); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCopyUp(b *testing.B) {
	const size = 1 << 20
	low := newLayer(b, "f="+strings.Repeat("x", size))
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		s := newStack(b, newLayer(b), low)
		b.StartTimer()
		if err := s.openClose("/f", unix.O_RDWR); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.unmount()
		b.StartTimer()
	}
}

func BenchmarkReaddir(b *testing.B) {
	var files []string
	for i := range 1000 {
		files = append(files, fmt.Sprintf("d/f%d", i))
	}
	s := layout(b, []string{"d/g"}, files)
	b.Cleanup(s.unmount)
	for b.Loop() {
		if _, err := s.readdir("/d"); err != nil {
			b.Fatal(err)
		}
	}
}

// Warm stat, read and write allocate nothing.
func TestNoAllocations(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"d/lower=text", "d/copied=text"})
	defer s.unmount()
	require.NoError(t, s.openClose("/d/copied", unix.O_RDWR))
	buf := make([]byte, 4)
	for _, path := range []string{"/d/lower", "/d/copied"} {
		f := s.mustOpen(path, unix.O_RDONLY)
		defer f.Close(ctx)
		p := f.Path()
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = p.Inode().Getattr(ctx, unix.STATX_BASIC_STATS)
		}), "Getattr of %s", path)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = f.ReadAt(ctx, buf, 0)
		}), "read of %s", path)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_ = p.Inode().Xattrs()
		}), "Xattrs of %s", path)
	}
	w := s.mustOpen("/d/copied", unix.O_RDWR)
	defer w.Close(ctx)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = w.WriteAt(ctx, buf, 0)
	}), "write")
}
