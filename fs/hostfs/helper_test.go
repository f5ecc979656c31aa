package hostfs_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/fs/ramfs"
	"cloister/vfs"
)

// hostDir makes a directory on the host, whose path needs no escapes in options.
func hostDir(t testing.TB) string {
	t.Helper()
	return hostDirIn(t, "")
}

// memoryDir is hostDir for tests that make very many files.
func memoryDir(t testing.TB) string {
	t.Helper()
	const shm = "/dev/shm" // shm_overview(7)
	if unix.Access(shm, unix.W_OK|unix.X_OK) == nil {
		return hostDirIn(t, shm)
	}
	return hostDirIn(t, "")
}

func hostDirIn(t testing.TB, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "hostfs")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func mount(t testing.TB, typ *hostfs.Type, dir string) vfs.FileSystem {
	t.Helper()
	fs, err := typ.Mount(context.Background(), vfs.MountRequest{Data: "dir=" + dir})
	require.NoError(t, err, "mount %s", dir)
	return fs
}

// world is a library OS with a directory of the host on /host.
type world struct {
	t   testing.TB
	ctx context.Context
	dir string // on the host
	ns  *vfs.Namespace
	*vfs.View
	ended sync.Once
}

// cwd is where relative paths start.
var cwd vfs.Path

func newWorld(t testing.TB, host hostfs.Host) *world {
	t.Helper()
	return newWorldIn(t, host, hostDir(t))
}

// newWorldIn is newWorld with a directory that the host has already.
func newWorldIn(t testing.TB, host hostfs.Host, dir string) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), dir: dir}
	ns, err := vfs.New(vfs.Config{
		Root:     ramfs.New(ramfs.Config{}),
		RootType: "ramfs",
		Types:    []vfs.FileSystemType{hostfs.NewType(hostfs.Config{Host: host}), ramfs.Type{}},
	})
	require.NoError(t, err)
	w.ns, w.View = ns, ns.NewView(vfs.RootCred())
	w.SetUmask(0)
	t.Cleanup(w.close)
	require.NoError(t, w.MkdirAt(w.ctx, cwd, "/host", 0o755))
	require.NoError(t, w.View.Mount(w.ctx, "host", "/host", "hostfs", 0, "dir="+w.dir), "mount")
	return w
}

// close ends the world, at the end of the test at the latest.
func (w *world) close() {
	w.ended.Do(func() {
		w.Release()
		require.NoError(w.t, w.ns.Close(w.ctx), "close namespace")
	})
}

// on returns the path of a file on the host.
func (w *world) on(name string) string { return w.dir + "/" + name }

// plant makes a file on the host.
func (w *world) plant(name, data string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.on(name), []byte(data), 0o644))
}

// planted reads a file on the host.
func (w *world) planted(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(w.on(name))
	require.NoError(w.t, err)
	return string(data)
}

// open opens a file inside. The caller closes it.
func (w *world) open(path string, flags int) (*vfs.File, error) {
	return w.OpenAt(w.ctx, cwd, path, vfs.OpenHow{Flags: flags, Mode: 0o666})
}

// file opens a file inside that is closed with the test.
func (w *world) file(path string, flags int) *vfs.File {
	w.t.Helper()
	f, err := w.open(path, flags)
	require.NoError(w.t, err, "open %s", path)
	w.t.Cleanup(func() { f.Close(w.ctx) })
	return f
}

// get reads a file inside.
func (w *world) get(path string) (string, error) {
	f, err := w.open(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close(w.ctx)
	buf := make([]byte, 4096)
	n, err := f.ReadAt(w.ctx, buf, 0)
	return string(buf[:n]), err
}

// put writes a file inside.
func (w *world) put(path, data string) error {
	f, err := w.open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err := f.Write(w.ctx, []byte(data)); err != nil {
		f.Close(w.ctx)
		return err
	}
	return f.Close(w.ctx)
}

// lstat returns the attributes of a file inside, a link itself.
func (w *world) lstat(path string) (vfs.Attr, error) {
	p, err := w.Walk(w.ctx, cwd, path, 0)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer p.Put()
	return vfs.Getattr(w.ctx, p, unix.STATX_BASIC_STATS)
}

// list returns the names in a directory inside and their types.
func (w *world) list(path string) (map[string]uint8, error) {
	f, err := w.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close(w.ctx)
	names := map[string]uint8{}
	err = f.ReadDir(w.ctx, func(e vfs.Dirent) bool {
		names[e.Name] = e.Type
		return true
	})
	return names, err
}
