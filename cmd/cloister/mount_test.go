package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cloister/internal/testenv"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mounted is a mount command that runs.
type mounted struct {
	*process
	dir string
}

// mountDir makes a mount point.
func (e *env) mountDir() string {
	dir, err := os.MkdirTemp(e.dir, "mnt")
	require.NoError(e.t, err)
	return dir
}

// mount starts a mount command with the key and waits for the mount.
func (e *env) mount(args ...string) *mounted {
	e.t.Helper()
	testenv.NeedFUSE(e.t)
	testenv.NeedRoot(e.t)
	dir := e.mountDir()
	p := spawn(e.t, append([]string{"mount", "--image-key", e.key, "--image", e.image, dir}, args...)...)
	e.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	p.out.wait(e.t, p, "mounted ")
	return &mounted{p, dir}
}

func (m *mounted) path(name string) string { return filepath.Join(m.dir, name) }

// interrupt ends the command by a signal and checks that nothing stays behind.
func (m *mounted) interrupt(t testing.TB, sig os.Signal) {
	t.Helper()
	require.NoError(t, m.cmd.Process.Signal(sig))
	m.ended(t)
}

func (m *mounted) ended(t testing.TB) {
	t.Helper()
	require.Equal(t, exitOK, m.exit(t), "it said %s", m.err)
	require.NoError(t, unix.Rmdir(m.dir), "the mount point is free")
}

func TestMountShowsTheTree(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	before := digest(t, e.image)
	for name, args := range map[string][]string{
		"image read-only":  {"--read-only"},
		"with a new layer": {"--upper", filepath.Join(e.dir, "upper")},
		"layer read-only":  {"--upper", filepath.Join(e.dir, "upper"), "--read-only"},
	} {
		if strings.HasPrefix(name, "layer") {
			continue // needs the layer: below
		}
		t.Run(name, func(t *testing.T) {
			m := e.mount(args...)
			sameTree(t, e.source, m.dir)
			m.interrupt(t, unix.SIGINT)
		})
	}
	require.Equal(t, before, digest(t, e.image), "the image is only read")
	upper := filepath.Join(e.dir, "upper")
	before = digest(t, upper)
	out := must(t, "info", "--image-key", e.key, "--upper", upper, e.image)
	require.Equal(t, 2, strings.Count(out, "verified  yes"), out)
	m := e.mount("--upper", upper, "--read-only")
	sameTree(t, e.source, m.dir)
	require.ErrorIs(t, os.WriteFile(m.path("new"), nil, 0o600), unix.EROFS)
	m.interrupt(t, unix.SIGTERM)
	require.Equal(t, before, digest(t, upper))
}

// sameTree compares two trees by contents, modes, owners, sizes, times and links.
func sameTree(t testing.TB, want, got string) {
	t.Helper()
	out, err := exec.Command("diff", "-r", "--no-dereference", "--exclude=fifo", want, got).CombinedOutput()
	require.NoError(t, err, "diff: %s", out)
	require.Equal(t, listing(t, want), listing(t, got))
}

func listing(t testing.TB, dir string) string {
	t.Helper()
	// Link counts of directories are the file system's own business. The attributes of a
	// union's root are those of the upper layer's root, as in Linux's overlayfs.
	cmd := exec.Command("sh", "-c", `find . -mindepth 1 -printf '%P %y %m %U %G %T@ %l\n' | sort; find . ! -type d -printf '%P %n %s\n' | sort`)
	cmd.Dir = dir
	out, err := cmd.Output()
	require.NoError(t, err)
	note := make([]byte, 100)
	n, _ := unix.Getxattr(filepath.Join(dir, "hello.txt"), "user.note", note) // not on every host
	return string(out) + string(note[:max(n, 0)])
}

func TestMountKeepsChanges(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, m *mounted){
		"Ctrl+C":  func(t *testing.T, m *mounted) { m.interrupt(t, unix.SIGINT) },
		"SIGTERM": func(t *testing.T, m *mounted) { m.interrupt(t, unix.SIGTERM) },
		"umount": func(t *testing.T, m *mounted) {
			require.NoError(t, unix.Unmount(m.dir, 0))
			m.ended(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.tree()
			e.build()
			image := digest(t, e.image)
			upper := filepath.Join(e.dir, "upper")
			change := func(m *mounted) {
				require.NoError(t, os.WriteFile(m.path("new"), []byte("made here\n"), 0o600))
				require.NoError(t, os.WriteFile(m.path("hello.txt"), []byte("changed\n"), 0o644))
				require.NoError(t, os.Remove(m.path("empty")))
				require.NoError(t, os.Rename(m.path("big"), m.path("dir/moved")))
			}
			check := func(args ...string) {
				args = append(args, "--image-key", e.key, e.image)
				require.Equal(t, "made here\n", must(t, append([]string{"cat"}, append(args, "new")...)...))
				require.Equal(t, "changed\n", must(t, append([]string{"cat"}, append(args, "dir/hard")...)...))
				out := must(t, append([]string{"ls", "-R"}, args...)...)
				require.NotContains(t, out, "empty")
				require.NotContains(t, out, "big")
				require.Contains(t, out, "moved")
			}
			m := e.mount("--upper", upper)
			change(m)
			end(t, m)
			require.Equal(t, image, digest(t, e.image), "the lower image is only read")
			check("--upper", upper)

			m = e.mount()
			change(m)
			end(t, m)
			check()
		})
	}
}

func TestMountWhileInUse(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	other := e.mountDir()
	m := e.mount()
	for name, args := range map[string][]string{
		"a second mount":           {"mount", "--image", e.image, other},
		"a second mount read-only": {"mount", "--read-only", "--image", e.image, other},
		"ls":                       {"ls", e.image},
	} {
		t.Run(name, func(t *testing.T) {
			line := refused(t, exitInUse, append(args, "--image-key", e.key)...)
			require.Contains(t, line, e.image)
		})
	}
	require.NoError(t, os.WriteFile(m.path("f"), nil, 0o600), "the first mount works on")
	m.interrupt(t, unix.SIGINT)

	m = e.mount("--read-only")
	t.Run("read-write after read-only", func(t *testing.T) {
		refused(t, exitInUse, "mount", "--image", e.image, other, "--image-key", e.key)
	})
	t.Run("readers share", func(t *testing.T) {
		require.Contains(t, must(t, "ls", e.image, "--image-key", e.key), "hello.txt")
	})
	m.interrupt(t, unix.SIGINT)
}

func TestKilledMountFreesTheImage(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	m := e.mount()
	f, err := os.Create(m.path("synced"))
	require.NoError(t, err)
	_, err = f.WriteString("durable")
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.NoError(t, m.cmd.Process.Kill())
	require.Equal(t, -1, m.exit(t))

	require.Contains(t, refused(t, exitMountPoint, "mount", "--image", e.image, "--image-key", e.key, m.dir), "umount -l")
	require.NoError(t, unix.Unmount(m.dir, unix.MNT_DETACH))
	require.Equal(t, "durable", must(t, "cat", "--image-key", e.key, e.image, "synced"))
	e.mount().interrupt(t, unix.SIGINT)
}

func TestBusyMount(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	m := e.mount()
	f, err := os.Create(m.path("f"))
	require.NoError(t, err)
	require.NoError(t, m.cmd.Process.Signal(unix.SIGINT))
	m.err.wait(t, m.process, "in use")
	_, err = f.WriteString("one ")
	require.NoError(t, err)
	require.NoError(t, m.cmd.Process.Signal(unix.SIGINT))
	m.err.wait(t, m.process, "detached")
	_, err = f.WriteString("two")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	m.ended(t)
	require.Equal(t, "one two", must(t, "cat", "--image-key", e.key, e.image, "f"))
}

func TestMountRefusals(t *testing.T) {
	testenv.NeedFUSE(t)
	e := newEnv(t)
	e.tree()
	e.build()
	mnt := e.mountDir()
	other := filepath.Join(e.dir, "other")
	must(t, "gen-image-key", other)
	upper := filepath.Join(e.dir, "upper")
	before := digest(t, e.image)
	for name, row := range map[string]struct {
		code int
		args []string
	}{
		"missing mount point":          {exitMountPoint, []string{"--image", e.image, filepath.Join(e.dir, "none")}},
		"mount point is a file":        {exitMountPoint, []string{"--image", e.image, e.key}},
		"mount point holds the image":  {exitMountPoint, []string{"--image", e.image, e.dir}},
		"mount point inside the image": {exitMountPoint, []string{"--image", e.image, filepath.Join(e.image, "seg")}},
		"mount point holds the layer":  {exitMountPoint, []string{"--image", e.image, "--upper", filepath.Join(mnt, "up"), mnt}},
		"missing image":                {exitImage, []string{"--image", filepath.Join(e.dir, "none"), mnt}},
		"no image":                     {exitImage, []string{"--image", e.source, mnt}},
		"layer without a parent":       {exitImage, []string{"--image", e.image, "--upper", filepath.Join(e.dir, "no/upper"), mnt}},
		"layer is the image":           {exitImage, []string{"--image", e.image, "--upper", e.image, mnt}},
		"wrong key":                    {exitKey, []string{"--image", e.image, "--image-key", other, mnt}},
		"wrong key, new layer":         {exitKey, []string{"--image", e.image, "--image-key", other, "--upper", upper, mnt}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, row.code, append([]string{"mount", "--image-key", e.key}, row.args...)...)
			require.Equal(t, before, digest(t, e.image), "the image is unchanged")
			require.NoDirExists(t, upper)
			names, err := os.ReadDir(mnt)
			require.NoError(t, err)
			require.Empty(t, names)
		})
	}
}

func TestMountWithoutFUSE(t *testing.T) {
	testenv.NeedRoot(t)
	e := newEnv(t)
	e.tree()
	e.build()
	mnt := e.mountDir()
	before := digest(t, e.image)
	for name, script := range map[string]string{
		"no device":       `mount -t tmpfs none /dev`,
		"no right":        `mount --bind /dev/null /dev/null`, // only the capability is taken below
		"unusable device": `mount --bind /dev/null /dev/fuse`,
	} {
		t.Run(name, func(t *testing.T) {
			drop := ""
			if name == "no right" {
				drop = "setpriv --bounding-set -sys_admin --inh-caps -sys_admin "
				if _, err := exec.LookPath("setpriv"); err != nil {
					t.Skip("needs setpriv")
				}
				if _, err := exec.LookPath("fusermount3"); err == nil {
					t.Skip("fusermount3 is installed and mounts instead")
				}
			}
			cmd := exec.Command("unshare", "--mount", "sh", "-c",
				script+` && exec `+drop+`"$0" mount --image-key "$1" --image "$2" "$3"`, os.Args[0], e.key, e.image, mnt)
			cmd.Env = append(os.Environ(), envMain+"=1")
			out, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Equal(t, exitFUSE, cmd.ProcessState.ExitCode(), "%s", out)
			require.Contains(t, string(out), "--cap-add SYS_ADMIN --device /dev/fuse")
			require.Contains(t, string(out), "--privileged")
			require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
			require.Equal(t, before, digest(t, e.image), "the image is unchanged")
		})
	}
}
