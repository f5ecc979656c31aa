package fuseserver_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFiles(t *testing.T) {
	s := start(t, "", "")

	t.Run("a big file", func(t *testing.T) {
		const size = 40<<20 + 12345
		data := make([]byte, size)
		src := rand.NewChaCha8([32]byte{1})
		_, _ = src.Read(data)
		require.NoError(t, os.WriteFile(s.path("big"), data, 0o600))
		got, err := os.ReadFile(s.path("big"))
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(data), sha256.Sum256(got))

		dropCaches(t, s.path("big"))
		got, err = os.ReadFile(s.path("big"))
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(data), sha256.Sum256(got), "without the page cache")
	})

	t.Run("mapped for reading", func(t *testing.T) {
		f, err := os.Open(s.path("big"))
		require.NoError(t, err)
		defer f.Close()
		m, err := unix.Mmap(int(f.Fd()), 0, 1<<20, unix.PROT_READ, unix.MAP_SHARED)
		require.NoError(t, err)
		buf := make([]byte, 1<<20)
		_, err = f.ReadAt(buf, 0)
		require.NoError(t, err)
		require.True(t, bytes.Equal(buf, m))
		require.NoError(t, unix.Munmap(m))
	})

	t.Run("mapped for writing", func(t *testing.T) {
		f, err := os.OpenFile(s.path("mapped"), os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(8192))
		m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		require.NoError(t, err)
		copy(m[4000:], "across the page boundary, perhaps")
		require.NoError(t, unix.Msync(m, unix.MS_SYNC))
		require.NoError(t, unix.Munmap(m))
		require.NoError(t, f.Close())
		dropCaches(t, s.path("mapped"))
		got, err := os.ReadFile(s.path("mapped"))
		require.NoError(t, err)
		require.Equal(t, "across", string(got[4000:4006]))
	})

	t.Run("truncate", func(t *testing.T) {
		f := s.path("trunc")
		require.NoError(t, os.WriteFile(f, []byte("0123456789"), 0o600))
		require.NoError(t, os.Truncate(f, 4))
		require.NoError(t, os.Truncate(f, 8))
		got, err := os.ReadFile(f)
		require.NoError(t, err)
		require.Equal(t, "0123\x00\x00\x00\x00", string(got))
		require.NoError(t, os.WriteFile(f, []byte("new"), 0o600)) // O_TRUNC
		require.EqualValues(t, 3, stat(t, f).Size)
	})

	t.Run("append from two descriptors", func(t *testing.T) {
		open := func() *os.File {
			f, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			require.NoError(t, err)
			return f
		}
		a, b := open(), open()
		for range 3 {
			_, err := a.WriteString("a")
			require.NoError(t, err)
			_, err = b.WriteString("b")
			require.NoError(t, err)
		}
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		got, err := os.ReadFile(s.path("log"))
		require.NoError(t, err)
		require.Equal(t, "ababab", string(got))
	})

	t.Run("unlinked while open", func(t *testing.T) {
		f, err := os.OpenFile(s.path("gone"), os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		_, err = f.WriteString("still here")
		require.NoError(t, err)
		require.NoError(t, os.Remove(s.path("gone")))
		var st unix.Stat_t
		require.NoError(t, unix.Fstat(int(f.Fd()), &st))
		require.Zero(t, st.Nlink)
		require.NoError(t, f.Truncate(5))
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(t, err)
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.Equal(t, "still", string(got))
		require.NoError(t, f.Close())
	})

	t.Run("an unnamed file gets a name", func(t *testing.T) {
		fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
		require.NoError(t, err)
		_, err = unix.Write(fd, []byte("tmp"))
		require.NoError(t, err)
		require.NoError(t, unix.Linkat(fd, "", unix.AT_FDCWD, s.path("named"), unix.AT_EMPTY_PATH))
		require.NoError(t, unix.Close(fd))
		got, err := os.ReadFile(s.path("named"))
		require.NoError(t, err)
		require.Equal(t, "tmp", string(got))
	})

	t.Run("holes", func(t *testing.T) {
		f, err := os.Create(s.path("holes"))
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("x"), 1<<20)
		require.NoError(t, err)
		off, err := f.Seek(0, unix.SEEK_DATA)
		require.NoError(t, err)
		require.EqualValues(t, 1<<20, off)
		off, err = f.Seek(0, unix.SEEK_HOLE)
		require.NoError(t, err)
		require.Zero(t, off)
		_, err = f.Seek(2<<20, unix.SEEK_DATA)
		require.ErrorIs(t, err, unix.ENXIO)
		require.NoError(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1<<20, 4096))
		buf := make([]byte, 1)
		_, err = f.ReadAt(buf, 1<<20)
		require.NoError(t, err)
		require.Zero(t, buf[0])
		require.ErrorIs(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP)
		require.NoError(t, f.Sync())
	})

	t.Run("copy_file_range falls back", func(t *testing.T) {
		from, err := os.Open(s.path("log"))
		require.NoError(t, err)
		defer from.Close()
		to, err := os.Create(s.path("copy"))
		require.NoError(t, err)
		defer to.Close()
		n, err := unix.CopyFileRange(int(from.Fd()), nil, int(to.Fd()), nil, 100, 0)
		require.NoError(t, err)
		require.Equal(t, 6, n)
	})

	s.stop(t)
}

func TestAttributes(t *testing.T) {
	s := start(t, "", "")
	f := s.path("f")
	require.NoError(t, os.WriteFile(f, []byte("x"), 0o600))

	t.Run("times", func(t *testing.T) {
		at, mt := time.Unix(1000000000, 123456789), time.Unix(-5, 7)
		require.NoError(t, os.Chtimes(f, at, mt))
		st := stat(t, f)
		require.Equal(t, at.UnixNano(), st.Atim.Nano())
		require.Equal(t, mt.UnixNano(), st.Mtim.Nano())
		ctime := st.Ctim
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, f, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0))
		st = stat(t, f)
		require.Equal(t, at.UnixNano(), st.Atim.Nano())
		require.Less(t, time.Since(time.Unix(st.Mtim.Unix())).Abs(), time.Minute)
		require.GreaterOrEqual(t, st.Ctim.Nano(), ctime.Nano())
	})

	t.Run("birth time", func(t *testing.T) {
		var stx unix.Statx_t
		require.NoError(t, unix.Statx(unix.AT_FDCWD, f, 0, unix.STATX_BTIME, &stx))
		require.NotZero(t, stx.Mask&unix.STATX_BTIME)
		require.Less(t, time.Since(time.Unix(stx.Btime.Sec, 0)).Abs(), time.Minute)
	})

	t.Run("mode and owner", func(t *testing.T) {
		require.NoError(t, os.Chmod(f, 0o4751|os.ModeSetuid))
		require.EqualValues(t, unix.S_IFREG|0o4751, stat(t, f).Mode)
		require.NoError(t, os.Chown(f, 1234, 5678))
		st := stat(t, f)
		require.EqualValues(t, 1234, st.Uid)
		require.EqualValues(t, 5678, st.Gid)
		require.EqualValues(t, unix.S_IFREG|0o751, st.Mode, "a change of owner takes the set-user-ID bit")
	})

	t.Run("extended attributes", func(t *testing.T) {
		require.NoError(t, unix.Setxattr(f, "user.one", []byte("1"), 0))
		require.NoError(t, unix.Setxattr(f, "user.two", nil, unix.XATTR_CREATE))
		require.ErrorIs(t, unix.Setxattr(f, "user.two", nil, unix.XATTR_CREATE), unix.EEXIST)
		buf := make([]byte, 100)
		n, err := unix.Getxattr(f, "user.one", buf)
		require.NoError(t, err)
		require.Equal(t, "1", string(buf[:n]))
		_, err = unix.Getxattr(f, "user.none", buf)
		require.ErrorIs(t, err, unix.ENODATA)
		n, err = unix.Listxattr(f, nil)
		require.NoError(t, err)
		require.Equal(t, len("user.one\x00user.two\x00"), n)
		_, err = unix.Listxattr(f, buf[:3])
		require.ErrorIs(t, err, unix.ERANGE)
		require.NoError(t, unix.Removexattr(f, "user.one"))
		require.ErrorIs(t, unix.Removexattr(f, "user.one"), unix.ENODATA)
		require.ErrorIs(t, unix.Setxattr(f, "overlay.opaque", []byte("y"), 0), unix.EOPNOTSUPP)
		require.ErrorIs(t, unix.Setxattr(f, "security.other", []byte("y"), 0), unix.EOPNOTSUPP)
	})

	t.Run("statfs", func(t *testing.T) {
		var st unix.Statfs_t
		require.NoError(t, unix.Statfs(s.dir, &st))
		require.EqualValues(t, unix.FUSE_SUPER_MAGIC, st.Type)
		require.EqualValues(t, 255, st.Namelen)
		require.NotZero(t, st.Bsize)
	})

	s.stop(t)
}
