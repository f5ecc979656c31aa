package syscall_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func openat2(dirfd int, path string, how unix.OpenHow, size int) func(c caller) error {
	return func(c caller) error {
		fd, err := c.Openat2(dirfd, path, &how, size)
		if err != nil {
			return err
		}
		return c.Close(fd)
	}
}

func TestOpenat2(t *testing.T) {
	const creat = unix.O_CREAT | unix.O_RDWR
	how := func(path string, h unix.OpenHow) func(c caller) error { return openat2(cwd, path, h, 24) }
	flags := func(path string, flags, mode uint64) func(c caller) error {
		return how(path, unix.OpenHow{Flags: flags, Mode: mode})
	}
	runRows(t, []row{
		{"read", flags("f", unix.O_RDONLY, 0), 0},
		{"larger struct", openat2(cwd, "f", unix.OpenHow{}, 64), 0},
		{"largest struct", openat2(cwd, "f", unix.OpenHow{}, 4096), 0},
		{"too large struct", openat2(cwd, "", unix.OpenHow{Flags: 1 << 40}, 4097), unix.E2BIG},
		{"small struct", openat2(cwd, "", unix.OpenHow{}, 23), unix.EINVAL},
		{"no struct", openat2(cwd, "f", unix.OpenHow{}, 0), unix.EINVAL},
		{"unknown flag", flags("f", 1<<30, 0), unix.EINVAL},
		{"unknown flag before path", flags("", 1<<30, 0), unix.EINVAL},
		{"unknown upper flag", flags("f", 1<<40, 0), unix.EINVAL},
		{"O_LARGEFILE", flags("f", 0x8000, 0), 0},
		{"O_CLOEXEC", flags("f", unix.O_CLOEXEC, 0), 0},
		{"mode without creation", flags("f", unix.O_RDONLY, 0o644), unix.EINVAL},
		{"mode with creation", flags("new", creat, 0o7777), 0},
		{"mode with type", flags("new", creat, unix.S_IFREG|0o644), unix.EINVAL},
		{"mode with upper bit", flags("new", creat, 1<<32), unix.EINVAL},
		{"mode with temporary file", flags("d", unix.O_TMPFILE|unix.O_RDWR, 0o600), 0},
		{"temporary file for reading", flags("d", unix.O_TMPFILE, 0o600), unix.EINVAL},
		{"directory and creation", flags("new", creat|unix.O_DIRECTORY, 0), unix.EINVAL},
		{"path with other flags", flags("f", unix.O_PATH|unix.O_RDWR, 0), unix.EINVAL},
		{"path with truncation", flags("f", unix.O_PATH|unix.O_TRUNC, 0), unix.EINVAL},
		{"path with large file", flags("f", unix.O_PATH|0x8000, 0), unix.EINVAL},
		{"path", flags("f", unix.O_PATH|unix.O_CLOEXEC, 0), 0},
		{"empty path", flags("", 0, 0), unix.ENOENT},
		{"unknown resolve", how("f", unix.OpenHow{Resolve: 0x40}), unix.EINVAL},
		{"beneath and in root", how("f", unix.OpenHow{Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT}), unix.EINVAL},
	})
}

func TestResolve(t *testing.T) {
	how := func(path string, resolve uint64) func(c caller) error {
		return openat2(cwd, path, unix.OpenHow{Resolve: resolve}, 24)
	}
	below := func(path string, h unix.OpenHow) func(c caller) error {
		return with("d", unix.O_PATH, func(c caller, fd int) error { return openat2(fd, path, h, 24)(c) })
	}
	link := func(target, path string, call func(c caller) error) func(c caller) error {
		return after(func(c caller) error { return c.Symlinkat(target, cwd, path) }, call)
	}
	resolve := func(r uint64) unix.OpenHow { return unix.OpenHow{Resolve: r} }
	const beneath, inRoot = unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT
	runRows(t, []row{
		{"in root, dot-dot to what covers it", after(func(c caller) error { return c.Chdir("d") }, mount("/d", 0), how("../sub", inRoot)), unix.ENOENT},
		{"in root, dot-dot to what covers it, no mounts", after(func(c caller) error { return c.Chdir("d") }, mount("/d", 0),
			how("..", inRoot|unix.RESOLVE_NO_XDEV)), unix.EXDEV},
		{"in root, covered", after(func(c caller) error { return c.Chdir("d") }, mount("/d", 0), how("sub", inRoot)), 0},
		{"no mounts, absolute link", link("/f", "abs", how("abs", unix.RESOLVE_NO_XDEV)), unix.EXDEV},
		{"no mounts, absolute link from the root", link("/f", "abs", how("/abs", unix.RESOLVE_NO_XDEV)), 0},
		{"no mounts, absolute link after dot-dot", link("/f", "abs", how("d/../abs", unix.RESOLVE_NO_XDEV)), 0},
		{"no symlinks", how("d/sub/f", unix.RESOLVE_NO_SYMLINKS), 0},
		{"no symlinks, link", how("ln", unix.RESOLVE_NO_SYMLINKS), unix.ELOOP},
		{"no symlinks, link on the way", how("dl/sub/f", unix.RESOLVE_NO_SYMLINKS), unix.ELOOP},
		{"no symlinks, path of link", openat2(cwd, "ln", unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS}, 24), 0},
		{"no magic links", how("ln", unix.RESOLVE_NO_MAGICLINKS), 0},
		{"no mounts", how("d/sub/f", unix.RESOLVE_NO_XDEV), 0},
		{"no mounts, into one", after(mount("d", 0), how("d", unix.RESOLVE_NO_XDEV)), unix.EXDEV},
		{"no mounts, out of one", after(mount("d", 0), func(c caller) error { return c.Chdir("d") }, how("../f", unix.RESOLVE_NO_XDEV)), unix.EXDEV},
		{"no mounts, root from one", after(mount("d", 0), func(c caller) error { return c.Chdir("d") }, how("/f", unix.RESOLVE_NO_XDEV)), 0},
		{"beneath", below("sub/f", resolve(beneath)), 0},
		{"beneath, up and down", below("sub/../sub/f", resolve(beneath)), 0},
		{"beneath, out", below("../f", resolve(beneath)), unix.EXDEV},
		{"beneath, out and in", below("../d/sub/f", resolve(beneath)), unix.EXDEV},
		{"beneath, absolute", below("/d", resolve(beneath)), unix.EXDEV},
		{"beneath, absolute link", link("/f", "d/abs", below("abs", resolve(beneath))), unix.EXDEV},
		{"beneath, link out", link("../f", "d/out", below("out", resolve(beneath))), unix.EXDEV},
		{"beneath, create", below("new", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o644, Resolve: beneath}), 0},
		{"beneath, create outside", below("../new", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o644, Resolve: beneath}), unix.EXDEV},
		{"beneath, temporary file", below("sub", unix.OpenHow{Flags: unix.O_TMPFILE | unix.O_RDWR, Resolve: beneath}), 0},
		{"in root, up", below("../../sub/f", resolve(inRoot)), 0},
		{"in root, absolute", below("/sub/f", resolve(inRoot)), 0},
		{"in root, what is outside", below("../f", resolve(inRoot)), unix.ENOENT},
		{"in root, absolute link", link("/sub/f", "d/abs", below("abs", resolve(inRoot))), 0},
		{"cached creation", openat2(cwd, "f", unix.OpenHow{Flags: unix.O_CREAT, Resolve: 0x20}, 24), unix.EAGAIN},
		{"cached truncation", openat2(cwd, "f", unix.OpenHow{Flags: unix.O_TRUNC, Resolve: 0x20}, 24), unix.EAGAIN},
		{"cached", how("d/sub/f", 0x20), 0},
	})
}

// TestResolveCached: what the cache does not know is left to a second call.
func TestResolveCached(t *testing.T) {
	task := newTask(t)
	tree(t, task, "d/", "d/f", "l => d/f")
	cached := unix.OpenHow{Resolve: 0x20}
	_, err := task.Openat2(cwd, "/d/never", &cached, 24)
	require.ErrorIs(t, err, unix.EAGAIN, "a name nobody has asked for")
	require.ErrorIs(t, task.Stat("/d/never", new(unix.Stat_t)), unix.ENOENT)
	_, err = task.Openat2(cwd, "/d/never", &cached, 24)
	require.ErrorIs(t, err, unix.ENOENT, "now it is known to be missing")
	fd, err := task.Openat2(cwd, "/d/f", &cached, 24)
	require.NoError(t, err)
	require.NoError(t, task.Close(fd))
}

func TestOpenat2Flags(t *testing.T) {
	task := newTask(t)
	task.Umask(0o027)
	fd, err := task.Openat2(cwd, "f", &unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR | unix.O_CLOEXEC, Mode: 0o666}, 24)
	require.NoError(t, err)
	n, err := task.Fcntl(fd, unix.F_GETFD, 0)
	require.NoError(t, err)
	require.Equal(t, unix.FD_CLOEXEC, n)
	n, err = task.Fcntl(fd, unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Equal(t, unix.O_RDWR, n)
	var st unix.Stat_t
	require.NoError(t, task.Fstat(fd, &st))
	require.EqualValues(t, unix.S_IFREG|0o640, st.Mode, "the umask counts")
}
