package hostfs_test

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/vfs"
)

// setattr changes attributes of a file inside.
func (w *world) setattr(path string, sa vfs.SetAttr) error {
	return w.WithPath(w.ctx, cwd, path, vfs.WalkFollow, func(p vfs.Path) error {
		return vfs.Setattr(w.ctx, w.Cred(), p, vfs.SetAttrRequest{SetAttr: sa})
	})
}

// TestLookedUpAgain: a call that meets another file than the one that its name stood for a moment ago looks the name
// up once more, and acts on the file that is there now. If that has gone, too, the call fails.
func TestLookedUpAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(w *world) error
		done func(w *world, st *unix.Stat_t) bool // on the host, to the file that f stands for
	}{
		{"open", func(w *world) error {
			_, err := w.get("/host/f")
			return err
		}, func(*world, *unix.Stat_t) bool { return true }},
		{"open with O_CREAT", func(w *world) error { return w.put("/host/f", "more") },
			func(w *world, st *unix.Stat_t) bool { return st.Size == 4 }},
		{"link", func(w *world) error { return w.LinkAt(w.ctx, cwd, "/host/f", cwd, "/host/link", 0) },
			func(w *world, st *unix.Stat_t) bool { return st.Nlink == 2 }},
		{"chmod", func(w *world) error {
			return w.setattr("/host/f", vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o600})
		}, func(w *world, st *unix.Stat_t) bool { return st.Mode&0o777 == 0o600 }},
		{"truncate", func(w *world) error { return w.setattr("/host/f", vfs.SetAttr{Mask: unix.STATX_SIZE, Size: 7}) },
			func(w *world, st *unix.Stat_t) bool { return st.Size == 7 }},
	} {
		for _, times := range []int{1, 100} {
			t.Run(fmt.Sprint(c.name, times), func(t *testing.T) {
				h := newHook()
				w := newWorld(t, h)
				w.plant("f", "old")
				replaced := 0
				h.stat = func(_ hostfs.FD, name string, _ *unix.Statx_t) error {
					if name == "f" && replaced < times {
						replaced++
						w.plant("other", "new")
						// The old one stays, so that its number is not used again.
						require.NoError(t, os.Rename(w.on("f"), w.on(fmt.Sprint("old", replaced))))
						require.NoError(t, os.Rename(w.on("other"), w.on("f")))
					}
					return nil
				}
				err := c.call(w)
				if times > 1 {
					require.ErrorIs(t, err, unix.ESTALE)
					require.Less(t, replaced, 10)
					return
				}
				require.NoError(t, err)
				require.Equal(t, 1, replaced)
				var st unix.Stat_t
				require.NoError(t, unix.Lstat(w.on("f"), &st))
				require.True(t, c.done(w, &st), "%+v", st)
			})
		}
	}
}

// TestWayReplaced: a path leads to what is there now, also if the directories on the way are others now and the
// last one has been moved to the new ones.
func TestWayReplaced(t *testing.T) {
	for name, h := range map[string]hostfs.Host{"openat2": hostfs.Linux(), "openat": hostfs.LinuxWithoutOpenat2()} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, h)
			require.NoError(t, os.MkdirAll(w.on("a/b/c"), 0o755))
			w.plant("a/b/c/f", "data")
			w.plant("a/b/old", "")
			read := func() {
				t.Helper()
				got, err := w.get("/host/a/b/c/f")
				require.NoError(t, err)
				require.Equal(t, "data", got)
			}
			read()
			_, err := w.lstat("/host/a/b/old")
			require.NoError(t, err)
			for range 2 {
				require.NoError(t, os.Rename(w.on("a"), w.on("away")))
				require.NoError(t, os.MkdirAll(w.on("a/b"), 0o755))
				require.NoError(t, os.Rename(w.on("away/b/c"), w.on("a/b/c")))
				require.NoError(t, os.RemoveAll(w.on("away")))
				read()
				a, err := w.lstat("/host/a/b/c/f")
				require.NoError(t, err)
				require.EqualValues(t, 4, a.Size)
				_, err = w.lstat("/host/a/b/old")
				require.ErrorIs(t, err, unix.ENOENT)
				_, err = w.lstat("/host/a/b/c/../old")
				require.ErrorIs(t, err, unix.ENOENT)
				require.NoError(t, w.put("/host/a/b/c/new", "x"))
				require.Equal(t, "x", w.planted("a/b/c/new"))
				require.NoError(t, w.put("/host/a/b/c/../beside", "y"))
				require.Equal(t, "y", w.planted("a/b/beside"))
				require.NoError(t, w.UnlinkAt(w.ctx, cwd, "/host/a/b/c/new"))
				require.NoFileExists(t, w.on("a/b/c/new"))
				require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/a/b/c/f", cwd, "/host/a/b/f", 0))
				require.NoError(t, w.RenameAt(w.ctx, cwd, "/host/a/b/f", cwd, "/host/a/b/c/f", 0))
				read()
			}
		})
	}
}

// TestWayOfLinks: a link that the host puts in place of a directory on the way is not followed, whatever it leads to.
func TestWayOfLinks(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.MkdirAll(w.on("a/b/c"), 0o755))
	w.plant("a/b/c/f", "data")
	_, err := w.get("/host/a/b/c/f")
	require.NoError(t, err)
	require.NoError(t, os.Rename(w.on("a/b"), w.on("moved")))
	require.NoError(t, os.Symlink(w.on("moved"), w.on("a/b"))) // leads to the same file, but only on the host
	_, err = w.get("/host/a/b/c/f")
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, os.Remove(w.on("a/b")))
	require.NoError(t, os.Symlink("/host/moved", w.on("a/b"))) // and this one leads there inside
	got, err := w.get("/host/a/b/c/f")
	require.NoError(t, err)
	require.Equal(t, "data", got)
}

// TestCallsOfAStat: one call for the directories, one for the file, none of them opening anything that stays.
func TestCallsOfAStat(t *testing.T) {
	for _, c := range []struct {
		name string
		host hostfs.Host
		cred *vfs.Cred
		want int
	}{
		{"at once", hostfs.Linux(), vfs.RootCred(), 2},
		{"host cannot", hostfs.LinuxWithoutOpenat2(), vfs.RootCred(), 9},
		{"permissions to check", hostfs.Linux(), &vfs.Cred{EUID: 1000}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHook()
			h.Host = c.host
			w := newWorld(t, h)
			require.NoError(t, os.MkdirAll(w.on("1/2/3/4/5/6/7/8"), 0o755))
			w.plant("1/2/3/4/5/6/7/8/f", "")
			w.SetCred(c.cred)
			stat := func() {
				_, _, err := w.GetattrAt(w.ctx, cwd, "/host/1/2/3/4/5/6/7/8/f", 0, unix.STATX_BASIC_STATS)
				require.NoError(t, err)
			}
			stat()
			calls, least := 0, math.MaxInt
			h.stat = func(hostfs.FD, string, *unix.Statx_t) error { calls++; return nil }
			h.beneath = func(string, *unix.Statx_t) error { calls++; return nil }
			opened := h.opened.Load()
			for range 3 { // modes are asked for once in a second
				calls = 0
				stat()
				least = min(least, calls)
			}
			require.Equal(t, c.want, least)
			require.Equal(t, opened, h.opened.Load())
		})
	}
}

// TestSearchPermission: what a user may search is known for the rest of a second, but not longer, and not
// after a chmod(2) from inside.
func TestSearchPermission(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.MkdirAll(w.on("1/2/3/4"), 0o755))
	w.plant("1/2/3/4/f", "")
	root, user := vfs.RootCred(), &vfs.Cred{EUID: 1000}
	stat := func() error {
		w.SetCred(user)
		_, _, err := w.GetattrAt(w.ctx, cwd, "/host/1/2/3/4/f", 0, unix.STATX_BASIC_STATS)
		return err
	}
	chmod := func(mode uint32) {
		w.SetCred(root)
		require.NoError(t, w.WithPath(w.ctx, cwd, "/host/1/2", 0, func(p vfs.Path) error {
			return vfs.Setattr(w.ctx, root, p, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: mode}})
		}))
	}
	for range 20 {
		for range 3 {
			require.NoError(t, stat())
		}
		chmod(0o700)
		require.Equal(t, unix.EACCES, stat())
		chmod(0o755)
	}
	require.NoError(t, stat())
	require.NoError(t, os.Chmod(w.on("1/2"), 0o700))
	require.Eventually(t, func() bool { return stat() == unix.EACCES }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, os.Chmod(w.on("1/2"), 0o755))
	require.NoError(t, stat(), "what is refused is asked for again")
}
