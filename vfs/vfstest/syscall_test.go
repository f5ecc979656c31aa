package vfstest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/ramfs"
	"cloister/syscall"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

// TestSystemCalls runs the suite by the system calls of the library OS.
func TestSystemCalls(t *testing.T) {
	t.Parallel()
	vfstest.RunTasks(t, vfstest.System{
		Start: func(t *testing.T, prepare func(vfstest.Task)) vfstest.Task {
			ns, err := vfs.New(vfs.Config{
				Root: ramfs.New(ramfs.Config{}), RootType: "ramfs", Types: []vfs.FileSystemType{ramfs.Type{}},
			})
			require.NoError(t, err, "new namespace")
			t.Cleanup(func() { require.NoError(t, ns.Close(context.Background()), "close namespace") })
			first := libosTask{syscall.NewTask(ns, vfs.RootCred())}
			prepare(first)
			return first
		},
		Type: "ramfs",
	})
}

// libosTask makes a syscall.Task a vfstest.Task.
type libosTask struct{ *syscall.Task }

func (t libosTask) Fork() (vfstest.Task, error) { return libosTask{t.Task.Fork()}, nil }
