package hostfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// faults are errors of every kind that the driver tells apart.
var faults = []error{
	unix.EIO,
	unix.ENOENT, unix.ESTALE, // something else is there now
	unix.EEXIST, unix.EOPNOTSUPP, // mean something to some callers
	unix.EMFILE,                   // give descriptors back first
	unix.EINTR,                    // again
	unix.EINVAL,                   // impossible, but in some calls
	errors.New("no errno at all"), // impossible
}

// operation is what a program does, on files that are there already.
type operation struct {
	name  string
	does  func(w *world) error
	steps bool       // it is more than one call of a program, and can end between them
	again unix.Errno // what it fails with when it has been done already; 0: it can be done again
}

// faultLayout are the files of each operation.
func faultLayout(w *world) {
	require.NoError(w.t, os.MkdirAll(w.on("d/e"), 0o755))
	require.NoError(w.t, os.Mkdir(w.on("empty"), 0o755))
	for _, name := range []string{"f", "g", "d/f", "d/e/f"} {
		w.plant(name, name)
	}
	require.NoError(w.t, unix.Setxattr(w.on("g"), "user.y", []byte("y"), 0), "the directory for temporary files needs extended attributes")
}

// onFile opens a file, calls f, and closes.
func onFile(path string, flags int, f func(w *world, f *vfs.File) error) func(w *world) error {
	return func(w *world) error {
		file, err := w.open(path, flags)
		if err != nil {
			return err
		}
		return errors.Join(f(w, file), file.Close(w.ctx))
	}
}

func onPath(path string, f func(w *world, p vfs.Path) error) func(w *world) error {
	return func(w *world) error {
		return w.WithPath(w.ctx, cwd, path, 0, func(p vfs.Path) error { return f(w, p) })
	}
}

func sets(path string, sa vfs.SetAttr) func(w *world) error {
	return func(w *world) error { return w.setattr(path, sa) }
}

// wrong is the error of an operation that succeeded, but not in what it should do.
func wrong(got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("got %v, not %v", got, want)
}

var operations = []operation{
	{name: "mount", does: func(w *world) error {
		if err := w.View.Mount(w.ctx, "", "/sync", "hostfs", 0, "dir="+w.dir); err != nil {
			return err
		}
		return w.Umount2(w.ctx, "/sync", 0)
	}},
	{name: "stat", does: func(w *world) error {
		for range 2 { // the second time the directories are known
			a, err := w.lstat("/host/d/e/f")
			if err != nil {
				return err
			}
			if err := wrong(a.Size, int64(5)); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "read", does: func(w *world) error {
		got, err := w.get("/host/d/f")
		if err != nil {
			return err
		}
		return wrong(got, "d/f")
	}},
	{name: "readdir", does: func(w *world) error {
		names, err := w.list("/host/d")
		if err != nil {
			return err
		}
		return wrong(len(names), 4)
	}},
	{name: "statfs", does: onPath("/host/d", func(w *world, p vfs.Path) error {
		_, err := vfs.Statfs(w.ctx, p)
		return err
	})},
	{name: "write", does: onFile("/host/f", unix.O_WRONLY, func(w *world, f *vfs.File) error {
		n, err := f.WriteAt(w.ctx, []byte("written"), 1)
		return errors.Join(err, wrong(err != nil || n == 7, true))
	})},
	{name: "append", does: onFile("/host/f", unix.O_WRONLY|unix.O_APPEND, func(w *world, f *vfs.File) error {
		_, err := f.Write(w.ctx, []byte("appended"))
		return err
	})},
	{name: "open with O_TRUNC", does: onFile("/host/f", unix.O_WRONLY|unix.O_TRUNC, func(w *world, f *vfs.File) error { return nil })},
	{name: "truncate", does: sets("/host/d/f", vfs.SetAttr{Mask: unix.STATX_SIZE, Size: 1})},
	{name: "chmod", does: sets("/host/d", vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o700})},
	{name: "chown", does: sets("/host/d/f", vfs.SetAttr{Mask: unix.STATX_UID | unix.STATX_GID, UID: 12, GID: 13})},
	{name: "utimensat", does: sets("/host/d/f", vfs.SetAttr{Mask: unix.STATX_MTIME, Mtime: unix.Timespec{Sec: 77}})},
	{name: "fallocate", does: onFile("/host/f", unix.O_RDWR, func(w *world, f *vfs.File) error { return f.Fallocate(w.ctx, 0, 0, 9000) })},
	{name: "seek", does: onFile("/host/f", unix.O_RDONLY, func(w *world, f *vfs.File) error {
		at, err := f.Seek(w.ctx, 0, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		return wrong(at, int64(1))
	})},
	{name: "fsync", does: onFile("/host/f", unix.O_RDWR, func(w *world, f *vfs.File) error { return f.Fsync(w.ctx, false) })},
	{name: "fsync of a directory", does: onFile("/host/d", unix.O_DIRECTORY, func(w *world, f *vfs.File) error { return f.Fsync(w.ctx, false) })},
	{name: "sync", does: onFile("/host/f", unix.O_RDWR, func(w *world, f *vfs.File) error { return w.ns.Sync(w.ctx) })},
	{name: "setxattr", does: onPath("/host/f", func(w *world, p vfs.Path) error {
		return vfs.Setxattr(w.ctx, w.Cred(), p, "user.x", []byte("v"), 0)
	})},
	{name: "getxattr", does: onPath("/host/g", func(w *world, p vfs.Path) error {
		v, err := vfs.Getxattr(w.ctx, w.Cred(), p, "user.y")
		if err != nil {
			return err
		}
		return wrong(string(v), "y")
	})},
	{name: "listxattr", does: onPath("/host/g", func(w *world, p vfs.Path) error {
		names, err := vfs.Listxattr(w.ctx, w.Cred(), p)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return nil // listxattr(2) of a file system without them
		}
		return wrong(names, []string{"user.y"})
	})},
	{name: "removexattr", again: unix.ENODATA, does: onPath("/host/g", func(w *world, p vfs.Path) error {
		return vfs.Removexattr(w.ctx, w.Cred(), p, "user.y")
	})},
	{name: "create", does: func(w *world) error { return w.put("/host/d/new", "") }},
	{name: "create with O_EXCL", again: unix.EEXIST, does: onFile("/host/d/new", unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, func(*world, *vfs.File) error { return nil })},
	{name: "mkdir", again: unix.EEXIST, does: func(w *world) error { return w.MkdirAt(w.ctx, cwd, "/host/d/new", 0o777) }},
	{name: "mkdir with MS_DIRSYNC", steps: true, again: unix.EEXIST, does: func(w *world) error {
		if err := w.View.Mount(w.ctx, "", "/sync", "hostfs", unix.MS_DIRSYNC, "dir="+w.dir); err != nil {
			return err
		}
		return errors.Join(w.MkdirAt(w.ctx, cwd, "/sync/d/new", 0o755), w.Umount2(w.ctx, "/sync", 0))
	}},
	{name: "symlink and readlink", steps: true, again: unix.EEXIST, does: func(w *world) error {
		if err := w.SymlinkAt(w.ctx, "f", cwd, "/host/new"); err != nil {
			return err
		}
		_, err := w.get("/host/new")
		return err
	}},
	{name: "link", again: unix.EEXIST, does: func(w *world) error { return w.LinkAt(w.ctx, cwd, "/host/f", cwd, "/host/d/new", 0) }},
	{name: "unlink", again: unix.ENOENT, does: func(w *world) error { return w.UnlinkAt(w.ctx, cwd, "/host/d/f") }},
	{name: "unlink of an open file", steps: true, again: unix.ENOENT, does: onFile("/host/f", unix.O_RDWR, func(w *world, f *vfs.File) error {
		if err := w.UnlinkAt(w.ctx, cwd, "/host/f"); err != nil {
			return err
		}
		buf := make([]byte, 1)
		if _, err := f.ReadAt(w.ctx, buf, 0); err != nil {
			return err
		}
		return wrong(string(buf), "f")
	})},
	{name: "open of a file without name", steps: true, again: unix.ENOENT, does: onFile("/host/f", unix.O_PATH, func(w *world, f *vfs.File) error {
		if err := w.UnlinkAt(w.ctx, cwd, "/host/f"); err != nil {
			return err
		}
		again, err := vfs.OpenPath(w.ctx, w.Cred(), f.Path(), unix.O_RDONLY)
		if err != nil {
			return err
		}
		return again.Close(w.ctx)
	})},
	{name: "rmdir", again: unix.ENOENT, does: func(w *world) error { return w.RmdirAt(w.ctx, cwd, "/host/empty") }},
	{name: "rename", again: unix.ENOENT, does: func(w *world) error { return w.RenameAt(w.ctx, cwd, "/host/f", cwd, "/host/d/new", 0) }},
	{name: "rename over a file", again: unix.ENOENT, does: func(w *world) error { return w.RenameAt(w.ctx, cwd, "/host/f", cwd, "/host/d/f", 0) }},
	{name: "rename of a directory over another", again: unix.ENOENT, does: func(w *world) error {
		return w.RenameAt(w.ctx, cwd, "/host/d/e", cwd, "/host/empty", 0)
	}},
	{name: "exchange", does: func(w *world) error {
		return w.RenameAt(w.ctx, cwd, "/host/d", cwd, "/host/f", unix.RENAME_EXCHANGE)
	}},
}

// snapshot is what the host has below the directory: a line for each file.
func (w *world) snapshot() map[string]string {
	w.t.Helper()
	files := map[string]string{}
	require.NoError(w.t, filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d %d links", st.Mode, st.Uid, st.Gid, st.Nlink)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			buf := make([]byte, 100)
			n, _ := unix.Listxattr(path, buf)
			line += fmt.Sprintf(" %q %q %v", data, buf[:max(n, 0)], st.Mtim.Sec == 77)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " to " + target
		}
		files[path[len(w.dir):]] = line
		return nil
	}))
	return files
}

// faultWorld is a world with the files of the operations.
func faultWorld(t *testing.T, host hostfs.Host) (*world, *hookHost) {
	h := &hookHost{Host: host}
	w := newWorldIn(t, h, memoryDir(t))
	w.SetUmask(0o002)
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/sync", 0o755))
	faultLayout(w)
	return w, h
}

// TestFaults: each call on the host in each operation fails in every way. The operation then has been done or has not, and if it
// has not it says so. Nothing stays open, and what was asked for can be done afterwards.
func TestFaults(t *testing.T) {
	testenv.NeedRoot(t) // chown
	testenv.CheckLeaks(t)
	seen := map[string]bool{}
	for host, h := range map[string]hostfs.Host{"linux": hostfs.Linux(), "restricted": hostfs.RestrictedWithChmod()} {
		for _, op := range operations {
			t.Run(host+"/"+op.name, func(t *testing.T) { testFaults(t, h, op, seen) })
		}
	}
	all := reflect.TypeFor[hostfs.Host]()
	for i := range all.NumMethod() {
		if name := all.Method(i).Name; name != "Caps" {
			require.True(t, seen[name], "no operation makes the call %s", name)
		}
	}
}

func testFaults(t *testing.T, host hostfs.Host, op operation, seen map[string]bool) {
	var calls []string
	var before, after map[string]string
	var want error // of the operation if no call fails: the host may lack something
	t.Run("none", func(t *testing.T) {
		w, h := faultWorld(t, host)
		before = w.snapshot()
		h.call = func(name string) error { calls = append(calls, name); return nil }
		want = op.does(w)
		h.call = nil
		after = w.snapshot()
		if want != nil {
			require.Contains(t, []unix.Errno{unix.EPERM, unix.EOPNOTSUPP, unix.EINVAL, unix.ESTALE}, vfs.Errno(want))
		}
	})
	for _, name := range calls {
		seen[name] = true
	}
	for at := range calls {
		for _, fault := range faults {
			what := fmt.Sprintf("call %d, %s: %v", at, calls[at], fault)
			w, h := faultWorld(t, host)
			n, failed := 0, false
			h.call = func(string) error {
				if n++; n == at+1 {
					failed = true
					return fault
				}
				return nil
			}
			err := op.does(w)
			h.call = nil
			require.True(t, failed, what)
			now := w.snapshot()
			changed := !reflect.DeepEqual(before, now)
			if err == nil {
				require.NoError(t, want, what)
				require.Equal(t, after, now, "%s: it says that it has been done", what)
			} else {
				require.True(t, passable[vfs.Errno(err)], "%s: %v", what, err)
				// Where the host says that what has just been made has gone again, nothing is taken back.
				gone := fault == unix.ENOENT || fault == unix.ESTALE
				if changed && !gone {
					require.Equal(t, after, now, "%s: neither done nor not: %v", what, err)
					late := calls[at] == "Close" || calls[at] == "Fsync" || op.steps
					require.True(t, late, "%s: done, but it says %v", what, err)
				}
				if changed && gone {
					w.close()
					require.Zero(t, h.opened.Load(), "%s: descriptors", what)
					continue
				}
			}
			err = op.does(w)
			switch {
			case changed && op.again != 0:
				require.ErrorIs(t, err, op.again, what)
			case !changed:
				require.Equal(t, want == nil, err == nil, "%s: the second time: %v", what, err)
				require.Equal(t, after, w.snapshot(), "%s: the second time", what)
			}
			w.close()
			require.Zero(t, h.opened.Load(), "%s: descriptors", what)
		}
	}
}
