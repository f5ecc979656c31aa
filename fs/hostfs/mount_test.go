package hostfs_test

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

func TestMountOptions(t *testing.T) {
	testenv.CheckLeaks(t)
	dir := hostDir(t)
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o644))
	require.NoError(t, os.Symlink(dir, dir+"/link"))
	require.NoError(t, os.Mkdir(dir+"/a,b\\c", 0o755))
	typ := hostfs.NewType(hostfs.Config{})
	require.Equal(t, "hostfs", typ.Name())
	for _, c := range []struct {
		data    string
		want    error
		options string
	}{
		{"dir=" + dir, nil, "dir=" + dir},
		{"dir=" + dir + "/link", nil, "dir=" + dir + "/link"},
		{"dir=" + dir + `/a\,b\\c`, nil, "dir=" + dir + `/a\,b\\c`},
		{"", unix.EINVAL, ""},
		{"dir=", unix.EINVAL, ""},
		{"dir", unix.EINVAL, ""},
		{"dir=" + dir + ",dir=" + dir, unix.EINVAL, ""},
		{"dir=" + dir + ",key=1", unix.EINVAL, ""},
		{"dir=" + dir + "/missing", unix.ENOENT, ""},
		{"dir=" + dir + ",uid=7,gid=8,umask=022", nil, "dir=" + dir + ",uid=7,gid=8,umask=22"},
		{"dir=" + dir + ",umask=1000", unix.EINVAL, ""},
		{"dir=" + dir + ",umask=8", unix.EINVAL, ""},
		{"dir=" + dir + ",uid=4294967295", unix.EINVAL, ""},
		{"dir=" + dir + ",gid=-1", unix.EINVAL, ""},
		{"dir=" + dir + "/file", unix.ENOTDIR, ""},
		{"dir=" + dir + "/file/x", unix.ENOTDIR, ""},
	} {
		fs, err := typ.Mount(t.Context(), vfs.MountRequest{Data: c.data})
		if c.want != nil {
			require.ErrorIs(t, err, c.want, c.data)
			require.Equal(t, c.want, vfs.Errno(err), c.data)
			continue
		}
		require.NoError(t, err, c.data)
		require.Equal(t, c.options, fs.Options())
		require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))
	}
}

// TestMountFaults: whichever call fails, a mount that fails leaves nothing open, and can be made afterwards.
func TestMountFaults(t *testing.T) {
	testenv.CheckLeaks(t)
	dir := hostDir(t)
	h := newHook()
	calls, failAt := 0, 0
	fault := func() error {
		if calls++; calls == failAt {
			return unix.EIO
		}
		return nil
	}
	h.openFD = fault
	h.stat = func(hostfs.FD, string, *unix.Statx_t) error { return fault() }
	typ := hostfs.NewType(hostfs.Config{Host: h})
	for failAt = 1; ; failAt++ {
		calls = 0
		fs, err := typ.Mount(t.Context(), vfs.MountRequest{Data: "dir=" + dir})
		if err == nil {
			require.Less(t, calls, failAt)
			require.NoError(t, fs.Close(t.Context(), vfs.AbortClose))
			require.Zero(t, h.opened.Load())
			break
		}
		require.ErrorIs(t, err, unix.EIO, "call %d", failAt)
		require.Zero(t, h.opened.Load(), "call %d", failAt)
	}
	require.Equal(t, 3, failAt, "opening the directory and looking at it can fail")
}

// TestBlockedHost: a call that the host does not answer stops its caller and those who need the same file or directory. Nobody
// else waits: not in other directories, not in other mounts, not for umount2(2) with MNT_DETACH.
func TestBlockedHost(t *testing.T) {
	for _, c := range []struct {
		call string // that is not answered
		does func(w *world) error
	}{
		{"Pread", func(w *world) error { _, err := w.get("/host/slow/f"); return err }},
		{"Pwrite", func(w *world) error { return w.put("/host/slow/f", "x") }},
		{"OpenFile", func(w *world) error { _, err := w.get("/host/slow/f"); return err }},
		{"Stat", func(w *world) error { _, err := w.lstat("/host/slow/f"); return err }},
		{"Stat", func(w *world) error { _, err := w.lstat("/host/slow/not there"); return err }},
		{"Getdents", func(w *world) error { _, err := w.list("/host/slow"); return err }},
		{"Create", func(w *world) error { return w.put("/host/slow/new", "x") }},
		{"Mkdir", func(w *world) error { return w.MkdirAt(w.ctx, cwd, "/host/slow/new", 0o755) }},
		{"Unlink", func(w *world) error { return w.UnlinkAt(w.ctx, cwd, "/host/slow/f") }},
		{"Rename", func(w *world) error { return w.RenameAt(w.ctx, cwd, "/host/slow/f", cwd, "/host/slow/g", 0) }},
		{"Rename", func(w *world) error { return w.RenameAt(w.ctx, cwd, "/host/slow/f", cwd, "/host/slow/d/f", 0) }},
		{"Fsync", func(w *world) error { return w.ns.Sync(w.ctx) }},
		{"Statfs", func(w *world) error {
			return w.WithPath(w.ctx, cwd, "/host/slow", 0, func(p vfs.Path) error { _, err := vfs.Statfs(w.ctx, p); return err })
		}},
	} {
		for name, host := range map[string]hostfs.Host{"linux": hostfs.Linux(), "restricted": hostfs.NewRestricted()} {
			if name == "restricted" && c.call == "Statfs" {
				continue // it has none
			}
			t.Run(c.call+"/"+name, func(t *testing.T) {
				testenv.CheckLeaks(t)
				h := newHook()
				h.Host = host
				w := newWorld(t, h)
				require.NoError(t, os.MkdirAll(w.on("slow/d"), 0o755))
				require.NoError(t, os.Mkdir(w.on("d"), 0o755))
				w.plant("slow/f", "slow")
				w.plant("fast", "fast")
				fast := w.file("/host/fast", unix.O_RDONLY)
				w.file("/host/slow/d/open", unix.O_RDWR|unix.O_CREAT)
				_, err := w.list("/host/slow/d")
				require.NoError(t, err)

				var armed atomic.Bool
				entered, answer, done := make(chan struct{}), make(chan struct{}), make(chan error)
				h.call = func(call string) error {
					if call == c.call && armed.CompareAndSwap(true, false) {
						close(entered)
						<-answer
					}
					return nil
				}
				armed.Store(true)
				go func() { done <- c.does(w) }()
				<-entered
				others := make(chan error)
				go func() {
					others <- errors.Join(
						readAll(w, fast, "fast"),
						w.put("/host/d/new", "x"),
						w.RenameAt(w.ctx, cwd, "/host/d/new", cwd, "/host/d/newer", 0),
						w.UnlinkAt(w.ctx, cwd, "/host/d/newer"),
						w.MkdirAt(w.ctx, cwd, "/other", 0o755),
						w.View.Mount(w.ctx, "", "/other", "hostfs", 0, "dir="+w.on("d")),
						w.put("/other/f", "x"),
						w.Umount2(w.ctx, "/other", 0),
						w.Umount2(w.ctx, "/host", unix.MNT_DETACH),
					)
				}()
				select {
				case err := <-others:
					require.NoError(t, err)
				case <-time.After(20 * time.Second):
					require.Fail(t, "others wait for a call that is not theirs")
				}
				close(answer)
				err = <-done
				require.True(t, err == nil || vfs.Errno(err) == unix.ENOENT, "%v", err)
			})
		}
	}
}

func readAll(w *world, f *vfs.File, want string) error {
	buf := make([]byte, 10)
	n, err := f.ReadAt(w.ctx, buf, 0)
	return errors.Join(err, wrong(string(buf[:n]), want))
}

// TestMountBelow: what is mounted below stays reachable whatever the host does to the way there.
func TestMountBelow(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.MkdirAll(w.on("a/b"), 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "", "/host/a/b", "ramfs", 0, ""))
	require.NoError(t, w.put("/host/a/b/f", "mounted"))
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"removed", func() error { return nil }},
		{"a link", func() error { return os.Symlink("/etc", w.on("a")) }},
		{"another directory", func() error { return os.Mkdir(w.on("a"), 0o755) }},
		{"a file", func() error { return os.WriteFile(w.on("a"), nil, 0o644) }},
	} {
		require.NoError(t, os.RemoveAll(w.on("a")))
		require.NoError(t, c.do())
		got, err := w.get("/host/a/b/f")
		require.NoError(t, err, c.name)
		require.Equal(t, "mounted", got, c.name)
	}
	require.NoError(t, w.Umount2(w.ctx, "/host/a/b", 0))
	_, err := w.get("/host/a/b/f")
	require.ErrorIs(t, err, unix.ENOTDIR, "the host's file is seen again")
}

// TestMountedTwice: two mounts of a directory see each other's changes at once.
func TestMountedTwice(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/again", 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "", "/again", "hostfs", 0, "dir="+w.dir))
	_, err := w.lstat("/again/f")
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, w.put("/host/f", "one"))
	got, err := w.get("/again/f")
	require.NoError(t, err)
	require.Equal(t, "one", got)
	f := w.file("/again/f", unix.O_RDWR)
	require.NoError(t, w.put("/host/f", "other"))
	buf := make([]byte, 8)
	n, err := f.ReadAt(w.ctx, buf, 0)
	require.NoError(t, err)
	require.Equal(t, "other", string(buf[:n]))
	require.NoError(t, w.RenameAt(w.ctx, cwd, "/again/f", cwd, "/again/g", 0))
	_, err = w.lstat("/host/f")
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/g"))
	_, err = w.lstat("/again/g")
	require.ErrorIs(t, err, unix.ENOENT)
}

// TestMountFlags: mounts have nosuid and nodev, asked for or not, and say so.
func TestMountFlags(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/again", 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "", "/again", "hostfs", unix.MS_NOEXEC|unix.MS_NOSUID, "dir="+w.dir))
	opts := map[string]string{}
	for _, m := range w.Mounts() {
		opts[m.Target] = m.MountOpts
	}
	require.Equal(t, map[string]string{
		"/": "rw,relatime", "/host": "rw,nosuid,nodev,relatime", "/again": "rw,nosuid,nodev,noexec,relatime",
	}, opts)
	p, err := w.Walk(w.ctx, cwd, "/host", 0)
	require.NoError(t, err)
	defer p.Put()
	st, err := vfs.Statfs(w.ctx, p)
	require.NoError(t, err)
	require.EqualValues(t, unix.ST_NOSUID|unix.ST_NODEV, st.Flags&(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_NOEXEC))
}

// TestReadOnly: a read-only mount changes nothing on the host.
func TestReadOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.plant("f", "data")
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/ro", 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "", "/ro", "hostfs", unix.MS_RDONLY, "dir="+w.dir))
	got, err := w.get("/ro/f")
	require.NoError(t, err)
	require.Equal(t, "data", got)
	require.ErrorIs(t, w.put("/ro/f", "x"), unix.EROFS)
	require.ErrorIs(t, w.put("/ro/new", "x"), unix.EROFS)
	require.ErrorIs(t, w.MkdirAt(w.ctx, cwd, "/ro/d", 0o755), unix.EROFS)
	require.ErrorIs(t, w.UnlinkAt(w.ctx, cwd, "/ro/f"), unix.EROFS)
	require.Equal(t, "data", w.planted("f"))
}
