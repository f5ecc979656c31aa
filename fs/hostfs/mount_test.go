package hostfs_test

import (
	"os"
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

// TestBlockedHost: a call that the host does not answer stops its caller and nobody else.
func TestBlockedHost(t *testing.T) {
	testenv.CheckLeaks(t)
	h := newHook()
	w := newWorld(t, h)
	w.plant("slow", "slow")
	w.plant("fast", "fast")
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	slow, fast := w.file("/host/slow", unix.O_RDONLY), w.file("/host/fast", unix.O_RDONLY)
	entered, answer := make(chan struct{}), make(chan struct{})
	h.pread = func(p []byte) (int, error) {
		if len(p) == 1 { // the call on the slow file
			close(entered)
			<-answer
			return 0, nil
		}
		return copy(p, "fast"), nil
	}
	done := make(chan error)
	go func() {
		_, err := slow.ReadAt(w.ctx, make([]byte, 1), 0)
		done <- err
	}()
	<-entered
	others := make(chan struct{})
	go func() {
		defer close(others)
		buf := make([]byte, 4)
		_, err := fast.ReadAt(w.ctx, buf, 0)
		require.NoError(t, err)
		_, err = w.lstat("/host/slow")
		require.NoError(t, err, "the same file")
		require.NoError(t, w.put("/host/d/new", "x"))
		require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/d/new", cwd, "/host/d/newer", 0))
		require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/d/newer"))
		require.NoError(t, w.MkdirAt(w.ctx, cwd, "/other", 0o755))
		require.NoError(t, w.View.Mount(w.ctx, "", "/other", "ramfs", 0, ""))
		require.NoError(t, w.Umount2(w.ctx, "/other", 0))
		require.NoError(t, w.Umount2(w.ctx, "/host", unix.MNT_DETACH))
	}()
	select {
	case <-others:
	case <-time.After(20 * time.Second):
		require.Fail(t, "others wait for a call that is not theirs")
	}
	close(answer)
	require.NoError(t, <-done)
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
