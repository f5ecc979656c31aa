package fuseserver_test

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkSEFS moves a big file to and from an encrypted image on tmpfs, through
// the kernel. The page cache is dropped before each read.
func BenchmarkSEFS(b *testing.B) {
	const size = 256 << 20
	image, err := os.MkdirTemp("/dev/shm", "fusebench")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(image) })
	s := start(b, image, "")
	buf := make([]byte, 1<<20)
	for i := range buf {
		buf[i] = byte(i * i)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			f, err := os.Create(s.path("big"))
			require.NoError(b, err)
			for range size / len(buf) {
				_, err := f.Write(buf)
				require.NoError(b, err)
			}
			require.NoError(b, f.Sync())
			require.NoError(b, f.Close())
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(size)
		f, err := os.Open(s.path("big"))
		require.NoError(b, err)
		defer f.Close()
		for b.Loop() {
			require.NoError(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
			_, err := f.Seek(0, io.SeekStart)
			require.NoError(b, err)
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
			require.NoError(b, err)
			require.EqualValues(b, size, n)
		}
	})
	b.Run("stat", func(b *testing.B) {
		var st unix.Stat_t
		for b.Loop() {
			require.NoError(b, unix.Lstat(s.path("big"), &st))
		}
	})
	s.stop(b)
}
