package sefs_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/vfs"
)

// newHostImage makes an image in a directory of the host.
func newHostImage(b *testing.B) *sefs.FS {
	fs, err := sefs.Make(b.Context(), b.TempDir(), sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: testKey(b)}})
	require.NoError(b, err)
	b.Cleanup(func() { fs.Abandon() })
	return fs
}

// BenchmarkCreate makes a file of 1 KiB and lets it leave memory.
func BenchmarkCreate(b *testing.B) {
	fs := newHostImage(b)
	ctx, data := b.Context(), make([]byte, 1024)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		f, err := fs.Root().Create(ctx, fmt.Sprint("file", n), vfs.CreateAttr{Mode: 0o644})
		if err != nil {
			b.Fatal(err)
		}
		h, err := f.Open(ctx, unix.O_WRONLY)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.WriteAt(ctx, data, 0); err != nil {
			b.Fatal(err)
		}
		vfs.UnpinInode(ctx, f)
	}
}

func BenchmarkGetattr(b *testing.B) {
	fs := newHostImage(b)
	f, err := fs.Root().Create(b.Context(), "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(b, err)
	defer vfs.UnpinInode(b.Context(), f)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Getattr(b.Context(), unix.STATX_BASIC_STATS); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup looks up a file that is not in memory.
func BenchmarkLookup(b *testing.B) {
	fs := newHostImage(b)
	const files = 10000
	for n := range files {
		f, err := fs.Root().Create(b.Context(), fmt.Sprint("file", n), vfs.CreateAttr{Mode: 0o644})
		require.NoError(b, err)
		vfs.UnpinInode(b.Context(), f)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f, err := fs.Root().Lookup(b.Context(), fmt.Sprint("file", n%files))
		if err != nil {
			b.Fatal(err)
		}
		vfs.UnpinInode(b.Context(), f)
		n++
	}
}

// BenchmarkReadDir lists a directory of 10,000 entries.
func BenchmarkReadDir(b *testing.B) {
	fs := newHostImage(b)
	const files = 10000
	for n := range files {
		f, err := fs.Root().Create(b.Context(), fmt.Sprint("file", n), vfs.CreateAttr{Mode: 0o644})
		require.NoError(b, err)
		vfs.UnpinInode(b.Context(), f)
	}
	h, err := fs.Root().OpenDir(b.Context())
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := h.ReadDir(b.Context(), 0, func(vfs.Dirent) bool { n++; return true }); err != nil || n != files {
			b.Fatal(n, err)
		}
	}
}

const benchFile = 256 << 20

// BenchmarkWrite writes a file of 256 MiB over and over in pieces of 1 MiB.
func BenchmarkWrite(b *testing.B) { benchmarkWrite(b, 1<<20) }

// BenchmarkSmallWrite does it in pieces of 4 KiB.
func BenchmarkSmallWrite(b *testing.B) { benchmarkWrite(b, 4<<10) }

func benchmarkWrite(b *testing.B, size int64) {
	fs := newHostImage(b)
	h, done := benchHandle(b, fs)
	defer done()
	data := make([]byte, size)
	b.SetBytes(size)
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if _, err := h.WriteAt(b.Context(), data, off); err != nil {
			b.Fatal(err)
		}
		off = (off + size) % benchFile
	}
	if err := fs.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func benchHandle(b *testing.B, fs *sefs.FS) (h vfs.Handle, done func()) {
	f, err := fs.Root().Create(b.Context(), "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(b, err)
	h, err = f.Open(b.Context(), unix.O_RDWR)
	require.NoError(b, err)
	return h, func() { vfs.UnpinInode(b.Context(), f) }
}

// BenchmarkRead reads a file of 256 MiB, which no cache holds, in pieces of 1 MiB.
func BenchmarkRead(b *testing.B) {
	fs := newHostImage(b)
	h, done := benchHandle(b, fs)
	defer done()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < benchFile; off += int64(len(buf)) {
		if _, err := h.WriteAt(b.Context(), buf, off); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, fs.Sync(b.Context()))
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if n, err := h.ReadAt(b.Context(), buf, off); err != nil || n != len(buf) {
			b.Fatal(n, err)
		}
		off = (off + int64(len(buf))) % benchFile
	}
}
