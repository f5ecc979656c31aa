package syscall_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/fs/unionfs"
	"cloister/syscall"
	"cloister/vfs"
)

// TestUnionLocks: locks are the union's, whatever layer a file is in, and stay when it is copied up.
func TestUnionLocks(t *testing.T) {
	lower := keptOpen{ramfs.New(ramfs.Config{})}
	inside(t, lower, func(task *syscall.Task) { tree(t, task, "f", "other") })
	union, err := unionfs.New(t.Context(), unionfs.StackConfig{
		Layers: []vfs.FileSystem{ramfs.New(ramfs.Config{}), lower},
		Upper:  unionfs.UpperWritable,
	})
	require.NoError(t, err)
	inside(t, union, func(task *syscall.Task) {
		before := mustOpen(t, task, "f", unix.O_RDONLY)
		require.NoError(t, task.Flock(before, unix.LOCK_EX))
		require.NoError(t, task.FcntlFlock(before, unix.F_OFD_SETLK, rlk(0, 4)))
		var st unix.Stat_t
		require.NoError(t, task.Fstat(before, &st))

		after := mustOpen(t, task, "f", unix.O_RDWR) // copies up
		_, err := task.Write(after, []byte("new"))
		require.NoError(t, err)
		require.ErrorIs(t, task.Flock(after, unix.LOCK_SH|unix.LOCK_NB), unix.EAGAIN)
		require.ErrorIs(t, task.FcntlFlock(after, unix.F_OFD_SETLK, wlk(0, 1)), unix.EAGAIN)
		require.NoError(t, task.FcntlFlock(after, unix.F_OFD_SETLK, wlk(4, 1)))
		require.NoError(t, task.Rename("f", "g"))
		renamed := mustOpen(t, task, "g", unix.O_RDONLY)
		require.ErrorIs(t, task.Flock(renamed, unix.LOCK_SH|unix.LOCK_NB), unix.EAGAIN)
		require.NoError(t, task.Close(before))
		require.NoError(t, task.Flock(after, unix.LOCK_EX|unix.LOCK_NB))
	})
}

// keptOpen is a file system that outlives its mount.
type keptOpen struct{ vfs.FileSystem }

func (keptOpen) Close(context.Context, vfs.CloseMode) error { return nil }

// inside calls do with a process in a namespace whose root is fs.
func inside(t *testing.T, fs vfs.FileSystem, do func(task *syscall.Task)) {
	t.Helper()
	ns, err := vfs.New(vfs.Config{Root: fs, RootType: "test"})
	require.NoError(t, err)
	task := syscall.NewTask(ns, vfs.RootCred())
	do(task)
	task.Exit()
	require.NoError(t, ns.Close(t.Context()), "everything is released at the end")
}
