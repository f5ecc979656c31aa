package hostfs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

// TestRestrictedConformance: the suite makes files of many modes, so it gets chmod(2) besides; TestRestrictedLacks
// has the host as it is.
func TestRestrictedConformance(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.CheckLeaks(t)
	host := hostfs.RestrictedWithChmod()
	typ := hostfs.NewType(hostfs.Config{Host: host})
	vfstest.Run(t, vfstest.Driver{
		New: func(t *testing.T) vfs.FileSystem { return mount(t, typ, hostDir(t)) },
		Lacks: vfstest.Symlinks | vfstest.Devices | vfstest.FIFOs | vfstest.Owners | vfstest.Times | vfstest.Xattrs |
			vfstest.Tmpfile | vfstest.Exchange | vfstest.Whiteouts | vfstest.Allocate | vfstest.PunchHole | vfstest.ZeroRange |
			vfstest.ShiftRange | vfstest.Sparse,
	})
}

// TestRestrictedCalls: the back end makes no other calls than those that EGo has for files of the host.
func TestRestrictedCalls(t *testing.T) {
	const calls = " Open Close Stat Fstat Pread Pwrite Write Seek Ftruncate Fsync Getdents Mkdir Rmdir Link Unlink Rename FcntlInt Getcwd "
	const others = " Stat_t Statx_t StatxTimestamp Statfs_t Timespec PathMax Errno Major Minor " // types, and what asks nobody
	for _, name := range []string{"restricted.go", "restricted_data.go", "restricted_names.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, imported := range file.Imports {
			require.NotEqual(t, `"os"`, imported.Path.Value, name)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if ok && x.Name == "unix" && strings.ToUpper(sel.Sel.Name) != sel.Sel.Name { // else a constant
				require.Contains(t, calls+others, " "+sel.Sel.Name+" ", name)
			}
			return true
		})
	}
}

// TestRestrictedLacks: what the host has no call for fails as on a file system without it.
func TestRestrictedLacks(t *testing.T) {
	w := newWorld(t, hostfs.NewRestricted())
	require.NoError(t, w.put("/host/f", "data"))
	require.NoError(t, w.put("/host/g", ""))
	f := w.file("/host/f", unix.O_RDWR)
	set := func(sa vfs.SetAttr) error { return w.setattr("/host/f", sa) }
	xattr := func(do func(p vfs.Path) error) error { return do(f.Path()) }
	for _, c := range []struct {
		name string
		err  error
		want unix.Errno
	}{
		{"chmod", set(vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o600}), unix.EPERM},
		{"chown", set(vfs.SetAttr{Mask: unix.STATX_UID, UID: 1}), unix.EPERM},
		{"utimensat", set(vfs.SetAttr{Mask: unix.STATX_MTIME, Mtime: unix.Timespec{Sec: 1}}), unix.EPERM},
		{"symlink", w.SymlinkAt(w.ctx, "f", cwd, "/host/l"), unix.EPERM},
		{"mknod", w.MknodAt(w.ctx, cwd, "/host/p", unix.S_IFIFO|0o600, 0), unix.EPERM},
		{"fallocate", f.Fallocate(w.ctx, 0, 0, 10), unix.EOPNOTSUPP},
		{"punch hole", f.Fallocate(w.ctx, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 10), unix.EOPNOTSUPP},
		{"getxattr", xattr(func(p vfs.Path) error { _, err := vfs.Getxattr(w.ctx, w.Cred(), p, "user.x"); return err }), unix.EOPNOTSUPP},
		{"setxattr", xattr(func(p vfs.Path) error { return vfs.Setxattr(w.ctx, w.Cred(), p, "user.x", nil, 0) }), unix.EOPNOTSUPP},
		{"removexattr", xattr(func(p vfs.Path) error { return vfs.Removexattr(w.ctx, w.Cred(), p, "user.x") }), unix.EOPNOTSUPP},
		{"exchange", w.RenameAt(w.ctx, cwd, "/host/f", cwd, "/host/g", unix.RENAME_EXCHANGE), unix.EINVAL},
		{"noreplace", w.RenameAt(w.ctx, cwd, "/host/f", cwd, "/host/g", unix.RENAME_NOREPLACE), unix.EEXIST},
	} {
		require.ErrorIs(t, c.err, c.want, c.name)
		require.Equal(t, c.want, vfs.Errno(c.err), c.name)
	}
	require.Equal(t, "data", w.planted("f"))
	st, err := vfs.Statfs(w.ctx, f.Path())
	require.NoError(t, err)
	require.Zero(t, st.Blocks, "a file system of unknown size")
	a, err := w.lstat("/host/f")
	require.NoError(t, err)
	require.Zero(t, a.UID)
	at, err := f.Seek(w.ctx, 0, unix.SEEK_HOLE)
	require.NoError(t, err)
	require.EqualValues(t, 4, at, "all is data")
	require.NoError(t, w.LinkAt(w.ctx, cwd, "/host/f", cwd, "/host/h", 0), "links are there")
	require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/h", cwd, "/host/i", unix.RENAME_NOREPLACE))
}

// TestRestrictedLinks: the host follows links, so they look like what they lead to, wherever that is.
func TestRestrictedLinks(t *testing.T) {
	w := newWorld(t, hostfs.NewRestricted())
	outside := hostDir(t)
	require.NoError(t, os.WriteFile(outside+"/f", []byte("outside"), 0o644))
	require.NoError(t, os.Symlink(outside, w.on("dir")))
	require.NoError(t, os.Symlink(outside+"/f", w.on("file")))
	require.NoError(t, os.Symlink("/nowhere", w.on("dangling")))
	for name, want := range map[string]uint32{"dir": unix.S_IFDIR, "file": unix.S_IFREG} {
		a, err := w.lstat("/host/" + name)
		require.NoError(t, err)
		require.Equal(t, want, a.Mode&unix.S_IFMT, name)
	}
	for _, path := range []string{"/host/file", "/host/dir/f"} {
		got, err := w.get(path)
		require.NoError(t, err)
		require.Equal(t, "outside", got)
	}
	_, err := w.lstat("/host/dangling")
	require.ErrorIs(t, err, unix.ENOENT)
	names, err := w.list("/host")
	require.NoError(t, err)
	for _, name := range []string{"dir", "file", "dangling"} {
		require.EqualValues(t, unix.DT_UNKNOWN, names[name], name)
	}
	require.ErrorIs(t, w.RmdirAt(w.ctx, cwd, "/host/dir"), unix.ENOTDIR, "the host has a link there")
	require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/file", cwd, "/host/moved", 0), "links themselves are moved")
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/moved"), "and removed")
	require.FileExists(t, outside+"/f")
	require.NoError(t, w.LinkAt(w.ctx, cwd, "/host/dir/f", cwd, "/host/dir/g", 0))
}

// in returns a view of w whose working directory is path.
func (w *world) in(path string) *vfs.View {
	w.t.Helper()
	v := w.Clone()
	w.t.Cleanup(v.Release)
	p, err := v.Walk(w.ctx, cwd, path, vfs.WalkDirectory)
	require.NoError(w.t, err, "chdir %s", path)
	defer p.Put()
	v.SetCwd(p)
	return v
}

// TestRestrictedRename: who uses what is below a directory goes on when it is moved, also if another takes its place.
func TestRestrictedRename(t *testing.T) {
	testenv.CheckLeaks(t)
	w := newWorld(t, hostfs.NewRestricted())
	require.NoError(t, os.MkdirAll(w.on("a/b/c"), 0o755))
	require.NoError(t, os.Mkdir(w.on("x"), 0o755))
	w.plant("a/b/c/f", "data")
	w.plant("a/b/c/p", "path")
	require.NoError(t, unix.Mkfifo(w.on("a/b/c/fifo"), 0o644))
	v := w.in("/host/a/b/c")
	list := w.file("/host/a/b/c", unix.O_RDONLY|unix.O_DIRECTORY)
	open := w.file("/host/a/b/c/f", unix.O_RDWR)
	path := w.file("/host/a/b/c/p", unix.O_PATH)
	fifo := w.file("/host/a/b/c/fifo", unix.O_PATH)

	for n, move := range [][2]string{{"a", "z"}, {"z/b", "x/y"}, {"x", "w"}, {"w/y", "b"}} {
		require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/"+move[0], cwd, "/host/"+move[1], 0), "%v", move)
		// Decoys on the old way.
		require.NoError(t, os.MkdirAll(w.on(move[0]+"/b/c"), 0o755))
		require.NoError(t, os.MkdirAll(w.on(move[0]+"/y/c"), 0o755))
		now := map[int]string{0: "z/b/c", 1: "x/y/c", 2: "w/y/c", 3: "b/c"}[n]

		made := fmt.Sprint("made", n)
		f, err := v.OpenAt(w.ctx, cwd, made, vfs.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, Mode: 0o644})
		require.NoError(t, err, "create in the working directory")
		require.NoError(t, f.Close(w.ctx))
		require.FileExists(t, w.on(now+"/"+made))
		require.NoError(t, v.MkdirAt(w.ctx, cwd, "d", 0o755))
		require.DirExists(t, w.on(now+"/d"))
		require.NoError(t, v.RenameAt(w.ctx, cwd, "d", cwd, "e", 0))
		require.NoError(t, v.RmdirAt(w.ctx, cwd, "e"))
		require.NoError(t, v.LinkAt(w.ctx, cwd, made, cwd, "link", 0))
		require.NoError(t, v.UnlinkAt(w.ctx, cwd, "link"))

		for _, h := range []*vfs.File{open, path, fifo, list} {
			_, err := vfs.Getattr(w.ctx, h.Path(), unix.STATX_BASIC_STATS)
			require.NoError(t, err, "fstat after %v", move)
		}
		again, err := vfs.OpenPath(w.ctx, w.Cred(), path.Path(), unix.O_RDONLY)
		require.NoError(t, err, "open by O_PATH")
		require.NoError(t, again.Close(w.ctx))
		found := 0
		_, err = list.Seek(w.ctx, 0, unix.SEEK_SET)
		require.NoError(t, err)
		require.NoError(t, list.ReadDir(w.ctx, func(vfs.Dirent) bool { found++; return true }))
		require.Equal(t, 2+3+n+1, found, "entries of the open directory")
		got, err := w.get("/host/" + now + "/f")
		require.NoError(t, err)
		require.Equal(t, "data", got)
	}
	_, err := open.WriteAt(w.ctx, []byte("DATA"), 0)
	require.NoError(t, err)
	require.Equal(t, "DATA", w.planted("b/c/f"))
}

// TestRestrictedRemoved: what is open when it loses its name stays usable, and is not taken for what gets the name.
func TestRestrictedRemoved(t *testing.T) {
	testenv.CheckLeaks(t)
	w := newWorld(t, hostfs.NewRestricted())
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	w.plant("f", "old")
	w.plant("g", "replaced")
	w.plant("p", "path")
	require.NoError(t, unix.Mkfifo(w.on("fifo"), 0o644))
	v := w.in("/host/d")
	list := w.file("/host/d", unix.O_RDONLY|unix.O_DIRECTORY)
	f, g := w.file("/host/f", unix.O_RDWR), w.file("/host/g", unix.O_RDWR)
	p, fifo := w.file("/host/p", unix.O_PATH), w.file("/host/fifo", unix.O_PATH)
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/f"))
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/p"))
	require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/fifo"))
	require.NoError(t, w.RmdirAt(w.ctx, cwd, "/host/d"))
	require.NoError(t, w.put("/host/new", "new"))
	require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/new", cwd, "/host/g", 0))
	for _, name := range []string{"f", "p", "fifo"} {
		w.plant(name, "decoy")
	}
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	w.plant("d/decoy", "")

	for name, c := range map[string]struct {
		f    *vfs.File
		want string
	}{"removed": {f, "old"}, "replaced": {g, "replaced"}} {
		buf := make([]byte, 20)
		n, err := c.f.ReadAt(w.ctx, buf, 0)
		require.NoError(t, err, name)
		require.Equal(t, c.want, string(buf[:n]), name)
		a, err := vfs.Getattr(w.ctx, c.f.Path(), unix.STATX_BASIC_STATS)
		require.NoError(t, err, name)
		require.Zero(t, a.Nlink, name)
		require.NoError(t, c.f.Truncate(w.ctx, 1), name)
	}
	a, err := vfs.Getattr(w.ctx, p.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err, "what had only a path")
	require.EqualValues(t, 4, a.Size)
	_, err = vfs.OpenPath(w.ctx, w.Cred(), p.Path(), unix.O_RDONLY)
	require.ErrorIs(t, err, unix.ESTALE, "nothing opens a file without a name")
	_, err = vfs.Getattr(w.ctx, fifo.Path(), unix.STATX_BASIC_STATS)
	require.ErrorIs(t, err, unix.ESTALE, "a FIFO had nothing but its name")
	_, err = vfs.Getattr(w.ctx, v.Cwd(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.ErrorIs(t, v.MkdirAt(w.ctx, cwd, "x", 0o755), unix.ENOENT)
	require.NoFileExists(t, w.on("d/x"))
	list.ReadDir(w.ctx, func(e vfs.Dirent) bool {
		require.NotEqual(t, "decoy", e.Name)
		return true
	})
}

// TestRestrictedMovedByOthers: a directory that somebody else has put elsewhere is not looked for, and nothing is
// changed in what has taken its place.
func TestRestrictedMovedByOthers(t *testing.T) {
	for name, replace := range map[string]func(w *world) error{
		"nothing":           func(*world) error { return nil },
		"another directory": func(w *world) error { return os.Mkdir(w.on("d"), 0o755) },
		"a link":            func(w *world) error { return os.Symlink("other", w.on("d")) },
		"a file":            func(w *world) error { return os.WriteFile(w.on("d"), nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, hostfs.NewRestricted())
			require.NoError(t, os.Mkdir(w.on("d"), 0o755))
			require.NoError(t, os.Mkdir(w.on("other"), 0o755))
			v := w.in("/host/d")
			require.NoError(t, v.MkdirAt(w.ctx, cwd, "sub", 0o755))
			w.plant("d/f", "")
			_, err := w.lstat("/host/d/f")
			require.NoError(t, err)
			require.NoError(t, os.Rename(w.on("d"), w.on("away")))
			require.NoError(t, replace(w))
			for what, err := range map[string]error{
				"mkdir":  v.MkdirAt(w.ctx, cwd, "x", 0o755),
				"create": v.MknodAt(w.ctx, cwd, "x", unix.S_IFREG|0o644, 0),
				"unlink": v.UnlinkAt(w.ctx, cwd, "f"),
				"rename": v.RenameAt(w.ctx, cwd, "sub", cwd, "x", 0),
				"link":   v.LinkAt(w.ctx, cwd, "f", cwd, "x", 0),
				"rmdir":  v.RmdirAt(w.ctx, cwd, "sub"),
			} {
				require.Error(t, err, what)
				require.Contains(t, []unix.Errno{unix.ESTALE, unix.ENOENT, unix.ENOTDIR}, vfs.Errno(err), what)
			}
			for _, dir := range []string{"d", "other", "away"} {
				require.NoFileExists(t, w.on(dir+"/x"))
				require.NoDirExists(t, w.on(dir+"/x"))
			}
			require.DirExists(t, w.on("away/sub"))
			require.FileExists(t, w.on("away/f"))
		})
	}
}

// TestRestrictedRelative: a relative directory is the one that it was when it was mounted.
func TestRestrictedRelative(t *testing.T) {
	dir := hostDir(t)
	require.NoError(t, os.Mkdir(dir+"/d", 0o755))
	t.Chdir(dir)
	fs := mount(t, hostfs.NewType(hostfs.Config{Host: hostfs.NewRestricted()}), "./d")
	defer fs.Close(t.Context(), vfs.ForceClose)
	t.Chdir("/")
	d, err := fs.Root().Mkdir(t.Context(), "made", vfs.CreateAttr{Mode: 0o755})
	require.NoError(t, err)
	require.NoError(t, vfs.UnpinInode(t.Context(), d))
	require.DirExists(t, dir+"/d/made")
}
