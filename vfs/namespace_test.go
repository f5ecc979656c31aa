package vfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/vfs"
)

func TestMountLimit(t *testing.T) {
	fail := unix.Errno(0)
	typ := testType{name: "maybe", mount: func(vfs.MountRequest) (vfs.FileSystem, error) {
		if fail != 0 {
			return nil, fail
		}
		return ramfs.New(ramfs.Config{}), nil
	}}
	w := newWorldConfig(t, vfs.Config{MaxMounts: 3, Types: []vfs.FileSystemType{typ}}, "/d")
	mount := func() error { return w.v.Mount(w.ctx, "", "/d", "maybe", 0, "") }
	fail = unix.EACCES
	for range 5 {
		w.fails(unix.EACCES, mount(), "mount that the driver refuses")
	}
	fail = 0
	w.ok(mount(), "mount")
	w.ok(mount(), "mount")
	w.fails(unix.ENOSPC, mount(), "one mount too many")
	w.ok(w.umount("/d", unix.MNT_DETACH), "umount")
	w.ok(mount(), "mount")
}

func TestMountTargetRemovedMeanwhile(t *testing.T) {
	var w *world
	made := newFlaky()
	typ := testType{name: "slow", mount: func(vfs.MountRequest) (vfs.FileSystem, error) {
		return made, w.v.RmdirAt(w.ctx, cwd, "/d")
	}}
	w = newWorldConfig(t, vfs.Config{Types: []vfs.FileSystemType{typ}}, "/d")
	w.fails(unix.ENOENT, w.v.Mount(w.ctx, "", "/d", "slow", 0, ""), "mount")
	require.EqualValues(t, 1, made.closed.Load(), "the file system is closed again")
}

func TestMountRequest(t *testing.T) {
	var got vfs.MountRequest
	typ := testType{name: "ask", mount: func(req vfs.MountRequest) (vfs.FileSystem, error) {
		got = req
		return ramfs.New(ramfs.Config{}), nil
	}}
	w := newWorldConfig(t, vfs.Config{Types: []vfs.FileSystemType{typ}}, "/d")
	w.ok(w.v.Mount(w.ctx, "source", "/d", "ask", unix.MS_MGC_VAL|unix.MS_RDONLY|unix.MS_SILENT, "a=b"), "mount")
	require.Equal(t, "source", got.Source)
	require.Equal(t, "a=b", got.Data)
	require.EqualValues(t, unix.MS_RDONLY, got.Flags)
	require.Same(t, w.v.Cred(), got.Cred)
}

func TestMountFollowsRenamedAncestor(t *testing.T) {
	w := newWorld(t, "/a", "/a/b", "/a/b/m", "/c")
	w.ok(w.mount("/a/b/m", 0), "mount")
	w.touch("/a/b/m/f")
	rename := func(old, new string, flags uint32) error {
		return w.v.RenameAt(w.ctx, cwd, old, cwd, new, flags)
	}
	w.ok(rename("/a/b", "/c/b", 0), "rename")
	w.ok(w.stat("/c/b/m/f"), "the mount has come along")
	require.Equal(t, "/c/b/m", w.v.Mounts()[1].Target)
	w.fails(unix.EBUSY, rename("/c/b/m", "/x", 0), "rename of the mount point")
	w.fails(unix.EBUSY, rename("/a", "/c/b/m", 0), "rename over the mount point")
	w.fails(unix.EBUSY, rename("/a", "/c/b/m", unix.RENAME_EXCHANGE), "exchange with the mount point")
	w.fails(unix.EBUSY, w.v.RmdirAt(w.ctx, cwd, "/c/b/m"), "rmdir of the mount point")
	w.fails(unix.EISDIR, w.v.UnlinkAt(w.ctx, cwd, "/c/b/m"), "unlink of the mount point")
	w.fails(unix.ENOTEMPTY, w.v.RmdirAt(w.ctx, cwd, "/c/b"), "rmdir of its parent")
}

func TestMountInfo(t *testing.T) {
	w := newWorld(t, "/a", "/b c")
	w.ok(w.v.Mount(w.ctx, "src x", "/a", "flaky", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOATIME|unix.MS_SYNCHRONOUS, ""), "mount")
	w.ok(w.v.Mount(w.ctx, "", "/b c", "ramfs", unix.MS_STRICTATIME|unix.MS_NOSYMFOLLOW, ""), "mount")
	infos := w.v.Mounts()
	require.Len(t, infos, 3)
	for i := range infos {
		require.NotZero(t, infos[i].Dev)
		infos[i].Dev = 0
	}
	require.Equal(t, []vfs.MountInfo{
		{ID: 1, ParentID: 1, Root: "/", Target: "/", Source: "none", Type: "ramfs", MountOpts: "rw,relatime", SuperOpts: "rw", Opts: "rw,relatime"},
		{ID: 2, ParentID: 1, Root: "/", Target: "/a", Source: "src x", Type: "flaky", MountOpts: "ro,nosuid,nodev,noexec,noatime", SuperOpts: "ro,sync,own=1",
			Opts: "ro,sync,nosuid,nodev,noexec,noatime,own=1"},
		{ID: 3, ParentID: 1, Root: "/", Target: "/b c", Source: "none", Type: "ramfs", MountOpts: "rw,nosymfollow", SuperOpts: "rw", Opts: "rw,nosymfollow"},
	}, infos)
}

func TestMountFlags(t *testing.T) {
	w := newWorld(t, "/m", "/d")
	mount := func(flags uintptr) {
		t.Helper()
		w.ok(w.mount("/m", flags), "mount")
	}
	open := func(path string, flags int) error {
		f, err := w.v.OpenAt(w.ctx, cwd, path, vfs.OpenHow{Flags: flags, Mode: 0o755})
		if err == nil {
			_ = f.Close(w.ctx)
		}
		return err
	}
	access := func(path string, mode uint32) error {
		p, err := w.v.Walk(w.ctx, cwd, path, vfs.WalkFollow)
		if err != nil {
			return err
		}
		defer p.Put()
		return vfs.Access(w.ctx, w.v.Cred(), p, mode)
	}
	t.Run("nosymfollow", func(t *testing.T) {
		mount(unix.MS_NOSYMFOLLOW)
		w.ok(w.mkdir("/m/d"), "mkdir")
		w.ok(w.v.SymlinkAt(w.ctx, "d", cwd, "/m/l"), "symlink")
		w.fails(unix.ELOOP, w.stat("/m/l"), "stat")
		w.fails(unix.ELOOP, w.stat("/m/l/x"), "stat")
		_, err := w.v.Walk(w.ctx, cwd, "/m/l", 0)
		w.ok(err, "lstat")
		p, _ := w.v.Walk(w.ctx, cwd, "/m/l", 0)
		target, err := vfs.Readlink(w.ctx, p)
		w.ok(err, "readlink")
		require.Equal(t, "d", target)
		p.Put()
		p.Put()
		w.ok(w.umount("/m", 0), "umount")
	})
	t.Run("noexec", func(t *testing.T) {
		mount(unix.MS_NOEXEC)
		w.ok(open("/m/f", unix.O_CREAT), "create")
		w.fails(unix.EACCES, access("/m/f", unix.X_OK), "access X_OK of a file")
		w.ok(access("/m", unix.X_OK), "access X_OK of a directory")
		w.ok(w.umount("/m", 0), "umount")
	})
	t.Run("nodev", func(t *testing.T) {
		mount(unix.MS_NODEV)
		w.ok(w.v.MknodAt(w.ctx, cwd, "/m/n", unix.S_IFCHR|0o666, unix.Mkdev(1, 3)), "mknod")
		w.fails(unix.EACCES, open("/m/n", unix.O_RDONLY), "open")
		w.ok(w.umount("/m", 0), "umount")
	})
	t.Run("synchronous", func(t *testing.T) {
		for _, flags := range []uintptr{unix.MS_SYNCHRONOUS, unix.MS_DIRSYNC} {
			mount(flags)
			before := w.last.synced.Load()
			w.ok(open("/m/f", unix.O_CREAT), "create")
			require.Greater(t, w.last.synced.Load(), before, "flags %#x", flags)
			w.ok(w.umount("/m", 0), "umount")
		}
	})
	t.Run("statfs", func(t *testing.T) {
		mount(unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSYMFOLLOW)
		p, err := w.v.Walk(w.ctx, cwd, "/m", 0)
		w.ok(err, "walk")
		defer p.Put()
		st, err := vfs.Statfs(w.ctx, p)
		w.ok(err, "statfs")
		require.EqualValues(t, 0x20|unix.ST_RDONLY|unix.ST_NODEV|unix.ST_RELATIME|0x2000, st.Flags)
		require.EqualValues(t, unix.TMPFS_MAGIC, st.Type)
	})
}

func TestSync(t *testing.T) {
	w := newWorld(t, "/m")
	w.ok(w.mount("/m", 0), "mount")
	w.ok(w.ns.Sync(w.ctx), "sync")
	require.EqualValues(t, 1, w.last.synced.Load())
}

func TestCloseReportsLeaks(t *testing.T) {
	w := newWorld(t, "/m", "/d")
	w.leaks = true
	w.ok(w.mount("/m", 0), "mount")
	w.touch("/m/file")
	p, err := w.v.Walk(w.ctx, cwd, "/m/file", 0)
	w.ok(err, "walk")
	require.True(t, p.Valid())
	view := w.ns.NewView(vfs.RootCred())
	view.Release()
	w.v.SetCwd(w.v.Root())
	w.v.Release()
	err = w.ns.Close(w.ctx)
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, `"/file" 1`, "the leaked path is named")
	require.EqualValues(t, 1, w.last.closed.Load(), "closed all the same")
}

func TestNew(t *testing.T) {
	_, err := vfs.New(vfs.Config{})
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = vfs.New(vfs.Config{Root: ramfs.New(ramfs.Config{}), Types: []vfs.FileSystemType{ramfs.Type{}, ramfs.Type{}}})
	require.ErrorIs(t, err, unix.EINVAL)
}

func TestPrivateMount(t *testing.T) {
	ctx := t.Context()
	fs := newFlaky()
	root, closeMount := vfs.NewPrivateMount(fs, 0, vfs.PrivateConfig{MaxDentries: 1})
	cred := vfs.RootCred()
	dir, err := vfs.Mkdir(ctx, cred, root, "d", 0o755, vfs.CreateOptions{})
	require.NoError(t, err)
	f, err := vfs.Create(ctx, cred, dir, "f", 0o640, vfs.CreateOptions{
		Owner:     &vfs.Owner{UID: 5, GID: 6},
		Times:     &vfs.Times{Atime: unix.Timespec{Sec: 1}, Mtime: unix.Timespec{Sec: 2}},
		Xattrs:    map[string][]byte{"overlay.x": []byte("y")},
		ExactMode: true,
	})
	require.NoError(t, err)
	a, err := vfs.Getattr(ctx, f, unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.Equal(t, [2]uint32{5, 6}, [2]uint32{a.UID, a.GID})
	require.Equal(t, [2]int64{1, 2}, [2]int64{a.Atime.Sec, a.Mtime.Sec})
	x, err := f.Inode().Xattrs().Getxattr(ctx, "overlay.x")
	require.NoError(t, err)
	require.Equal(t, "y", string(x))
	_, err = vfs.Getxattr(ctx, cred, f, "overlay.x")
	require.ErrorIs(t, err, unix.EOPNOTSUPP, "hidden from system calls")
	names, err := vfs.Listxattr(ctx, cred, f)
	require.NoError(t, err)
	require.Empty(t, names)

	again, err := vfs.Lookup(ctx, cred, dir, "f")
	require.NoError(t, err)
	require.True(t, again.SameDentry(f))
	again.Put()
	for _, name := range []string{"", ".", "..", "a/b", "a\x00"} {
		_, err = vfs.Lookup(ctx, cred, dir, name)
		require.ErrorIs(t, err, unix.EINVAL, "lookup %q", name)
	}
	require.ErrorIs(t, closeMount(ctx, vfs.SafeClose), unix.EBUSY)
	f.Put()
	dir.Put()
	root.Put()
	require.NoError(t, closeMount(ctx, vfs.SafeClose))
	require.EqualValues(t, 1, fs.closed.Load())

	root, closeMount = vfs.NewPrivateMount(newFlaky(), unix.MS_RDONLY, vfs.PrivateConfig{})
	_, err = vfs.Mkdir(ctx, cred, root, "d", 0o755, vfs.CreateOptions{})
	require.ErrorIs(t, err, unix.EROFS)
	require.NoError(t, closeMount(ctx, vfs.ForceClose), "closes once the root is given back")
	root.Put()
}
