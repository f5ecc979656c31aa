package libos_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave/sim"
	"cloister/fs/sefs"
	"cloister/libos"
	"cloister/mountopt"
	"cloister/syscall"
	"cloister/vfs"
)

func platform(t *testing.T) *sim.Platform {
	t.Helper()
	p, err := sim.New(sim.Config{MachineSecret: []byte(strings.Repeat("m", sim.MinSecret))})
	require.NoError(t, err)
	return p
}

func start(t *testing.T, mounts ...mountopt.Mount) *libos.LibOS {
	t.Helper()
	l, err := libos.Start(t.Context(), libos.Config{Platform: platform(t), Mounts: mounts, CommitInterval: -1})
	require.NoError(t, err)
	return l
}

func union(lower, upper string) mountopt.Mount {
	return mountopt.Mount{Source: "none", Target: "/srv/data", Type: "unionfs", Data: "lowerdir=" + lower + ",upperdir=" + upper}
}

func write(t *testing.T, task *syscall.Task, path, data string, sync bool) {
	t.Helper()
	fd, err := task.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, 0o600)
	require.NoError(t, err, "open %s", path)
	_, err = task.Write(fd, []byte(data))
	require.NoError(t, err, "write %s", path)
	if sync {
		require.NoError(t, task.Fsync(fd), "fsync %s", path)
	}
	require.NoError(t, task.Close(fd), "close %s", path)
}

func read(t *testing.T, task *syscall.Task, path string) string {
	t.Helper()
	fd, err := task.Open(path, unix.O_RDONLY, 0)
	require.NoError(t, err, "open %s", path)
	defer task.Close(fd)
	buf := make([]byte, 1000)
	n, err := task.Read(fd, buf)
	require.NoError(t, err, "read %s", path)
	return string(buf[:n])
}

func TestStartClose(t *testing.T) {
	lower, upper, host := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(host, "f"), []byte("from the host"), 0o600))
	mounts := []mountopt.Mount{
		union(lower, upper),
		{Source: "none", Target: "/host", Type: "hostfs", Data: "dir=" + host, Flags: unix.MS_RDONLY},
		{Source: "none", Target: "/tmp", Type: "ramfs"},
	}
	l := start(t, mounts...)
	task := l.NewTask()
	write(t, task, "/srv/data/f", "kept", false)
	write(t, task, "/tmp/f", "lost", false)
	require.Equal(t, "from the host", read(t, task, "/host/f"))
	require.ErrorIs(t, task.Mkdir("/host/d", 0o755), unix.EROFS, "flags of start-up mounts count")
	task.Exit()
	require.NoError(t, l.Close(t.Context()))

	l = start(t, mounts...)
	task = l.NewTask()
	require.Equal(t, "kept", read(t, task, "/srv/data/f"))
	require.ErrorIs(t, task.Stat("/tmp/f", new(unix.Stat_t)), unix.ENOENT)
	task.Exit()
	require.NoError(t, l.Close(t.Context()))
}

// TestStartFails: a mount that fails ends the start, names itself, and leaves
// nothing mounted: the images of the others can be mounted at once.
func TestStartFails(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, row := range []struct {
		name  string
		mount mountopt.Mount
		want  unix.Errno
	}{
		{"missing host directory", mountopt.Mount{Target: "/x", Type: "hostfs", Data: "dir=" + lower + "/no"}, unix.ENOENT},
		{"unknown type", mountopt.Mount{Target: "/x", Type: "nosuchfs"}, unix.ENODEV},
		{"root", mountopt.Mount{Target: "/", Type: "ramfs"}, unix.EPERM},
		{"image in use", mountopt.Mount{Target: "/x", Type: "sefs", Data: "dir=" + upper}, unix.EBUSY},
		{"mount point missing on another mount", mountopt.Mount{Target: "/srv/data/no", Type: "ramfs"}, unix.ENOENT},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := libos.Start(t.Context(), libos.Config{
				Platform: platform(t),
				Mounts:   []mountopt.Mount{union(lower, upper), row.mount},
			})
			require.ErrorIs(t, err, row.want)
			require.Equal(t, row.want, vfs.Errno(err))
			require.ErrorContains(t, err, "start-up mount 1, "+row.mount.Type+" on "+row.mount.Target)

			l := start(t, union(lower, upper))
			require.NoError(t, l.Close(t.Context()))
		})
	}
}

func TestCloseBusy(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	l := start(t, union(lower, upper))
	task := l.NewTask()
	fd, err := task.Open("/srv/data/f", unix.O_CREAT|unix.O_RDWR, 0o600)
	require.NoError(t, err)
	err = l.Close(t.Context())
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, "/srv/data")
	_, err = task.Write(fd, []byte("still here"))
	require.NoError(t, err, "a failed Close leaves the mount usable")
	require.Equal(t, "still here", read(t, task, "/srv/data/f"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))
}

// TestCloseHidden: a mount that another one hides is no obstacle, though no path leads to it.
func TestCloseHidden(t *testing.T) {
	dir := t.TempDir()
	l := start(t)
	task := l.NewTask()
	require.NoError(t, task.Mkdir("/b", 0o755))
	require.NoError(t, task.Mkdir("/b/a", 0o755))
	require.NoError(t, task.Chdir("/b"))
	require.NoError(t, task.Mount("none", "/b", "ramfs", 0, ""))
	require.NoError(t, task.Mount("none", "a", "sefs", 0, "dir="+dir))
	write(t, task, "a/f", "kept", false)
	require.ErrorIs(t, task.Stat("/b/a", new(unix.Stat_t)), unix.ENOENT)
	task.Exit()
	require.NoError(t, l.Close(t.Context()))

	l = start(t, mountopt.Mount{Source: "none", Target: "/m", Type: "sefs", Data: "dir=" + dir})
	task = l.NewTask()
	require.Equal(t, "kept", read(t, task, "/m/f"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))
}

// TestRoot starts on an image instead of an empty ramfs, and finds again what was there.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	key := ",key=" + keyText
	cfg := libos.Config{Root: "sefs", RootData: "dir=" + dir + key}
	for n := range 2 {
		l, err := libos.Start(t.Context(), cfg)
		require.NoError(t, err)
		task := l.NewTask()
		if n == 0 {
			write(t, task, "/f", "kept", false)
		}
		require.Equal(t, "kept", read(t, task, "/f"))
		var st unix.Statfs_t
		require.NoError(t, task.Statfs("/", &st))
		require.EqualValues(t, sefs.Magic, st.Type)
		require.ErrorIs(t, task.Umount("/"), unix.EPERM)
		task.Exit()
		require.NoError(t, l.Close(t.Context()))
	}
	for name, row := range map[string]struct {
		cfg  libos.Config
		want unix.Errno
	}{
		"unknown type": {libos.Config{Root: "nosuchfs"}, unix.ENODEV},
		"no type":      {libos.Config{RootData: "dir=" + dir}, unix.ENODEV},
		"options":      {libos.Config{Root: "sefs"}, unix.EINVAL},
		"key file":     {libos.Config{Root: "sefs", RootData: "dir=" + dir + ",keyfile=/key"}, unix.ENOENT},
		"a mount fails": {libos.Config{Root: "sefs", RootData: "dir=" + dir + key,
			Mounts: []mountopt.Mount{{Target: "/f", Type: "ramfs"}}}, unix.ENOTDIR},
	} {
		_, err := libos.Start(t.Context(), row.cfg)
		require.ErrorIs(t, err, row.want, name)
	}
	// Nothing of that is left in use.
	l, err := libos.Start(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, l.Close(t.Context()))
}

func TestForceClose(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	l := start(t, union(lower, upper))
	task := l.NewTask()
	write(t, task, "/srv/data/f", "kept", false)
	fd, err := task.Open("/srv/data/g", unix.O_CREAT|unix.O_RDWR, 0o600)
	require.NoError(t, err)
	require.ErrorIs(t, l.ForceClose(t.Context()), unix.EBUSY)
	_, err = task.Write(fd, []byte("late"))
	require.NoError(t, err, "an open file works on")
	task.Exit() // the last user: now the image closes

	l = start(t, union(lower, upper))
	task = l.NewTask()
	require.Equal(t, "kept", read(t, task, "/srv/data/f"))
	require.Equal(t, "late", read(t, task, "/srv/data/g"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))
}

func TestKill(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	l := start(t, union(lower, upper))
	task := l.NewTask()
	write(t, task, "/srv/data/synced", "durable", true)
	write(t, task, "/srv/data/late", "not yet", false)
	l.Kill()

	again := start(t, union(lower, upper)) // the lock is free
	task = again.NewTask()
	require.Equal(t, "durable", read(t, task, "/srv/data/synced"))
	require.ErrorIs(t, task.Stat("/srv/data/late", new(unix.Stat_t)), unix.ENOENT, "nothing was flushed")
	task.Exit()
	require.NoError(t, again.Close(t.Context()))
}

// TestUnion is the call of the requirements, with its key.
func TestUnion(t *testing.T) {
	const key = ",key=c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"
	lower, upper := t.TempDir(), t.TempDir()
	l := start(t)
	task := l.NewTask()
	require.NoError(t, task.Mkdir("/m", 0o755))

	// Fill the image that becomes the lower layer.
	require.NoError(t, task.Mount("sefs", "/m", "sefs", 0, "dir="+lower+key))
	write(t, task, "/m/f", "lower", false)
	require.NoError(t, task.Umount("/m"))

	data := "lowerdir=" + lower + ",upperdir=" + upper
	require.NoError(t, task.Mount("unionfs", "/m", "unionfs", 0, data+key))
	require.Equal(t, "lower", read(t, task, "/m/f"))
	write(t, task, "/m/f", "upper", false)
	require.NoError(t, task.Umount("/m"))

	require.ErrorIs(t, task.Mount("unionfs", "/m", "unionfs", 0, data), unix.EACCES, "without the key")
	require.ErrorIs(t, task.Mount("unionfs", "/m", "unionfs", 0, "upperdir="+upper+key), unix.EINVAL, "without lowerdir")
	require.ErrorIs(t, task.Mount("unionfs", "/m", "unionfs", 0, "lowerdir="+lower+key), unix.EINVAL, "without upperdir")

	require.NoError(t, task.Mount("unionfs", "/m", "unionfs", 0, data+key))
	require.Equal(t, "upper", read(t, task, "/m/f"))
	require.NoError(t, task.Umount("/m"))
	require.NoError(t, task.Mount("sefs", "/m", "sefs", unix.MS_RDONLY, "dir="+lower+key))
	require.Equal(t, "lower", read(t, task, "/m/f"), "the lower image is as it was")
	require.NoError(t, task.Umount("/m"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))
}
