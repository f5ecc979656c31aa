package vfstest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/kernel"
	"cloister/internal/testenv"
	"cloister/vfs/vfstest"
)

// The tests below run the suite on the kernel's own file systems, which shows that what it expects is right.

// lacksTmpfs is what the kernel's tmpfs lacks, and with it an overlay on it.
func lacksTmpfs(t *testing.T) vfstest.Feature {
	t.Helper()
	protects, err := kernel.ProtectsLinks()
	require.NoError(t, err)
	if !protects {
		return vfstest.ZeroRange | vfstest.ShiftRange | vfstest.ProtectedLinks
	}
	return vfstest.ZeroRange | vfstest.ShiftRange
}

// lacksOverlay is what the kernel's overlayfs lacks: its root is a merged directory, those have one link, and ".." there
// has the inode number of a layer.
func lacksOverlay(t *testing.T) vfstest.Feature {
	t.Helper()
	return lacksTmpfs(t) | vfstest.DirLinks | vfstest.RootParent | vfstest.Whiteouts
}

func TestKernelTmpfs(t *testing.T) {
	t.Parallel()
	testenv.NeedRoot(t)
	runKernel(t, "tmpfs", lacksTmpfs(t), func(t *testing.T, first task, prepare func(vfstest.Task)) {
		prepare(first)
	})
}

func TestKernelOverlay(t *testing.T) {
	t.Parallel()
	testenv.NeedRoot(t)
	testenv.NeedKernelOverlay(t)
	runKernel(t, "overlay", lacksOverlay(t), func(t *testing.T, first task, prepare func(vfstest.Task)) {
		enterOverlay(t, first)
		prepare(first)
	})
}

// TestKernelOverlayLower has the files with which a test begins in the lower layer.
func TestKernelOverlayLower(t *testing.T) {
	t.Parallel()
	testenv.NeedRoot(t)
	testenv.NeedKernelOverlay(t)
	lacks := lacksOverlay(t) | vfstest.LowerDirs // without redirect_dir
	runKernel(t, "overlay", lacks, func(t *testing.T, first task, prepare func(vfstest.Task)) {
		lower, err := first.Task.Fork()
		require.NoError(t, err, "fork")
		require.NoError(t, lower.Do(func() error {
			if err := unix.Mkdir("/lower", 0o755); err != nil {
				return err
			}
			return enter("/lower")
		}), "enter the lower layer")
		prepare(task{lower})
		lower.Exit()
		enterOverlay(t, first)
	})
}

// runKernel runs the suite on the kernel. set makes the root of a new process, which is an empty tmpfs, what is
// tested.
func runKernel(t *testing.T, kind string, lacks vfstest.Feature, set func(*testing.T, task, func(vfstest.Task))) {
	vfstest.RunTasks(t, vfstest.System{
		Start: func(t *testing.T, prepare func(vfstest.Task)) vfstest.Task {
			first := start(t)
			set(t, first, prepare)
			return first
		},
		Type:      kind,
		HugeFiles: true,
		Lacks:     lacks,
	})
}

// start starts a process whose root is an empty tmpfs.
func start(t *testing.T) task {
	t.Helper()
	s := &kernel.System{Mounter: mounter{}}
	first, err := s.Start()
	require.NoError(t, err, "start")
	t.Cleanup(func() { require.NoError(t, s.Stop(), "stop") })
	return task{first}
}

// enter makes a directory the root of the calling process.
func enter(dir string) error {
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// enterOverlay makes an overlay of the directories lower and upper of its root the root of a process.
func enterOverlay(t *testing.T, p task) {
	t.Helper()
	require.NoError(t, p.Do(func() error {
		options, err := layers("/")
		if err != nil {
			return err
		}
		mnt, err := newMount("overlay", options)
		if err != nil {
			return err
		}
		defer unix.Close(mnt)
		if err := unix.Mkdir("/merged", 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(mnt, "", unix.AT_FDCWD, "/merged", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return err
		}
		return enter("/merged")
	}), "overlay")
}

// layers makes the directories of an overlay in dir, as far as they are missing, and returns the options that name
// them.
func layers(dir string) (map[string]string, error) {
	options := map[string]string{"index": "on", "redirect_dir": "off", "metacopy": "off"}
	for _, name := range []string{"lower", "upper", "work"} {
		path := filepath.Join(dir, name)
		if err := unix.Mkdir(path, 0o755); err != nil && err != unix.EEXIST {
			return nil, err
		}
		options[name+"dir"] = path
	}
	return options, nil
}

// task makes a kernel.Task a vfstest.Task.
type task struct{ *kernel.Task }

func (t task) Fork() (vfstest.Task, error) {
	c, err := t.Task.Fork()
	if err != nil {
		return nil, err
	}
	return task{c}, nil
}

// mounter makes new, empty file systems.
type mounter struct{}

func (mounter) Mount(_ string, _ kernel.Target, fstype string, _ uintptr, _ string) (kernel.Detached, error) {
	fd, err := -1, error(nil)
	if fstype == "overlay" {
		err = kernel.OnThread(func() (err error) {
			fd, err = newOverlay()
			return err
		})
	} else {
		fd, err = newTmpfs()
	}
	if err != nil {
		return kernel.Detached{}, err
	}
	return kernel.Detached{PID: os.Getpid(), FD: fd, Release: func() error { return unix.Close(fd) }}, nil
}

func newTmpfs() (int, error) { return newMount("tmpfs", map[string]string{"mode": "0755"}) }

// newOverlay makes an overlay of two empty directories of a tmpfs that nobody else sees.
//
// Preconditions: the calling thread is of no other use.
func newOverlay() (int, error) {
	if err := kernel.PrivateMounts(); err != nil {
		return -1, err
	}
	dir := os.TempDir()
	if err := unix.Mount("layers", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return -1, err
	}
	options, err := layers(dir)
	if err != nil {
		return -1, err
	}
	return newMount("overlay", options)
}

// newMount makes a mount of a new file system.
func newMount(fstype string, options map[string]string) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen %s: %w", fstype, err)
	}
	defer unix.Close(fs)
	for key, value := range options {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return -1, fmt.Errorf("fsconfig %s=%s: %w", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("fsconfig create %s: %w", fstype, err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}
