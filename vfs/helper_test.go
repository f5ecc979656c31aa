package vfs_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/vfs"
)

var cwd vfs.Path // where relative paths start

// testType is a file-system type whose Mount is a function.
type testType struct {
	name  string
	mount func(req vfs.MountRequest) (vfs.FileSystem, error)
	flags uintptr
}

func (t testType) Name() string   { return t.name }
func (t testType) Flags() uintptr { return t.flags }
func (t testType) Mount(_ context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	return t.mount(req)
}

// flaky is a ramfs that counts and fails closing and syncing.
type flaky struct {
	*ramfs.FS
	closeErr atomic.Pointer[unix.Errno] // of SafeClose
	onClose  func()
	closed   atomic.Int32
	synced   atomic.Int32
}

func newFlaky() *flaky { return &flaky{FS: ramfs.New(ramfs.Config{})} }

func (f *flaky) Close(ctx context.Context, mode vfs.CloseMode) error {
	if f.onClose != nil {
		f.onClose()
	}
	if e := f.closeErr.Load(); e != nil && mode == vfs.SafeClose {
		return *e
	}
	f.closed.Add(1)
	return nil
}

func (f *flaky) Sync(ctx context.Context) error { f.synced.Add(1); return nil }
func (f *flaky) Options() string                { return "own=1" }

// world is a namespace over a ramfs, with types "ramfs" and "flaky".
type world struct {
	t     testing.TB
	ctx   context.Context
	ns    *vfs.Namespace
	v     *vfs.View
	last  *flaky // made by the last mount of type "flaky"
	leaks bool   // Close is expected to fail
}

func newWorld(t testing.TB, dirs ...string) *world {
	return newWorldConfig(t, vfs.Config{}, dirs...)
}

func newWorldConfig(t testing.TB, cfg vfs.Config, dirs ...string) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background()}
	if cfg.Root == nil {
		cfg.Root = ramfs.New(ramfs.Config{})
	}
	cfg.RootType = "ramfs"
	cfg.Types = append(cfg.Types, ramfs.Type{}, testType{name: "flaky", mount: func(vfs.MountRequest) (vfs.FileSystem, error) {
		w.last = newFlaky()
		return w.last, nil
	}})
	var err error
	w.ns, err = vfs.New(cfg)
	require.NoError(t, err)
	w.v = w.ns.NewView(vfs.RootCred())
	t.Cleanup(func() {
		w.v.Release()
		if !w.leaks {
			require.NoError(t, w.ns.Close(context.Background()), "close namespace")
		}
	})
	for _, d := range dirs {
		w.ok(w.mkdir(d), "mkdir %s", d)
	}
	return w
}

func (w *world) ok(err error, format string, args ...any) {
	w.t.Helper()
	require.NoErrorf(w.t, err, format, args...)
}

func (w *world) fails(want unix.Errno, err error, format string, args ...any) {
	w.t.Helper()
	if want == 0 {
		require.NoErrorf(w.t, err, format, args...)
		return
	}
	require.ErrorIsf(w.t, err, want, format, args...)
}

func (w *world) mkdir(path string) error { return w.v.MkdirAt(w.ctx, cwd, path, 0o755) }
func (w *world) mount(target string, flags uintptr) error {
	return w.v.Mount(w.ctx, "src", target, "flaky", flags, "")
}
func (w *world) umount(target string, flags int) error { return w.v.Umount2(w.ctx, target, flags) }

func (w *world) open(path string, flags int) *vfs.File {
	w.t.Helper()
	f, err := w.v.OpenAt(w.ctx, cwd, path, vfs.OpenHow{Flags: flags, Mode: 0o644})
	w.ok(err, "open %s", path)
	return f
}

func (w *world) touch(path string) {
	w.t.Helper()
	w.ok(w.open(path, unix.O_CREAT|unix.O_WRONLY).Close(w.ctx), "close")
}

func (w *world) stat(path string) error {
	_, _, err := w.v.GetattrAt(w.ctx, cwd, path, vfs.WalkFollow, unix.STATX_BASIC_STATS)
	return err
}

func (w *world) chdir(path string) {
	w.t.Helper()
	p, err := w.v.Walk(w.ctx, cwd, path, vfs.WalkFollow|vfs.WalkDirectory)
	w.ok(err, "chdir %s", path)
	w.v.SetCwd(p)
	p.Put()
}

func (w *world) getcwd() string {
	w.t.Helper()
	path, err := w.v.Getcwd()
	w.ok(err, "getcwd")
	return path
}
