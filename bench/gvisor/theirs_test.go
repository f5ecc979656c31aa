package gvisor_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// theirs is gVisor's VFS with a tmpfs as its root.
type theirs struct {
	t     testing.TB
	ctx   context.Context
	creds *auth.Credentials
	vfs   vfs.VirtualFilesystem
	ns    *vfs.MountNamespace
	root  vfs.VirtualDentry
}

func newTheirs(t testing.TB) *theirs {
	w := &theirs{t: t}
	userns := auth.NewRootUserNamespace()
	w.creds = auth.NewRootCredentials(userns)
	w.ctx = context.WithValue(context.Background(), ktime.CtxRealtimeClock, fixedClock{})
	// Only files with content use it; these are empty.
	w.ctx = context.WithValue(w.ctx, pgalloc.CtxMemoryFile, &pgalloc.MemoryFile{})
	require.NoError(t, w.vfs.Init(w.ctx))
	w.vfs.MustRegisterFilesystemType("tmpfs", tmpfs.FilesystemType{}, &vfs.RegisterFilesystemTypeOptions{AllowUserMount: true})
	ns, err := w.vfs.NewMountNamespace(w.ctx, w.creds, "", "tmpfs", &vfs.MountOptions{}, nil)
	require.NoError(t, err)
	w.ns, w.root = ns, ns.Root(w.ctx)
	w.ctx = vfs.WithRoot(w.ctx, w.root)
	return w
}

func (w *theirs) at(path string) *vfs.PathOperation {
	return &vfs.PathOperation{Root: w.root, Start: w.root, Path: fspath.Parse(path)}
}

func (w *theirs) mkdir(path string) {
	require.NoError(w.t, w.vfs.MkdirAt(w.ctx, w.creds, w.at(path), &vfs.MkdirOptions{Mode: 0o755}))
}

func (w *theirs) create(path string) {
	require.NoError(w.t, w.vfs.MknodAt(w.ctx, w.creds, w.at(path), &vfs.MknodOptions{Mode: linux.ModeRegular | 0o644}))
}

func (w *theirs) mount(path string) {
	_, err := w.vfs.MountAt(w.ctx, w.creds, "", w.at(path), "tmpfs", &vfs.MountOptions{})
	require.NoError(w.t, err)
}

func (w *theirs) umount(path string) {
	// A context with the namespace is slower to walk with, so only this call has it.
	require.NoError(w.t, w.vfs.UmountAt(vfs.WithMountNamespace(w.ctx, w.ns), w.creds, w.at(path), &vfs.UmountOptions{}))
}

// stat is stat(2) as gVisor's own benchmarks have it, with the parsing of the path.
func (w *theirs) stat(path string) error {
	_, err := w.vfs.StatAt(w.ctx, w.creds, &vfs.PathOperation{
		Root: w.root, Start: w.root, Path: fspath.Parse(path), FollowFinalSymlink: true,
	}, &vfs.StatOptions{})
	return err
}

// setUser makes the calls to come those of an unprivileged user.
func (w *theirs) setUser() {
	w.creds = auth.NewUserCredentials(1000, 1000, nil, nil, w.creds.UserNamespace)
}

// fixedClock stands still.
type fixedClock struct{ ktime.Clock }

func (fixedClock) Now() ktime.Time { return ktime.FromSeconds(1) }
