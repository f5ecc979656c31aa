package vfstest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// tick waits until files get a later time than now. The kernel's clock for them is a coarse one, and lags behind.
func tick() {
	start := time.Now()
	var ts unix.Timespec
	for ts.Nano() <= start.UnixNano() {
		time.Sleep(100 * time.Microsecond)
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
			panic(err) // every Linux has this clock
		}
	}
}

func after(a, b unix.Timespec) bool { return a.Nano() > b.Nano() }

func testAttributes(t *testing.T, d Driver) {
	t.Run("stat", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		for _, c := range []pathCase{
			{"trailing slash", "f/", unix.ENOTDIR},
			{"below a file", "f/.", unix.ENOTDIR},
			{"missing", "x", unix.ENOENT},
			{"missing in the middle", "x/../f", unix.ENOENT},
			{"empty", "", unix.ENOENT},
			{"dots", "./d/.././f", 0},
			{"slashes", "//d////..//f", 0},
			{"above the root", "../../f", 0},
		} {
			_, err := s.lstat(c.path)
			s.fails(c.want, err, "%s: lstat %q", c.name, c.path)
		}
		root := s.attr("/")
		require.EqualValues(t, unix.S_IFDIR, root.Mode&unix.S_IFMT)
		inos := map[uint64]bool{root.Ino: true, s.attr("d").Ino: true, s.attr("f").Ino: true}
		require.Len(t, inos, 3, "inode numbers differ")
		require.NotZero(t, root.Ino)
		a := s.attr("f")
		require.NotZero(t, a.Blksize)
		require.EqualValues(t, 1, a.Size)
		st, err := s.statfs("/")
		s.ok(err, "statfs")
		require.NotZero(t, st.Bsize)
		require.EqualValues(t, 255, st.Namelen)
		require.LessOrEqual(t, st.Bfree, st.Blocks)
	})
	t.Run("chmod", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		for _, path := range []string{"f", "d"} {
			for _, mode := range []uint32{0, 0o7777, 0o4755, 0o644, 0o1777} {
				kind := s.attr(path).Mode & unix.S_IFMT
				s.ok(s.chmod(path, mode), "chmod %s %o", path, mode)
				require.Equal(t, kind|mode, s.attr(path).Mode)
			}
		}
	})
	t.Run("chown", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		if !d.has(Owners) {
			s.fails(unix.EPERM, s.chown("f", 7, 8), "chown")
			return
		}
		for _, path := range []string{"f", "d"} {
			s.ok(s.chown(path, 7, 8), "chown %s", path)
			a := s.attr(path)
			require.Equal(t, [2]uint32{7, 8}, [2]uint32{a.UID, a.GID})
		}
		s.ok(s.chown("f", 1<<32-2, 1<<31), "chown to large ids")
		require.EqualValues(t, uint32(1<<32-2), s.attr("f").UID)
		require.EqualValues(t, uint32(1<<31), s.attr("f").GID)
	})
	t.Run("ctime of a change", func(t *testing.T) {
		s := newSys(t, d, "f")
		before := s.attr("f")
		tick()
		s.ok(s.chmod("f", 0o600), "chmod")
		a := s.attr("f")
		require.True(t, after(a.Ctime, before.Ctime), "ctime")
		require.Equal(t, before.Mtime, a.Mtime, "mtime")
	})
}

func testTimes(t *testing.T, d Driver) {
	if !d.has(Times) {
		s := newSys(t, d, "f")
		s.fails(unix.EPERM, s.utimens("f", unix.Timespec{Sec: 1}, unix.Timespec{Sec: 2}), "utimensat")
		return
	}
	t.Run("given", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		for _, path := range []string{"f", "d"} {
			for _, ts := range []unix.Timespec{{Sec: 0}, {Sec: 1, Nsec: 999999999}, {Sec: 1700000000, Nsec: 123456789}, {Sec: 1 << 32, Nsec: 1}, {Sec: -1}} {
				s.ok(s.utimens(path, ts, unix.Timespec{Sec: ts.Sec, Nsec: 5}), "utimensat %v", ts)
				a := s.attr(path)
				require.Equal(t, ts, a.Atime)
				require.Equal(t, unix.Timespec{Sec: ts.Sec, Nsec: 5}, a.Mtime)
			}
		}
	})
	t.Run("now and omitted", func(t *testing.T) {
		s := newSys(t, d, "f")
		s.ok(s.utimens("f", unix.Timespec{Sec: 1}, unix.Timespec{Sec: 2}), "utimensat")
		s.ok(s.utimens("f", unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_NOW}), "utimensat")
		a := s.attr("f")
		require.Equal(t, unix.Timespec{Sec: 1}, a.Atime)
		require.Greater(t, a.Mtime.Sec, int64(1600000000))
	})
	t.Run("content", func(t *testing.T) {
		s := newSys(t, d, "f")
		old := unix.Timespec{Sec: 1000}
		for _, call := range []struct {
			name    string
			feature Feature // that it needs; 0: none
			do      func(f *file)
		}{
			{"write", 0, func(f *file) { f.write("x") }},
			{"ftruncate", 0, func(f *file) { s.ok(f.Truncate(100), "ftruncate") }},
			{"fallocate", Allocate, func(f *file) { s.ok(f.Fallocate(0, 0, 200), "fallocate") }},
			{"fallocate of what is there", Allocate, func(f *file) { s.ok(f.Fallocate(0, 0, 1), "fallocate") }},
			{"fallocate past the end", Allocate, func(f *file) { s.ok(f.Fallocate(unix.FALLOC_FL_KEEP_SIZE, 500, 1), "fallocate") }},
			{"punch past the end", PunchHole, func(f *file) {
				s.ok(f.Fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 500, 1), "fallocate")
			}},
		} {
			if !d.has(call.feature) {
				continue
			}
			f := s.file("f", unix.O_WRONLY)
			s.ok(s.utimens("f", old, old), "utimensat")
			before := s.attr("f").Ctime
			tick()
			call.do(f)
			a := s.attr("f")
			require.NotEqual(t, old, a.Mtime, "mtime after %s", call.name)
			require.True(t, after(a.Ctime, before), "ctime after %s", call.name)
			require.Equal(t, old, a.Atime, "atime after %s", call.name)
			f.close()
		}
	})
	t.Run("directory", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		old := unix.Timespec{Sec: 1000}
		for _, call := range []struct {
			name string
			do   func() error
		}{
			{"create", func() error { return s.opens("d/new", unix.O_CREAT|unix.O_WRONLY, 0o644) }},
			{"mkdir", func() error { return s.mkdir("d/sub", 0o755) }},
			{"rename", func() error { return s.rename("d/new", "d/new2") }},
			{"unlink", func() error { return s.unlink("d/new2") }},
			{"rmdir", func() error { return s.rmdir("d/sub") }},
			{"rename in", func() error { return s.rename("f", "d/f") }},
			{"rename out", func() error { return s.rename("d/f", "f") }},
		} {
			s.ok(s.utimens("d", old, old), "utimensat")
			before := s.attr("d").Ctime
			tick()
			s.ok(call.do(), "%s", call.name)
			a := s.attr("d")
			require.NotEqual(t, old, a.Mtime, "mtime after %s", call.name)
			require.True(t, after(a.Ctime, before), "ctime after %s", call.name)
		}
	})
	t.Run("relatime", func(t *testing.T) {
		s := newSys(t, d, "f")
		old := unix.Timespec{Sec: 1000}
		s.ok(s.utimens("f", old, old), "utimensat")
		f := s.file("f", unix.O_RDONLY|unix.O_NOATIME)
		f.readAt(1, 0)
		f.close()
		require.Equal(t, old, s.attr("f").Atime, "O_NOATIME")
		s.get("f")
		first := s.attr("f")
		require.Equal(t, old, first.Mtime)
		if !d.has(ReadTimes) {
			return
		}
		require.NotEqual(t, old, first.Atime, "read after a change")
		tick()
		s.get("f")
		tick()
		second := s.attr("f").Atime
		s.get("f")
		require.Equal(t, second, s.attr("f").Atime, "read without a change")
	})
}

// testAccessTime lets days pass between reads.
func testAccessTime(t *testing.T, d Driver) {
	if !d.has(Times) {
		return // checked in Times
	}
	var ahead atomic.Int64 // nanoseconds that the VFS's clock is ahead of that of the driver
	s, _ := newView(t, d, vfs.Config{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	s.layout("f")
	skip := func(d time.Duration) { ahead.Add(int64(d)) }
	skip(time.Second)
	s.get("f")
	s.get("f")
	first := s.attr("f").Atime
	s.get("f")
	require.Equal(t, first, s.attr("f").Atime, "read without a change")
	skip(25 * time.Hour)
	s.get("f")
	require.True(t, after(s.attr("f").Atime, first), "read a day later")
	skip(25 * time.Hour)
	before := s.attr("f").Atime
	f := s.file("f", unix.O_RDONLY|unix.O_NOATIME)
	f.readAt(1, 0)
	f.close()
	require.Equal(t, before, s.attr("f").Atime, "O_NOATIME")
}
