package gvisor_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/syscall"
	"cloister/vfs"
)

// ours is Cloister's VFS with a ramfs as its root.
type ours struct {
	t    testing.TB
	ctx  context.Context
	view *vfs.View
	task *syscall.Task
}

func newOurs(t testing.TB) *ours {
	ns, err := vfs.New(vfs.Config{Root: ramfs.New(ramfs.Config{}), RootType: "ramfs", Types: []vfs.FileSystemType{ramfs.Type{}}})
	require.NoError(t, err)
	w := &ours{t: t, ctx: context.Background(), view: ns.NewView(vfs.RootCred()), task: syscall.NewTask(ns, vfs.RootCred())}
	t.Cleanup(func() {
		w.task.Exit()
		w.view.Release()
		require.NoError(t, ns.Close(w.ctx))
	})
	return w
}

func (w *ours) mkdir(path string) { require.NoError(w.t, w.task.Mkdir(path, 0o755)) }

func (w *ours) create(path string) {
	require.NoError(w.t, w.view.MknodAt(w.ctx, vfs.Path{}, path, unix.S_IFREG|0o644, 0))
}

func (w *ours) mount(path string) {
	require.NoError(w.t, w.task.Mount("", path, "ramfs", 0, ""))
}

func (w *ours) umount(path string) { require.NoError(w.t, w.task.Umount2(path, 0)) }

// stat is stat(2) without the part of the process.
func (w *ours) stat(path string) error {
	_, _, err := w.view.GetattrAt(w.ctx, vfs.Path{}, path, vfs.WalkFollow, unix.STATX_BASIC_STATS)
	return err
}

// taskStat is stat(2) in full.
func (w *ours) taskStat(path string) error {
	var st unix.Stat_t
	return w.task.Stat(path, &st)
}

// setUser makes the calls to come those of an unprivileged user.
func (w *ours) setUser() {
	w.view.SetCred(&vfs.Cred{EUID: 1000, EGID: 1000})
	require.NoError(w.t, w.task.Setresuid(1000, 1000, 1000))
}
