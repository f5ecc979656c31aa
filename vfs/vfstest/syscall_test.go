package vfstest_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/ramfs"
	"cloister/fs/sefs"
	"cloister/syscall"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

// TestSystemCalls runs the suite by the system calls of the library OS, with ramfs and with SEFS as the root.
//
// It is not parallel: a process of the kernel's side begins with copies of all descriptors here, that of a
// locked image among them.
func TestSystemCalls(t *testing.T) {
	images := sefs.NewType(sefs.Config{CommitInterval: -1})
	for name, newRoot := range map[string]func(t *testing.T) vfs.FileSystem{
		"ramfs": func(*testing.T) vfs.FileSystem { return ramfs.New(ramfs.Config{}) },
		"sefs": func(t *testing.T) vfs.FileSystem {
			dir, err := os.MkdirTemp("/dev/shm", "vfstest") // in memory: hundreds of images
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
			root, err := images.Mount(t.Context(), vfs.MountRequest{Data: "dir=" + dir + ",key=000102030405060708090a0b0c0d0e0f"})
			require.NoError(t, err)
			return root
		},
	} {
		t.Run(name, func(t *testing.T) {
			vfstest.RunTasks(t, vfstest.System{
				Start: func(t *testing.T, prepare func(vfstest.Task)) vfstest.Task {
					ns, err := vfs.New(vfs.Config{
						Root: newRoot(t), RootType: name, Types: []vfs.FileSystemType{ramfs.Type{}},
					})
					require.NoError(t, err, "new namespace")
					t.Cleanup(func() { require.NoError(t, ns.Close(context.Background()), "close namespace") })
					first := libosTask{syscall.NewTask(ns, vfs.RootCred())}
					prepare(first)
					return first
				},
				Type: "ramfs",
			})
		})
	}
}

// libosTask makes a syscall.Task a vfstest.Task.
type libosTask struct{ *syscall.Task }

func (t libosTask) Fork() (vfstest.Task, error) { return libosTask{t.Task.Fork()}, nil }
