package hostfs_test

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/syscall"
	"cloister/vfs"
)

// TestSpecialFiles: special files of the host are seen, and never opened.
func TestSpecialFiles(t *testing.T) {
	testenv.NeedRoot(t) // mknod
	w := newWorld(t, nil)
	types := map[string]uint8{"dir": unix.DT_DIR, "file": unix.DT_REG, "link": unix.DT_LNK}
	require.NoError(t, os.Mkdir(w.on("dir"), 0o755))
	require.NoError(t, os.Symlink("x", w.on("link")))
	w.plant("file", "")
	for name, mode := range map[string]uint32{
		"fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK, "null": unix.S_IFCHR, "zero zero": unix.S_IFCHR, "disk": unix.S_IFBLK,
	} {
		dev := map[string]uint64{"null": unix.Mkdev(1, 3), "disk": unix.Mkdev(7, 0)}[name]
		require.NoError(t, unix.Mknod(w.on(name), mode|0o666, int(dev)))
		types[name] = uint8(mode >> 12)
	}
	got, err := w.list("/host")
	require.NoError(t, err)
	delete(got, ".")
	delete(got, "..")
	require.Equal(t, types, got)
	for name, typ := range types {
		a, err := w.lstat("/host/" + name)
		require.NoError(t, err, name)
		require.EqualValues(t, typ, a.Mode>>12, name)
	}
	for name, want := range map[string]unix.Errno{
		"fifo": unix.ENXIO, "socket": unix.ENXIO, "null": unix.EACCES, "zero zero": unix.EACCES, "disk": unix.EACCES,
	} {
		for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
			_, err := w.open("/host/"+name, flags)
			require.ErrorIs(t, err, want, "open %s", name)
		}
	}
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/fifo"))
	require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/socket", cwd, "/host/moved", 0))
	require.FileExists(t, w.on("moved"))
}

// TestMknod: no special files are made on the host.
func TestMknod(t *testing.T) {
	w := newWorld(t, nil)
	for _, mode := range []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK} {
		require.ErrorIs(t, w.MknodAt(w.ctx, cwd, "/host/x", mode|0o666, unix.Mkdev(1, 3)), unix.EPERM)
		require.NoFileExists(t, w.on("x"))
	}
	require.NoError(t, w.MknodAt(w.ctx, cwd, "/host/x", unix.S_IFREG|0o640, 0))
	require.FileExists(t, w.on("x"))
}

// TestReplaced: what the host puts under a name is found there, and is not taken for what was there.
func TestReplaced(t *testing.T) {
	replace := map[string]func(w *world){
		"by another file": func(w *world) {
			w.plant("new", "new")
			require.NoError(t, os.Rename(w.on("new"), w.on("f")))
		},
		"by a directory": func(w *world) {
			require.NoError(t, os.Remove(w.on("f")))
			require.NoError(t, os.Mkdir(w.on("f"), 0o755))
		},
		"by a link": func(w *world) {
			require.NoError(t, os.Remove(w.on("f")))
			require.NoError(t, os.Symlink("/nowhere", w.on("f")))
		},
		"by nothing": func(w *world) { require.NoError(t, os.Remove(w.on("f"))) },
	}
	want := map[string]uint32{"by another file": unix.S_IFREG, "by a directory": unix.S_IFDIR, "by a link": unix.S_IFLNK}
	for name, do := range replace {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.plant("f", "old")
			w.plant("keep", "keeps the inode number of f from coming back")
			require.NoError(t, os.Link(w.on("f"), w.on("kept")))
			path := w.file("/host/f", unix.O_PATH)
			open := w.file("/host/f", unix.O_RDONLY)
			mine, err := vfs.Getattr(w.ctx, open.Path(), unix.STATX_BASIC_STATS)
			require.NoError(t, err)
			open2 := w.file("/host/keep", unix.O_PATH)

			do(w)
			require.NoError(t, os.Rename(w.on("keep"), w.on("keep2")))
			_, err = vfs.Getattr(w.ctx, open2.Path(), unix.STATX_BASIC_STATS)
			require.ErrorIs(t, err, unix.ESTALE, "who has only the name")
			a, err := vfs.Getattr(w.ctx, path.Path(), unix.STATX_BASIC_STATS)
			require.NoError(t, err, "the open file stands for it")
			require.Equal(t, mine.Ino, a.Ino)
			buf := make([]byte, 8)
			n, err := open.ReadAt(w.ctx, buf, 0)
			require.NoError(t, err)
			require.Equal(t, "old", string(buf[:n]), "who has it open")

			now, err := w.lstat("/host/f")
			if want[name] == 0 {
				require.ErrorIs(t, err, unix.ENOENT)
				return
			}
			require.NoError(t, err)
			require.Equal(t, want[name], now.Mode&unix.S_IFMT)
			require.NotEqual(t, mine.Ino, now.Ino)
		})
	}
}

// TestChangesAreSeen: nothing that the host changes is hidden by a cache.
func TestChangesAreSeen(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.lstat("/host/f")
	require.ErrorIs(t, err, unix.ENOENT)
	w.plant("f", "one")
	got, err := w.get("/host/f")
	require.NoError(t, err, "a name that was not there before")
	require.Equal(t, "one", got)
	w.plant("f", "three")
	a, err := w.lstat("/host/f")
	require.NoError(t, err)
	require.EqualValues(t, 5, a.Size)
	require.NoError(t, os.Chmod(w.on("f"), 0o600))
	a, err = w.lstat("/host/f")
	require.NoError(t, err)
	require.EqualValues(t, 0o600, a.Mode&0o7777)

	require.NoError(t, os.MkdirAll(w.on("d/e"), 0o755))
	w.plant("d/e/f", "deep")
	_, err = w.get("/host/d/e/f")
	require.NoError(t, err)
	require.NoError(t, os.Rename(w.on("d"), w.on("moved")))
	_, err = w.get("/host/d/e/f")
	require.ErrorIs(t, err, unix.ENOENT)
	got, err = w.get("/host/moved/e/f")
	require.NoError(t, err)
	require.Equal(t, "deep", got)

	// And the other way.
	require.NoError(t, w.put("/host/moved/e/f", "changed inside"))
	require.Equal(t, "changed inside", w.planted("moved/e/f"))
}

// TestHardLinks: the names of one file are one inode, and outlive each other.
func TestHardLinks(t *testing.T) {
	w := newWorld(t, nil)
	w.plant("a", "data")
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	require.NoError(t, os.Link(w.on("a"), w.on("d/b")))
	a, err := w.lstat("/host/a")
	require.NoError(t, err)
	b, err := w.lstat("/host/d/b")
	require.NoError(t, err)
	require.Equal(t, a.Ino, b.Ino)
	require.EqualValues(t, 2, b.Nlink)
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/d/b"))
	b, err = w.lstat("/host/a")
	require.NoError(t, err)
	require.EqualValues(t, 1, b.Nlink)

	f := w.file("/host/a", unix.O_RDWR)
	require.NoError(t, w.LinkAt(w.ctx, cwd, "/host/a", cwd, "/host/c", 0))
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/a"))
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/c"))
	st, err := vfs.Getattr(w.ctx, f.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.Zero(t, st.Nlink)
	_, err = f.WriteAt(w.ctx, []byte("still there"), 0)
	require.NoError(t, err)
	again, err := vfs.OpenPath(w.ctx, vfs.RootCred(), f.Path(), unix.O_RDONLY)
	require.NoError(t, err, "opening a file without a name again")
	defer again.Close(w.ctx)
	buf := make([]byte, 32)
	n, err := again.ReadAt(w.ctx, buf, 0)
	require.NoError(t, err)
	require.Equal(t, "still there", string(buf[:n]))
}

// TestHardLinksByPath: who holds only the path of a file keeps it when the name under which it was last seen goes, by
// unlink or under another file, as long as one of those that it was seen under before is left.
func TestHardLinksByPath(t *testing.T) {
	for name, remove := range map[string]func(w *world) error{
		"unlink": func(w *world) error { return w.UnlinkAt(w.ctx, cwd, "/host/a") },
		"rename": func(w *world) error { return w.RenameAt(w.ctx, cwd, "/host/other", cwd, "/host/a", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.plant("a", "data")
			w.plant("other", "other")
			require.NoError(t, os.Mkdir(w.on("d"), 0o755))
			require.NoError(t, os.Link(w.on("a"), w.on("d/b")))
			path := w.file("/host/d/b", unix.O_PATH)
			open, err := w.OpenAt(w.ctx, cwd, "/host/a", vfs.OpenHow{Flags: unix.O_RDONLY})
			require.NoError(t, err)
			require.NoError(t, remove(w))
			require.NoError(t, open.Close(w.ctx))
			st, err := vfs.Getattr(w.ctx, path.Path(), unix.STATX_BASIC_STATS)
			require.NoError(t, err)
			require.EqualValues(t, 1, st.Nlink)
			require.NoError(t, os.Remove(w.on("d/b")))
			_, err = vfs.Getattr(w.ctx, path.Path(), unix.STATX_BASIC_STATS)
			require.ErrorIs(t, err, unix.ESTALE, "the host has removed it")
		})
	}
}

// TestInodeNumbers: numbers are ours, and the same for the life of the mount.
func TestInodeNumbers(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	w.plant("f", "")
	var host unix.Stat_t
	require.NoError(t, unix.Stat(w.on("f"), &host))
	fs := mount(t, hostfs.NewType(hostfs.Config{Host: h}), w.dir)
	defer fs.Close(w.ctx, vfs.ForceClose)
	var first uint64
	for range 3 {
		i, err := fs.Root().Lookup(w.ctx, "f")
		require.NoError(t, err)
		a, err := i.Getattr(w.ctx, 0)
		require.NoError(t, err)
		require.NoError(t, vfs.UnpinInode(w.ctx, i))
		require.NotEqual(t, host.Ino, a.Ino)
		if first == 0 {
			first = a.Ino
		}
		require.Equal(t, first, a.Ino, "after the inode was dropped")
	}
	d, err := fs.Root().OpenDir(w.ctx)
	require.NoError(t, err)
	defer d.Release(w.ctx)
	require.NoError(t, d.ReadDir(w.ctx, 0, func(e vfs.Dirent) bool {
		require.Equal(t, first, e.Ino, "d_ino")
		return true
	}))
}

// TestDevice: each mount has a device number of its own, which is not the host's.
func TestDevice(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/again", 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "", "/again", "hostfs", 0, "dir="+w.dir))
	task := syscall.NewTask(w.ns, vfs.RootCred())
	defer task.Exit()
	dev := func(path string) uint64 {
		var st unix.Stat_t
		require.NoError(t, task.Lstat(path, &st))
		return st.Dev
	}
	var host unix.Stat_t
	require.NoError(t, unix.Lstat(w.dir, &host))
	require.NotEqual(t, host.Dev, dev("/host"))
	require.NotEqual(t, dev("/again"), dev("/host"))
	require.NotEqual(t, dev("/"), dev("/host"))
	require.Equal(t, dev("/host/d"), dev("/host"))
}

// TestSameIdentity: directories that the host calls the same stay two.
func TestSameIdentity(t *testing.T) {
	h := newHook()
	w := newWorld(t, h)
	require.NoError(t, os.MkdirAll(w.on("a/x"), 0o755))
	require.NoError(t, os.MkdirAll(w.on("b/y"), 0o755))
	h.stat = func(_ hostfs.FD, _ string, st *unix.Statx_t) error {
		st.Ino, st.Dev_major, st.Dev_minor = 1, 0, 0
		return nil
	}
	fs := mount(t, hostfs.NewType(hostfs.Config{Host: h}), w.dir)
	defer fs.Close(w.ctx, vfs.ForceClose)
	seen := map[uint64]string{}
	for _, name := range []string{"a", "b"} {
		i, err := fs.Root().Lookup(w.ctx, name)
		require.NoError(t, err)
		defer vfs.UnpinInode(w.ctx, i)
		at, err := i.Getattr(w.ctx, 0)
		require.NoError(t, err)
		require.Empty(t, seen[at.Ino], "inode number of %s", name)
		seen[at.Ino] = name
		for sub, want := range map[string]bool{"x": name == "a", "y": name == "b"} {
			j, err := i.(vfs.Dir).Lookup(w.ctx, sub)
			require.Equal(t, want, err == nil, "%s in %s", sub, name)
			if err == nil {
				defer vfs.UnpinInode(w.ctx, j)
			}
		}
	}
}

// TestReplaceIsAtomic: who opens a name that is being replaced all the time always finds a file.
func TestReplaceIsAtomic(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.put("/host/f", "0123456789"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			err := w.put("/host/new", "0123456789")
			if err == nil {
				err = w.RenameAt(w.ctx, cwd, "/host/new", cwd, "/host/f", 0)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 3000 {
		got, err := w.get("/host/f")
		require.NoError(t, err)
		require.Equal(t, "0123456789", got)
		_, err = w.lstat("/host/f")
		require.NoError(t, err)
	}
	close(stop)
	wg.Wait()
}
