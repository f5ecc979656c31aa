package hostfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/vfs"
)

// isEIO checks that err is an EIO that says what happened.
func isEIO(t *testing.T, err error, what string) {
	t.Helper()
	require.ErrorIs(t, err, unix.EIO, what)
	require.ErrorContains(t, err, "hostfs: ", what)
}

// TestReadCounts: counts beyond the buffer, or negative ones, are not taken.
func TestReadCounts(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	w.plant("f", "0123456789")
	f := w.file("/host/f", unix.O_RDONLY)
	buf := make([]byte, 4, 16)
	for _, n := range []int{5, 16, -1, math.MaxInt, math.MinInt} {
		h.pread = func([]byte) (int, error) { return n, nil }
		got, err := f.ReadAt(w.ctx, buf, 0)
		isEIO(t, err, fmt.Sprint(n))
		require.Zero(t, got)
	}
	// Short reads go on until the end of file.
	left := "0123456789"
	h.pread = func(p []byte) (int, error) {
		n := copy(p[:min(len(p), 3)], left)
		left = left[n:]
		return n, nil
	}
	all := make([]byte, 20)
	n, err := f.ReadAt(w.ctx, all, 0)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(all[:n]))
}

// TestWriteCounts: counts beyond what was asked, and none at all, are not taken.
func TestWriteCounts(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	f := w.file("/host/f", unix.O_RDWR|unix.O_CREAT)
	a := w.file("/host/a", unix.O_RDWR|unix.O_CREAT|unix.O_APPEND)
	for _, n := range []int{0, 5, -1, math.MaxInt} {
		calls := 0
		h.pwrite = func([]byte) (int, error) { calls++; return n, nil }
		_, err := f.WriteAt(w.ctx, []byte("data"), 0)
		isEIO(t, err, fmt.Sprint(n))
		require.Equal(t, 1, calls)
		h.append = func([]byte) (int, int64, error) { return n, 100, nil }
		_, err = a.Write(w.ctx, []byte("data"))
		isEIO(t, err, fmt.Sprint(n))
	}
	for _, end := range []int64{-1, 3, math.MinInt64} {
		h.append = func([]byte) (int, int64, error) { return 4, end, nil }
		_, err := a.Write(w.ctx, []byte("data"))
		isEIO(t, err, fmt.Sprint(end))
	}
	// Short writes go on; what was written before an error counts.
	var got []byte
	h.pwrite = func(p []byte) (int, error) {
		if len(got) >= 6 {
			return 0, unix.ENOSPC
		}
		got = append(got, p[:min(len(p), 3)]...)
		return min(len(p), 3), nil
	}
	n, err := f.WriteAt(w.ctx, []byte("0123456789"), 0)
	require.NoError(t, err, "write(2) tells the error with the next call")
	require.Equal(t, 6, n)
	require.Equal(t, "012345", string(got))
	_, err = f.WriteAt(w.ctx, []byte("x"), 6)
	require.Equal(t, unix.ENOSPC, err)
}

// TestSeekAnswers: an offset must not lie before the one asked for.
func TestSeekAnswers(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	w.plant("f", "0123456789")
	f := w.file("/host/f", unix.O_RDONLY)
	for _, at := range []int64{-1, 4, math.MinInt64} {
		h.seek = func(int64) (int64, error) { return at, nil }
		_, err := f.Seek(w.ctx, 5, unix.SEEK_DATA)
		isEIO(t, err, fmt.Sprint(at))
	}
	h.seek = func(int64) (int64, error) { return -1, unix.ENXIO }
	_, err := f.Seek(w.ctx, 5, unix.SEEK_DATA)
	require.Equal(t, unix.ENXIO, err)
}

// TestRanges: bytes that no file has are not asked for.
func TestRanges(t *testing.T) {
	h := newHook()
	fs := mount(t, hostfs.NewType(hostfs.Config{Host: h}), hostDir(t))
	defer fs.Close(t.Context(), vfs.ForceClose)
	i, err := fs.Root().Create(t.Context(), "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	defer vfs.UnpinInode(t.Context(), i)
	f, err := i.Open(t.Context(), unix.O_RDWR)
	require.NoError(t, err)
	defer f.Release(t.Context())
	h.call = func(call string) error { t.Error("sent:", call); return nil }
	defer func() { h.call = nil }()
	data := make([]byte, 10)
	for _, c := range []struct {
		off         int64
		read, write unix.Errno
	}{
		{-1, unix.EINVAL, unix.EINVAL},
		{math.MinInt64, unix.EINVAL, unix.EINVAL},
		{math.MaxInt64, unix.EINVAL, unix.EFBIG},
		{math.MaxInt64 - 9, unix.EINVAL, unix.EFBIG},
	} {
		_, err := f.ReadAt(t.Context(), data, c.off)
		require.Equal(t, c.read, err, "read at %d", c.off)
		_, err = f.WriteAt(t.Context(), data, c.off)
		require.Equal(t, c.write, err, "write at %d", c.off)
		require.Equal(t, c.write, f.Fallocate(t.Context(), 0, c.off, 10), "fallocate at %d", c.off)
	}
	_, err = f.Seek(t.Context(), -1, unix.SEEK_DATA)
	require.Equal(t, unix.ENXIO, err)
	require.Equal(t, unix.EINVAL, f.Fallocate(t.Context(), 0, 0, -1))
}

// TestStatAnswers: what no file has becomes an error, or a harmless value.
func TestStatAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(st *unix.Statx_t)
		check func(t *testing.T, a vfs.Attr, err error)
	}{
		{"no type", func(st *unix.Statx_t) { st.Mode = 0o644 }, wantEIO},
		{"unknown type", func(st *unix.Statx_t) { st.Mode = 0o170644 }, wantEIO},
		{"size", func(st *unix.Statx_t) { st.Size = 1 << 63 }, wantEIO},
		{"links", func(st *unix.Statx_t) { st.Nlink = 0 }, func(t *testing.T, a vfs.Attr, err error) {
			require.NoError(t, err)
			require.EqualValues(t, 1, a.Nlink)
		}},
		{"block size 0", func(st *unix.Statx_t) { st.Blksize = 0 }, wantBlksize},
		{"block size no power", func(st *unix.Statx_t) { st.Blksize = 5000 }, wantBlksize},
		{"block size 256", func(st *unix.Statx_t) { st.Blksize = 256 }, wantBlksize},
		{"block size 2 MiB", func(st *unix.Statx_t) { st.Blksize = 2 << 20 }, wantBlksize},
		{"blocks", func(st *unix.Statx_t) { st.Blocks = math.MaxUint64 }, func(t *testing.T, a vfs.Attr, err error) {
			require.NoError(t, err)
			require.Positive(t, a.Blocks)
			require.LessOrEqual(t, a.Blocks, int64(math.MaxInt64/512))
		}},
		{"times", func(st *unix.Statx_t) {
			st.Atime.Nsec, st.Mtime.Nsec, st.Ctime.Nsec, st.Btime.Nsec = 1e9, math.MaxUint32, 1e9, 1e9
		}, func(t *testing.T, a vfs.Attr, err error) {
			require.NoError(t, err)
			for _, ts := range []unix.Timespec{a.Atime, a.Mtime, a.Ctime, a.Btime} {
				require.Zero(t, ts)
			}
		}},
		{"bits beside the permissions", func(st *unix.Statx_t) { st.Mode |= 0o7000 }, func(t *testing.T, a vfs.Attr, err error) {
			require.NoError(t, err)
			require.EqualValues(t, unix.S_IFREG|0o7644, a.Mode)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHook()
			dir := hostDir(t)
			var log bytes.Buffer
			typ := hostfs.NewType(hostfs.Config{Host: h, Log: slog.New(slog.NewTextHandler(&log, nil))})
			fs := mount(t, typ, dir)
			defer fs.Close(t.Context(), vfs.ForceClose)
			i, err := fs.Root().Create(t.Context(), "f", vfs.CreateAttr{Mode: 0o644})
			require.NoError(t, err)
			require.NoError(t, vfs.UnpinInode(t.Context(), i))
			again, err := fs.Root().Lookup(t.Context(), "f")
			require.NoError(t, err)
			defer vfs.UnpinInode(t.Context(), again)
			require.Empty(t, log.String())
			h.stat = func(_ hostfs.FD, name string, st *unix.Statx_t) error {
				if name == "f" {
					c.spoil(st)
				}
				return nil
			}
			a, err := again.Getattr(t.Context(), unix.STATX_BASIC_STATS)
			c.check(t, a, err)
		})
	}
}

func wantEIO(t *testing.T, _ vfs.Attr, err error) {
	t.Helper()
	isEIO(t, err, "stat")
}

func wantBlksize(t *testing.T, a vfs.Attr, err error) {
	t.Helper()
	require.NoError(t, err)
	require.EqualValues(t, 4096, a.Blksize)
}

// TestCorrectionsAreLogged: values that were replaced are in the log, but do not flood it.
func TestCorrectionsAreLogged(t *testing.T) {
	h := newHook()
	h.stat = func(_ hostfs.FD, _ string, st *unix.Statx_t) error { st.Blksize = 3; return nil }
	var log bytes.Buffer
	now := time.Unix(1000, 0)
	typ := hostfs.NewType(hostfs.Config{
		Host: h, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now },
	})
	fs := mount(t, typ, hostDir(t))
	defer fs.Close(t.Context(), vfs.ForceClose)
	for range 10 {
		_, err := fs.Root().Getattr(t.Context(), 0)
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(log.String(), "st_blksize"))
	now = now.Add(2 * time.Minute)
	_, err := fs.Root().Getattr(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(log.String(), "st_blksize"))
}

func TestReadlinkAnswers(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	require.NoError(t, w.SymlinkAt(w.ctx, "target", cwd, "/host/l"))
	for name, answer := range map[string]func(buf []byte) (int, error){
		"empty":       func([]byte) (int, error) { return 0, nil },
		"negative":    func([]byte) (int, error) { return -1, nil },
		"4096 bytes":  func(buf []byte) (int, error) { return copy(buf, strings.Repeat("x", 4096)), nil },
		"over buffer": func(buf []byte) (int, error) { return len(buf) + 1, nil },
		"NUL":         func(buf []byte) (int, error) { return copy(buf, "a\x00b"), nil },
	} {
		h.readlink = answer
		_, err := w.get("/host/l")
		isEIO(t, err, name)
	}
}

func TestStatfsAnswers(t *testing.T) {
	good := unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 1000, Bfree: 500, Bavail: 400, Files: 100, Ffree: 50, Namelen: 255}
	for _, c := range []struct {
		name   string
		spoil  func(st *unix.Statfs_t)
		blocks uint64
	}{
		{"good", func(st *unix.Statfs_t) {}, 1000},
		{"fragment size 0", func(st *unix.Statfs_t) { st.Frsize = 0 }, 1000},
		{"name length 0", func(st *unix.Statfs_t) { st.Namelen = 0 }, 1000},
		{"name length", func(st *unix.Statfs_t) { st.Namelen = 1 << 40 }, 1000},
		{"block size 0", func(st *unix.Statfs_t) { st.Bsize = 0 }, 0},
		{"block size -1", func(st *unix.Statfs_t) { st.Bsize = -1 }, 0},
		{"block size 3000", func(st *unix.Statfs_t) { st.Bsize = 3000 }, 0},
		{"more free than there is", func(st *unix.Statfs_t) { st.Bfree = 1001 }, 0},
		{"more available than free", func(st *unix.Statfs_t) { st.Bavail = 501 }, 0},
		{"more free inodes than there are", func(st *unix.Statfs_t) { st.Ffree = 101 }, 0},
		{"more bytes than can be", func(st *unix.Statfs_t) { st.Blocks = 1 << 60 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHook()
			h.statfs = func(st *unix.Statfs_t) { *st = good; st.Type = 0x1234; c.spoil(st) }
			fs := mount(t, hostfs.NewType(hostfs.Config{Host: h}), hostDir(t))
			defer fs.Close(t.Context(), vfs.ForceClose)
			st, err := fs.Statfs(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, unix.HOSTFS_SUPER_MAGIC, st.Type, "the type is ours")
			require.Equal(t, c.blocks, st.Blocks)
			require.EqualValues(t, 255, st.Namelen)
			require.EqualValues(t, 4096, st.Bsize)
			require.EqualValues(t, 4096, st.Frsize)
		})
	}
}

// TestErrnos: errors that a call cannot have become EIO; being interrupted is not an error, but has an end.
func TestErrnos(t *testing.T) {
	allowed := map[unix.Errno]bool{}
	for _, e := range []unix.Errno{
		unix.ENOENT, unix.EEXIST, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY, unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC,
		unix.EDQUOT, unix.EFBIG, unix.EMFILE, unix.ENFILE, unix.EIO, unix.EXDEV, unix.ELOOP, unix.ENAMETOOLONG, unix.EBUSY, unix.EMLINK,
		unix.ETXTBSY, unix.ESTALE, unix.ENXIO, unix.EOPNOTSUPP,
	} {
		allowed[e] = true
	}
	h := newHook()
	fs := mount(t, hostfs.NewType(hostfs.Config{Host: h}), hostDir(t))
	defer fs.Close(t.Context(), vfs.ForceClose)
	i, err := fs.Root().Create(t.Context(), "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	defer vfs.UnpinInode(t.Context(), i)
	for e := range unix.Errno(200) {
		h.unlink = func() error { return e }
		err := fs.Root().Unlink(t.Context(), "f", i)
		want := unix.EIO
		if allowed[e] {
			want = e
		}
		require.ErrorIs(t, err, want, "errno %d", e)
		require.Equal(t, want, vfs.Errno(err), "errno %d", e)
	}
	for _, e := range []error{unix.Errno(math.MaxUint64), unix.Errno(5000), errors.New("no errno at all")} {
		h.unlink = func() error { return e }
		isEIO(t, fs.Root().Unlink(t.Context(), "f", i), e.Error())
	}
	calls := 0
	h.unlink = func() error {
		if calls++; calls < 5 {
			return unix.EINTR
		}
		return nil
	}
	require.NoError(t, fs.Root().Unlink(t.Context(), "f", i))
	require.Equal(t, 5, calls)
	h.unlink = func() error { calls++; return unix.EINTR }
	isEIO(t, fs.Root().Unlink(t.Context(), "f", i), "EINTR for ever")
	require.Less(t, calls, 10000)
}

func TestXattr(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	w.plant("f", "")
	if err := unix.Setxattr(w.on("f"), "user.host", []byte("1"), 0); err != nil {
		require.Equal(t, unix.EOPNOTSUPP, err)
		t.Skip("needs extended attributes in the directory for temporary files")
	}
	f := w.file("/host/f", unix.O_PATH).Path()
	root := vfs.RootCred()
	get := func(name string) (string, error) {
		v, err := vfs.Getxattr(w.ctx, root, f, name)
		return string(v), err
	}
	got, err := get("user.host")
	require.NoError(t, err)
	require.Equal(t, "1", got)
	long := strings.Repeat("v", 2000) // more than the first buffer
	require.NoError(t, vfs.Setxattr(w.ctx, root, f, "user.inside", []byte(long), 0))
	got, err = get("user.inside")
	require.NoError(t, err)
	require.Equal(t, long, got)
	require.Equal(t, unix.EEXIST, vfs.Setxattr(w.ctx, root, f, "user.inside", nil, unix.XATTR_CREATE))
	require.Equal(t, unix.ENODATA, vfs.Setxattr(w.ctx, root, f, "user.no", nil, unix.XATTR_REPLACE))
	_, err = get("user.no")
	require.Equal(t, unix.ENODATA, err)
	names, err := vfs.Listxattr(w.ctx, root, f)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"user.host", "user.inside"}, names)
	require.NoError(t, vfs.Removexattr(w.ctx, root, f, "user.host"))
	_, err = unix.Getxattr(w.on("f"), "user.host", nil)
	require.Equal(t, unix.ENODATA, err)
	for _, name := range []string{"trusted.x", "security.x"} {
		require.ErrorIs(t, vfs.Setxattr(w.ctx, root, f, name, nil, 0), unix.EOPNOTSUPP, name)
		_, err = unix.Getxattr(w.on("f"), name, nil)
		require.Error(t, err, name)
	}
	for _, n := range []int{-1, 1 << 20} {
		h.getxattr = func([]byte) (int, error) { return n, nil }
		_, err = get("user.inside")
		isEIO(t, err, fmt.Sprint(n))
	}
	h.getxattr = func([]byte) (int, error) { return 0, unix.ERANGE }
	_, err = get("user.inside")
	isEIO(t, err, "a value that grows for ever")
}
