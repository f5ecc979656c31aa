package hostfs_test

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/syscall"
	"cloister/vfs"
)

// TestFsync: fsync reaches the host, and its errors and those of close come back.
func TestFsync(t *testing.T) {
	h := newHook()
	var synced []hostfs.FD
	w := newWorld(t, h)
	require.NoError(t, w.put("/host/closed", "x"))
	reading := w.file("/host/closed", unix.O_RDONLY)
	f, err := w.open("/host/f", unix.O_RDWR|unix.O_CREAT)
	require.NoError(t, err)
	h.fsync = func(fd hostfs.FD) error { synced = append(synced, fd); return nil }
	require.NoError(t, f.Fsync(w.ctx, false))
	require.NoError(t, f.Fsync(w.ctx, true))
	require.NoError(t, reading.Fsync(w.ctx, false))
	require.Len(t, synced, 3)

	synced = nil
	require.NoError(t, w.ns.Sync(w.ctx))
	require.Len(t, synced, 1, "sync(2) walks the files that are open for writing")

	h.fsync = func(hostfs.FD) error { return unix.EIO }
	require.ErrorIs(t, f.Fsync(w.ctx, false), unix.EIO)
	h.fsync = func(hostfs.FD) error { return unix.EINVAL }
	isEIO(t, f.Fsync(w.ctx, false), "EINVAL from fsync")
	h.fsync = nil
	h.close = func(hostfs.FD) error { return unix.EDQUOT }
	require.ErrorIs(t, f.Close(w.ctx), unix.EDQUOT, "close")
	h.close = nil
}

// TestDirSync: with MS_DIRSYNC a change of names is on the host's disk when the call returns.
func TestDirSync(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/sync", 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "", "/sync", "hostfs", unix.MS_DIRSYNC, "dir="+w.dir))
	synced := 0
	h.fsync = func(hostfs.FD) error { synced++; return nil }
	for _, c := range []struct {
		name string
		do   func() error
		want int
	}{
		{"mkdir", func() error { return w.MkdirAt(w.ctx, cwd, "/sync/d", 0o755) }, 1},
		{"symlink", func() error { return w.SymlinkAt(w.ctx, "x", cwd, "/sync/l") }, 1},
		{"rename", func() error { return w.RenameAt(w.ctx, cwd, "/sync/l", cwd, "/sync/d/l", 0) }, 2},
		{"unlink", func() error { return w.UnlinkAt(w.ctx, cwd, "/sync/d/l") }, 1},
		{"rmdir", func() error { return w.RmdirAt(w.ctx, cwd, "/sync/d") }, 1},
		{"on the other mount", func() error { return w.MkdirAt(w.ctx, cwd, "/host/d", 0o755) }, 0},
	} {
		synced = 0
		require.NoError(t, c.do(), c.name)
		require.Equal(t, c.want, synced, c.name)
	}
	h.fsync = func(hostfs.FD) error { return unix.ENOSPC }
	require.ErrorIs(t, w.MkdirAt(w.ctx, cwd, "/sync/e", 0o755), unix.ENOSPC)
}

// TestOwners: without the right to give files away all belongs to 0:0.
func TestOwners(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWorld(t, poorHost{hostfs.Linux(), hostfs.CanChown})
	w.plant("f", "")
	require.NoError(t, os.Chown(w.on("f"), 1234, 5678))
	a, err := w.lstat("/host/f")
	require.NoError(t, err)
	require.Zero(t, a.UID)
	require.Zero(t, a.GID)
	p := w.file("/host/f", unix.O_PATH).Path()
	chown := func(uid, gid uint32) error {
		return vfs.Setattr(w.ctx, vfs.RootCred(), p, vfs.SetAttrRequest{
			SetAttr: vfs.SetAttr{Mask: unix.STATX_UID | unix.STATX_GID, UID: uid, GID: gid},
		})
	}
	require.NoError(t, chown(0, 0), "to whom it belongs")
	require.ErrorIs(t, chown(1, 0), unix.EPERM)
	require.ErrorIs(t, chown(0, 1), unix.EPERM)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(w.on("f"), &st))
	require.EqualValues(t, 1234, st.Uid)

	rich := newWorld(t, nil)
	rich.plant("f", "")
	require.NoError(t, os.Chown(rich.on("f"), 1234, 5678))
	a, err = rich.lstat("/host/f")
	require.NoError(t, err)
	require.EqualValues(t, 1234, a.UID)
	require.EqualValues(t, 5678, a.GID)
	p = rich.file("/host/f", unix.O_PATH).Path()
	require.NoError(t, chown(4321, 8765))
	require.NoError(t, unix.Stat(rich.on("f"), &st))
	require.EqualValues(t, 4321, st.Uid)
	require.EqualValues(t, 8765, st.Gid)
}

// TestChangeTime: chown(2) that leaves everything as it is changes ctime, on the host.
func TestChangeTime(t *testing.T) {
	testenv.NeedRoot(t)
	for _, options := range []string{"", ",uid=0,gid=0"} {
		h := newHook()
		w := newWorld(t, h)
		require.NoError(t, w.MkdirAt(w.ctx, cwd, "/m", 0o755))
		require.NoError(t, w.View.Mount(w.ctx, "", "/m", "hostfs", 0, "dir="+w.dir+options))
		w.plant("f", "")
		task := syscall.NewTask(w.ns, vfs.RootCred())
		defer task.Exit()
		calls := 0
		h.call = func(call string) error {
			if call == "Chown" {
				calls++
			}
			return nil
		}
		require.NoError(t, task.Chown("/m/f", -1, -1), options)
		require.Equal(t, 1, calls, options)
		require.NoError(t, task.Chown("/m/f", 0, 0), options)
		require.Equal(t, 2, calls, options)
		h.call = nil
	}
}

// TestFixedOwners: with uid=, gid= and umask= the mount says who owns the files and what nobody may do.
func TestFixedOwners(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWorld(t, nil)
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/m", 0o755))
	require.NoError(t, os.WriteFile(w.on("f"), nil, 0o644))
	require.NoError(t, os.Chmod(w.on("f"), 0o777))
	require.NoError(t, os.Chown(w.on("f"), 1234, 5678))
	require.NoError(t, os.Symlink("f", w.on("l")))
	host := func(name string) (st unix.Stat_t) {
		require.NoError(t, unix.Lstat(w.on(name), &st))
		return st
	}
	for _, c := range []struct {
		options  string
		uid, gid uint32 // of f
		mode     uint32
	}{
		{"uid=7", 7, 5678, 0o777},
		{"gid=8,umask=022", 1234, 8, 0o755},
		{"uid=7,gid=8,umask=077", 7, 8, 0o700},
		{"uid=0,gid=4294967294,umask=0", 0, 4294967294, 0o777},
	} {
		t.Run(c.options, func(t *testing.T) {
			require.NoError(t, w.View.Mount(w.ctx, "", "/m", "hostfs", 0, "dir="+w.dir+","+c.options))
			defer func() { require.NoError(t, w.Umount2(w.ctx, "/m", 0)) }()
			a, err := w.lstat("/m/f")
			require.NoError(t, err)
			require.Equal(t, []uint32{c.uid, c.gid, c.mode}, []uint32{a.UID, a.GID, a.Mode & 0o7777})
			a, err = w.lstat("/m/l")
			require.NoError(t, err)
			require.EqualValues(t, 0o777, a.Mode&0o7777, "links have no permissions")

			require.NoError(t, w.setattr("/m/f", vfs.SetAttr{Mask: unix.STATX_UID | unix.STATX_GID, UID: c.uid, GID: c.gid}), "as it is")
			if strings.Contains(c.options, "uid") {
				require.ErrorIs(t, w.setattr("/m/f", vfs.SetAttr{Mask: unix.STATX_UID, UID: c.uid + 1}), unix.EPERM)
			}
			if strings.Contains(c.options, "gid") {
				require.ErrorIs(t, w.setattr("/m/f", vfs.SetAttr{Mask: unix.STATX_GID, GID: c.gid - 1}), unix.EPERM)
			}
			require.EqualValues(t, 1234, host("f").Uid)
			require.EqualValues(t, 5678, host("f").Gid)

			// What is made by another user belongs to the same one, without set-id bits of whom it is not.
			v := w.Clone()
			defer v.Release()
			require.NoError(t, v.MknodAt(w.ctx, cwd, "/m/new", unix.S_IFREG|0o4777, 0))
			defer os.Remove(w.on("new"))
			a, err = w.lstat("/m/new")
			require.NoError(t, err)
			if strings.HasPrefix(c.options, "uid=7") {
				require.EqualValues(t, 7, a.UID)
				require.Zero(t, a.Mode&unix.S_ISUID)
			}
			require.Equal(t, c.mode, a.Mode&0o777)
			require.Equal(t, c.mode, host("new").Mode&0o777, "the others are not sent")
			require.NoError(t, w.setattr("/m/new", vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o666}))
			require.Equal(t, c.mode&0o666, host("new").Mode&0o777)
		})
	}
}

// TestMissingCapabilities: what the host cannot do fails, and is not sent.
func TestMissingCapabilities(t *testing.T) {
	w := newWorld(t, poorHost{hostfs.Linux(), ^hostfs.Caps(0)})
	require.NoError(t, w.put("/host/f", "data"))
	f := w.file("/host/f", unix.O_RDWR)
	set := func(sa vfs.SetAttr) error {
		return vfs.Setattr(w.ctx, vfs.RootCred(), f.Path(), vfs.SetAttrRequest{SetAttr: sa})
	}
	require.ErrorIs(t, set(vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o600}), unix.EPERM)
	require.ErrorIs(t, set(vfs.SetAttr{Mask: unix.STATX_MTIME, Mtime: unix.Timespec{Sec: 1}}), unix.EPERM)
	require.ErrorIs(t, set(vfs.SetAttr{Mask: unix.STATX_UID, UID: 1}), unix.EPERM)
	require.ErrorIs(t, w.SymlinkAt(w.ctx, "x", cwd, "/host/l"), unix.EPERM)
	require.ErrorIs(t, w.LinkAt(w.ctx, cwd, "/host/f", cwd, "/host/g", 0), unix.EPERM)
	require.ErrorIs(t, f.Fallocate(w.ctx, 0, 0, 10), unix.EOPNOTSUPP)
	require.ErrorIs(t, vfs.Setxattr(w.ctx, vfs.RootCred(), f.Path(), "user.x", nil, 0), unix.EOPNOTSUPP)
	require.NoError(t, w.put("/host/g", ""))
	require.ErrorIs(t, w.RenameAt(w.ctx, cwd, "/host/f", cwd, "/host/g", unix.RENAME_EXCHANGE), unix.EINVAL)
	st, err := vfs.Statfs(w.ctx, f.Path())
	require.NoError(t, err)
	require.Zero(t, st.Blocks)
	at, err := f.Seek(w.ctx, 1, unix.SEEK_HOLE)
	require.NoError(t, err)
	require.EqualValues(t, 4, at)
	_, err = f.Seek(w.ctx, 4, unix.SEEK_DATA)
	require.ErrorIs(t, err, unix.ENXIO)
}

// TestUmask: the umask inside is the one that counts, not that of the process on the host.
func TestUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	w := newWorld(t, nil)
	w.SetUmask(0o002)
	require.NoError(t, w.put("/host/f", ""))
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/host/d", 0o777))
	for name, want := range map[string]uint32{"f": 0o664, "d": 0o775} {
		var st unix.Stat_t
		require.NoError(t, unix.Stat(w.on(name), &st))
		require.Equal(t, want, st.Mode&0o7777, name)
	}
}

// TestAppend: the host finds the end of file, whoever has moved it.
func TestAppend(t *testing.T) {
	w := newWorld(t, nil)
	f := w.file("/host/log", unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
	_, err := f.Write(w.ctx, []byte("one,"))
	require.NoError(t, err)
	other, err := os.OpenFile(w.on("log"), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer other.Close()
	_, err = other.WriteString("host,")
	require.NoError(t, err)
	_, err = f.Write(w.ctx, []byte("two,"))
	require.NoError(t, err)
	require.Equal(t, "one,host,two,", w.planted("log"))
	at, err := f.Seek(w.ctx, 0, unix.SEEK_CUR)
	require.NoError(t, err)
	require.EqualValues(t, 13, at)

	// Without O_APPEND the same open file writes where it is told.
	require.NoError(t, f.SetFlags(0))
	_, err = f.WriteAt(w.ctx, []byte("ONE"), 0)
	require.NoError(t, err)
	require.Equal(t, "ONE,host,two,", w.planted("log"))

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			g, err := w.open("/host/many", unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
			if err != nil {
				t.Error(err)
				return
			}
			defer g.Close(w.ctx)
			for range 50 {
				if _, err := g.Write(w.ctx, []byte("line\n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, string(bytes.Repeat([]byte("line\n"), 200)), w.planted("many"))
}

// TestCreatedWithoutPermission: who makes a file may write it, whatever its mode says.
func TestCreatedWithoutPermission(t *testing.T) {
	w := newWorld(t, nil)
	f, err := w.OpenAt(w.ctx, cwd, "/host/f", vfs.OpenHow{Flags: unix.O_RDWR | unix.O_CREAT, Mode: 0})
	require.NoError(t, err)
	defer f.Close(w.ctx)
	_, err = f.WriteAt(w.ctx, []byte("x"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(w.ctx, 5))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(w.on("f"), &st))
	require.Zero(t, st.Mode&0o7777)
	require.EqualValues(t, 5, st.Size)
}
