package sefs_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

func TestFallocate(t *testing.T) {
	const (
		keep  = unix.FALLOC_FL_KEEP_SIZE
		punch = unix.FALLOC_FL_PUNCH_HOLE
		zero  = unix.FALLOC_FL_ZERO_RANGE

		collapse = unix.FALLOC_FL_COLLAPSE_RANGE
		insert   = unix.FALLOC_FL_INSERT_RANGE
	)
	old := strings.Repeat("x", 10000)
	for name, c := range map[string]struct {
		mode   uint32
		off, n int64
		err    error
		want   string
	}{
		"grow":              {0, 9000, 2000, nil, old + zeros(1000)},
		"inside":            {0, 0, 100, nil, old},
		"keep size":         {keep, 9000, 5000, nil, old},
		"punch":             {punch | keep, 100, 5000, nil, old[:100] + zeros(5000) + old[5100:]},
		"punch past end":    {punch | keep, 9000, 1 << 30, nil, old[:9000] + zeros(1000)},
		"punch behind":      {punch | keep, 20000, 100, nil, old},
		"zero range":        {zero, 4096, 4096, nil, old[:4096] + zeros(4096) + old[8192:]},
		"zero range grows":  {zero, 9999, 10, nil, old[:9999] + zeros(10)},
		"zero keeps size":   {zero | keep, 9999, 10, nil, old[:9999] + zeros(1)},
		"punch alone":       {punch, 0, 1, unix.EOPNOTSUPP, old},
		"punch and zero":    {punch | zero | keep, 0, 1, unix.EOPNOTSUPP, old},
		"collapse":          {collapse, 4096, 4096, nil, old[:4096] + old[8192:]},
		"collapse start":    {collapse, 0, 4096, nil, old[4096:]},
		"collapse odd":      {collapse, 1, 4096, unix.EINVAL, old},
		"collapse part":     {collapse, 4096, 100, unix.EINVAL, old},
		"collapse to end":   {collapse, 4096, 8192, unix.EINVAL, old},
		"insert":            {insert, 4096, 8192, nil, old[:4096] + zeros(8192) + old[4096:]},
		"insert at start":   {insert, 0, 4096, nil, zeros(4096) + old},
		"insert odd":        {insert, 4096, 1, unix.EINVAL, old},
		"insert at end":     {insert, 12288, 4096, unix.EINVAL, old},
		"insert too much":   {insert, 0, format.MaxFileSize - 4096, unix.EFBIG, old},
		"unshare":           {unix.FALLOC_FL_UNSHARE_RANGE, 0, 4096, unix.EOPNOTSUPP, old},
		"negative offset":   {0, -1, 1, unix.EINVAL, old},
		"zero length":       {0, 0, 0, unix.EINVAL, old},
		"beyond the limit":  {0, format.MaxFileSize, 1, unix.EFBIG, old},
		"overflowing range": {0, 1 << 50, 1<<63 - 1, unix.EFBIG, old},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTree(t)
			require.NoError(t, x.create("f", 0o600, old))
			h := x.handle("f")
			err := h.Fallocate(t.Context(), c.mode, c.off, c.n)
			require.ErrorIs(t, err, c.err)
			require.NoError(t, x.on("f", func(i vfs.Inode) error {
				require.Equal(t, brief(c.want), brief(read(t, i)))
				return nil
			}))
		})
	}
}

// TestShiftSmallFile moves a file that is stored inside the tree, and one with
// content that only the journal has.
func TestShiftSmallFile(t *testing.T) {
	x := newTree(t)
	want := strings.Repeat("s", 300)
	require.NoError(t, x.create("f", 0o600, want))
	require.NoError(t, x.fs.Sync(t.Context()))
	x.reopen()
	shift := func(mode uint32, off, n int64) {
		h := x.handle("f")
		require.NoError(t, h.Fallocate(t.Context(), mode, off, n))
	}
	check := func(want string) {
		t.Helper()
		require.NoError(t, x.on("f", func(i vfs.Inode) error {
			require.Equal(t, brief(want), brief(read(t, i)))
			return nil
		}))
	}
	shift(unix.FALLOC_FL_INSERT_RANGE, 0, 8192)
	check(zeros(8192) + want)
	require.EqualValues(t, 8, x.stat("f").Blocks, "one block of data")
	require.NoError(t, x.write("f", "journal", 0))
	require.NoError(t, x.fs.Sync(t.Context()))
	want = "journal" + zeros(4089) + want
	shift(unix.FALLOC_FL_COLLAPSE_RANGE, 4096, 4096)
	check(want)
	x.reopen()
	check(want)
	require.EqualValues(t, len(want), x.stat("f").Size)
}

func zeros(n int) string { return string(make([]byte, n)) }

func TestSparseFile(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, ""))
	h := x.handle("f")
	write := func(off int64) {
		n, err := h.WriteAt(t.Context(), bytes.Repeat([]byte("d"), 4096), off)
		require.NoError(t, err)
		require.Equal(t, 4096, n)
	}
	write(1 << 20)
	write(1 << 40)
	require.NoError(t, h.Fallocate(t.Context(), 0, 1<<41, 4096))
	check := func(h vfs.Handle) {
		for _, c := range []struct {
			off, want int64
			whence    int
		}{
			{0, 1 << 20, unix.SEEK_DATA}, {1<<20 + 5, 1<<20 + 5, unix.SEEK_DATA}, {1<<20 + 4096, 1 << 40, unix.SEEK_DATA},
			{0, 0, unix.SEEK_HOLE}, {1 << 20, 1<<20 + 4096, unix.SEEK_HOLE}, {1 << 40, 1<<40 + 4096, unix.SEEK_HOLE},
			{1 << 41, 1 << 41, unix.SEEK_HOLE},
		} {
			got, err := h.Seek(t.Context(), c.off, c.whence)
			require.NoError(t, err, "seek %d from %d", c.whence, c.off)
			require.Equal(t, c.want, got, "seek %d from %d", c.whence, c.off)
		}
		for _, off := range []int64{1<<40 + 4096, 1<<41 + 4096, 1 << 50, -1} {
			_, err := h.Seek(t.Context(), off, unix.SEEK_DATA)
			require.ErrorIs(t, err, unix.ENXIO, "no data from %d on", off)
		}
		_, err := h.Seek(t.Context(), 1<<41+4096, unix.SEEK_HOLE)
		require.ErrorIs(t, err, unix.ENXIO, "at the end of file")
	}
	check(h)
	require.NoError(t, x.fs.Sync(t.Context()))
	a := x.stat("f")
	require.EqualValues(t, 1<<41+4096, a.Size)
	require.EqualValues(t, 16, a.Blocks, "two blocks of data")
	check(h)
}

func TestHoleAfterShrinkIsZero(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, strings.Repeat("s", 9000)))
	size := func(n int64) {
		require.NoError(t, x.on("f", func(i vfs.Inode) error {
			return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_SIZE, Size: n})
		}))
	}
	size(100)
	size(20000)
	require.NoError(t, x.on("f", func(i vfs.Inode) error {
		require.Equal(t, brief(strings.Repeat("s", 100)+zeros(19900)), brief(read(t, i)))
		return nil
	}))
	require.ErrorIs(t, x.on("f", func(i vfs.Inode) error {
		return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_SIZE, Size: format.MaxFileSize + 1})
	}), unix.EFBIG)
}

func TestReadWriteLimits(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, "abc"))
	h := x.handle("f")
	ctx := t.Context()
	buf := make([]byte, 10)
	n, err := h.ReadAt(ctx, buf, 3)
	require.NoError(t, err)
	require.Zero(t, n, "at the end of file")
	n, err = h.ReadAt(ctx, buf, 1<<60)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = h.ReadAt(ctx, buf, -1)
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = h.WriteAt(ctx, buf, -1)
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = h.WriteAt(ctx, buf, format.MaxFileSize)
	require.ErrorIs(t, err, unix.EFBIG)
	n, err = h.WriteAt(ctx, nil, 100)
	require.NoError(t, err)
	require.Zero(t, n)
	require.EqualValues(t, 3, x.stat("f").Size, "writing nothing does not grow the file")
	n, err = h.WriteAt(ctx, buf, format.MaxFileSize-4)
	require.ErrorIs(t, err, unix.EFBIG)
	require.Equal(t, 4, n, "as much as fits")
}

func TestAppendIsAtomic(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, ""))
	h := x.handle("f")
	const workers, times, size = 8, 50, 100
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range times {
				n, end, err := h.Append(t.Context(), bytes.Repeat([]byte{byte('a' + w)}, size))
				if err != nil || n != size || end%size != 0 {
					t.Errorf("append: %d bytes, end %d, %v", n, end, err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, x.on("f", func(i vfs.Inode) error {
		data := read(t, i)
		require.Len(t, data, workers*times*size)
		for off := 0; off < len(data); off += size {
			require.Equal(t, strings.Repeat(data[off:off+1], size), data[off:off+size])
		}
		return nil
	}))
}

func TestWriteSetsTimes(t *testing.T) {
	x := newTree(t)
	now := time.Unix(1000, 7)
	x.cfg.Now = func() time.Time { return now }
	x.reopen()
	require.NoError(t, x.create("f", 0o600, ""))
	now = time.Unix(2000, 9)
	require.NoError(t, x.write("f", "data", 0))
	a := x.stat("f")
	require.Equal(t, unix.Timespec{Sec: 2000, Nsec: 9}, a.Mtime)
	require.Equal(t, a.Mtime, a.Ctime)
	require.NoError(t, x.on("f", func(i vfs.Inode) error {
		return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_MTIME, Mtime: unix.Timespec{Sec: -5}})
	}))
	a = x.stat("f")
	require.EqualValues(t, -5, a.Mtime.Sec, "an explicit time wins over that of the write before it")
	require.EqualValues(t, 2000, a.Ctime.Sec)
	x.reopen()
	require.Equal(t, a, x.stat("f"))
}

// TestParallelUse works in directories of its own per goroutine, on shared
// files and on one directory's attributes, while others sync and look.
func TestParallelUse(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("shared", 0o600, ""))
	const workers, rounds = 6, 40
	for w := range workers {
		require.NoError(t, x.create(fmt.Sprint("d", w), unix.S_IFDIR|0o755, ""))
	}
	h := x.handle("shared")
	ctx := context.Background()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			y := &tree{t: t, fs: x.fs}
			i, err := x.get(fmt.Sprint("d", w))
			if err != nil {
				t.Error(err)
				return
			}
			defer x.put(i)
			d := i.(vfs.Dir)
			for n := range rounds {
				name := fmt.Sprint("f", n%7)
				f, err := d.Create(ctx, name, y.attr(0o600))
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				if err := writeTo(f, strings.Repeat(name, 500*n), 0); err != nil {
					t.Errorf("write: %v", err)
				}
				if _, err := h.WriteAt(ctx, []byte(name), int64(n*100)); err != nil {
					t.Errorf("write shared: %v", err)
				}
				if err := f.Setattr(ctx, vfs.SetAttr{Mask: unix.STATX_SIZE, Size: 10}); err != nil {
					t.Errorf("truncate: %v", err)
				}
				if n%5 == 0 {
					if err := x.fs.Sync(ctx); err != nil {
						t.Errorf("sync: %v", err)
					}
				}
				if _, err := x.fs.Root().Getattr(ctx, 0); err != nil {
					t.Errorf("getattr: %v", err)
				}
				if err := d.Unlink(ctx, name, f); err != nil {
					t.Errorf("unlink: %v", err)
				}
				vfs.UnpinInode(ctx, f)
			}
		})
	}
	wg.Wait()
	x.dump()
}

// TestLookupDuringEviction pins and unpins one file from many sides: each
// lookup must see the last attributes.
func TestLookupDuringEviction(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.create("f", 0o600, ""))
	ctx := context.Background()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 300 {
				i, err := x.fs.Root().Lookup(ctx, "f")
				if err != nil {
					t.Error(err)
					return
				}
				if err := i.Setattr(ctx, vfs.SetAttr{Mask: unix.STATX_UID, UID: uint32(w*1000 + n)}); err != nil {
					t.Error(err)
				}
				if w == 0 {
					if err := i.(vfs.Regular).Setattr(ctx, vfs.SetAttr{Mask: unix.STATX_GID, GID: uint32(n)}); err != nil {
						t.Error(err)
					}
				}
				if a, err := i.Getattr(ctx, 0); err != nil || w == 0 && a.GID != uint32(n) {
					t.Errorf("gid %d after %d: %v", a.GID, n, err)
				}
				vfs.UnpinInode(ctx, i)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 299, x.stat("f").GID)
}
