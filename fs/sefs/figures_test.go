package sefs_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// BenchmarkFigureNames measures calls to the host and time for operations on
// names and attributes, all of them amortised over the commit at the end, and those
// for mounting the image again (`make bench-sefs`).
func BenchmarkFigureNames(b *testing.B) {
	const files, perDir = 50_000, 5000
	ctx := b.Context()
	mem := store.NewMemory()
	c := store.NewCounter(mem)
	for i := 0; b.Loop(); i++ {
		if i > 0 {
			continue
		}
		fs, err := sefs.Make(ctx, "image", sefs.MakeConfig{OpenConfig: onStore(b, c)})
		require.NoError(b, err)
		dirs := make([]vfs.Dir, files/perDir)
		for n := range dirs {
			dirs[n], err = fs.Root().Mkdir(ctx, fmt.Sprint("d", n), vfs.CreateAttr{Mode: 0o755})
			require.NoError(b, err)
		}
		data := make([]byte, 1024)
		each := func(name string, fn func(d vfs.Dir, n int) error) {
			before, start := c.Counts(), time.Now()
			for n := range files {
				if err := fn(dirs[n/perDir], n); err != nil {
					b.Fatalf("%s: %v", name, err)
				}
			}
			took := time.Since(start)
			require.NoError(b, fs.Sync(ctx))
			b.ReportMetric(float64(c.Counts().Sub(before).Total())/files, name+"-calls")
			b.ReportMetric(files/took.Seconds(), name+"/s")
		}
		each("create", func(d vfs.Dir, n int) error { return createFile(ctx, d, fmt.Sprint("f", n), data) })
		stat := func(d vfs.Dir, n int) error {
			return withFile(ctx, d, fmt.Sprint("f", n), func(f vfs.Inode) error {
				_, err := f.Getattr(ctx, unix.STATX_BASIC_STATS)
				return err
			})
		}
		require.NoError(b, stat(dirs[0], 0))
		before := c.Counts()
		for range 1000 {
			require.NoError(b, stat(dirs[0], 0))
		}
		b.ReportMetric(float64(c.Counts().Sub(before).Total()), "warm-stat-calls")
		each("chmod", func(d vfs.Dir, n int) error {
			return withFile(ctx, d, fmt.Sprint("f", n), func(f vfs.Inode) error {
				return f.Setattr(ctx, vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o600})
			})
		})
		each("rename", func(d vfs.Dir, n int) error {
			return withFile(ctx, d, fmt.Sprint("f", n), func(f vfs.Inode) error {
				return d.Rename(ctx, vfs.Rename{OldName: fmt.Sprint("f", n), Child: f, NewDir: d, NewName: fmt.Sprint("g", n)})
			})
		})
		each("unlink", func(d vfs.Dir, n int) error {
			return withFile(ctx, d, fmt.Sprint("g", n), func(f vfs.Inode) error { return d.Unlink(ctx, fmt.Sprint("g", n), f) })
		})
		for _, d := range dirs {
			vfs.UnpinInode(ctx, d)
		}
		require.NoError(b, fs.Close(ctx, vfs.SafeClose))
		b.ReportMetric(0, "ns/op")
	}
}

func createFile(ctx context.Context, d vfs.Dir, name string, data []byte) error {
	f, err := d.Create(ctx, name, vfs.CreateAttr{Mode: 0o644})
	if err != nil {
		return err
	}
	defer vfs.UnpinInode(ctx, f)
	h, err := f.Open(ctx, unix.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = h.WriteAt(ctx, data, 0)
	return err
}

func withFile(ctx context.Context, d vfs.Dir, name string, fn func(vfs.Inode) error) error {
	f, err := d.Lookup(ctx, name)
	if err != nil {
		return err
	}
	defer vfs.UnpinInode(ctx, f)
	return fn(f)
}
