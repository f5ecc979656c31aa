package hostfs_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// TestDotDot: ".." is the inside's parent and never goes to the host.
func TestDotDot(t *testing.T) {
	h := newHook()
	var sent []string
	h.name = func(name string) { sent = append(sent, name) }
	w := newWorld(t, h)
	require.NoError(t, os.Mkdir(w.on("d"), 0o755))
	require.NoError(t, w.put("/inside", "inside"))
	for _, path := range []string{"/host/../inside", "/host/d/../../inside", "/host/../host/./../inside"} {
		got, err := w.get(path)
		require.NoError(t, err, path)
		require.Equal(t, "inside", got, path)
	}
	_, err := w.get("/host/../../../../.." + w.dir + "/x")
	require.ErrorIs(t, err, unix.ENOENT)
	require.NotContains(t, sent, "..")
	require.Contains(t, sent, "d", "the hook sees names")
}

// TestNames: what is no name of a file is refused before the host sees it.
func TestNames(t *testing.T) {
	h := newHook()
	var sent []string
	fs := mount(t, hostfs.NewType(hostfs.Config{Host: h}), hostDir(t))
	defer fs.Close(t.Context(), vfs.ForceClose)
	h.name = func(name string) { sent = append(sent, name) }
	root := fs.Root()
	dir, err := root.Mkdir(t.Context(), "good \xff\x01", vfs.CreateAttr{Mode: 0o755})
	require.NoError(t, err, "names are bytes")
	defer vfs.UnpinInode(t.Context(), dir)
	require.NotEmpty(t, sent)
	sent = nil
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00b", strings.Repeat("n", 256)} {
		_, err := root.Lookup(t.Context(), name)
		require.ErrorIs(t, err, unix.EINVAL, "lookup %q", name)
		_, err = root.Create(t.Context(), name, vfs.CreateAttr{})
		require.ErrorIs(t, err, unix.EINVAL, "create %q", name)
		_, err = root.Mkdir(t.Context(), name, vfs.CreateAttr{})
		require.ErrorIs(t, err, unix.EINVAL, "mkdir %q", name)
		_, err = root.Symlink(t.Context(), name, "x", vfs.CreateAttr{})
		require.ErrorIs(t, err, unix.EINVAL, "symlink %q", name)
		require.ErrorIs(t, root.Link(t.Context(), name, dir), unix.EINVAL, "link %q", name)
		require.ErrorIs(t, root.Unlink(t.Context(), name, dir), unix.EINVAL, "unlink %q", name)
		require.ErrorIs(t, root.Rmdir(t.Context(), name, dir), unix.EINVAL, "rmdir %q", name)
		for _, r := range []vfs.Rename{
			{OldName: name, Child: dir, NewDir: root, NewName: "x"},
			{OldName: "x", Child: dir, NewDir: root, NewName: name},
		} {
			require.ErrorIs(t, root.Rename(t.Context(), r), unix.EINVAL, "rename %q", name)
		}
	}
	require.Empty(t, sent)
}

// TestLinuxFollowsNothing: the back end itself does not go through links.
func TestLinuxFollowsNothing(t *testing.T) {
	for name, h := range map[string]hostfs.Host{"openat2": hostfs.Linux(), "openat": hostfs.LinuxWithoutOpenat2()} {
		t.Run(name, func(t *testing.T) {
			dir := hostDir(t)
			require.NoError(t, os.Symlink("/etc", dir+"/dir"))
			require.NoError(t, os.Symlink("/etc/passwd", dir+"/file"))
			root, err := h.OpenRoot(dir)
			require.NoError(t, err)
			defer h.Close(root)
			_, err = h.OpenFile(root, "file", unix.O_RDONLY)
			require.ErrorIs(t, err, unix.ELOOP)
			_, err = h.Create(root, "file", 0o600)
			require.ErrorIs(t, err, unix.EEXIST)
			fd, err := h.OpenPath(root, "dir")
			require.NoError(t, err)
			defer h.Close(fd)
			st, err := h.Stat(fd, "")
			require.NoError(t, err)
			require.EqualValues(t, unix.S_IFLNK, st.Mode&unix.S_IFMT)
			_, err = h.OpenDir(fd)
			require.ErrorIs(t, err, unix.ENOTDIR)
		})
	}
}

// TestLinksResolveInside: the text of the host's links means paths inside.
func TestLinksResolveInside(t *testing.T) {
	w := newWorld(t, nil)
	outside := hostDir(t)
	require.NoError(t, os.WriteFile(outside+"/secret", []byte("outside"), 0o644))
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/etc", 0o755))
	require.NoError(t, w.put("/etc/passwd", "inside"))
	w.plant("f", "file")
	for name, target := range map[string]string{
		"absolute": "/etc/passwd", "up": "../etc/passwd", "far": "../../../../../../etc/passwd", "same": "f",
		"host": outside + "/secret", "dir": outside, "loop": "loop",
	} {
		require.NoError(t, os.Symlink(target, w.on(name)))
	}
	for path, want := range map[string]string{
		"/host/absolute": "inside", "/host/up": "inside", "/host/far": "inside", "/host/same": "file",
	} {
		got, err := w.get(path)
		require.NoError(t, err, path)
		require.Equal(t, want, got, path)
	}
	for path, want := range map[string]unix.Errno{
		"/host/host": unix.ENOENT, "/host/dir/secret": unix.ENOENT, "/host/loop": unix.ELOOP,
	} {
		_, err := w.get(path)
		require.ErrorIs(t, err, want, path)
	}
	a, err := w.lstat("/host/absolute")
	require.NoError(t, err)
	require.EqualValues(t, unix.S_IFLNK, a.Mode&unix.S_IFMT)

	// A link made inside is one on the host, with the same text.
	require.NoError(t, w.SymlinkAt(w.ctx, "/etc/passwd", cwd, "/host/made"))
	target, err := os.Readlink(w.on("made"))
	require.NoError(t, err)
	require.Equal(t, "/etc/passwd", target)
}

// TestSwapRace: while the host swaps directories and files with links to others, a hundred thousand opens (a tenth with
// -short and under the race detector, a quarter on hosts without openat2) do not leave the tree.
func TestSwapRace(t *testing.T) {
	testenv.CheckLeaks(t)
	opens := 100_000
	if testing.Short() || underRace {
		opens = 10_000
	}
	for name, h := range map[string]hostfs.Host{"openat2": hostfs.Linux(), "openat": hostfs.LinuxWithoutOpenat2()} {
		t.Run(name, func(t *testing.T) {
			opens := opens
			if name == "openat" {
				opens /= 4
			}
			w := newWorldIn(t, h, memoryDir(t))
			outside := memoryDir(t)
			require.NoError(t, os.Mkdir(outside+"/e", 0o755))
			require.NoError(t, os.WriteFile(outside+"/f", []byte("outside"), 0o644))
			require.NoError(t, os.Link(outside+"/f", outside+"/e/f"))
			require.NoError(t, os.MkdirAll(w.on("d/e"), 0o755))
			w.plant("d/f", "within")
			w.plant("d/e/f", "within")
			require.NoError(t, os.Symlink(outside, w.on("other")))
			require.NoError(t, os.Symlink(outside+"/f", w.on("link")))
			w.plant("plain", "within")

			var stop atomic.Bool
			var wg sync.WaitGroup
			swaps := 0
			wg.Go(func() {
				for !stop.Load() {
					for _, pair := range [][2]string{{"d", "other"}, {"plain", "link"}} {
						if unix.Renameat2(unix.AT_FDCWD, w.on(pair[0]), unix.AT_FDCWD, w.on(pair[1]), unix.RENAME_EXCHANGE) == nil {
							swaps++
						}
					}
				}
			})
			defer wg.Wait()
			defer stop.Store(true)
			read := 0
			for n := 0; n < opens; n += 6 {
				for _, path := range []string{"/host/d/f", "/host/d/e/f", "/host/plain"} {
					got, err := w.get(path)
					switch {
					case err == nil:
						read++
						require.Equal(t, "within", got, path)
					case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESTALE) && !errors.Is(err, unix.ENOTDIR):
						require.NoError(t, err, path)
					}
					_ = w.put(path, "within")
				}
			}
			stop.Store(true)
			wg.Wait()
			t.Logf("%d opens, %d of files that were there, %d swaps", opens, read, swaps)
			require.Greater(t, read, opens/100)
			require.Greater(t, swaps, opens/100)
			data, err := os.ReadFile(outside + "/f")
			require.NoError(t, err)
			require.Equal(t, "outside", string(data))
		})
	}
}

// TestLinkFromOutside: no file of another mount gets a name here.
func TestLinkFromOutside(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.put("/f", "inside"))
	require.ErrorIs(t, w.LinkAt(w.ctx, cwd, "/f", cwd, "/host/f", 0), unix.EXDEV)
	f := w.file("/f", unix.O_RDONLY)
	require.ErrorIs(t, w.LinkAt(w.ctx, f.Path(), "", cwd, "/host/f", vfs.WalkEmpty), unix.EXDEV)
	require.ErrorIs(t, w.RenameAt(w.ctx, cwd, "/f", cwd, "/host/f", 0), unix.EXDEV)
	require.NoFileExists(t, w.on("f"))
}
