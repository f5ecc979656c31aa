package kernel

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Numbers of descriptors that every process keeps and nobody sees.
const (
	hostRootFD = 900 // the root of the machine
	rootFD     = 901 // the root and
	cwdFD      = 902 // the working directory, while a child is made
)

// ProtectsLinks reports whether the kernel lets users make links only to files of
// their own or that they can write (fs.protected_hardlinks, proc_sys_fs(5)).
func ProtectsLinks() (bool, error) {
	v, err := os.ReadFile("/proc/sys/fs/protected_hardlinks")
	return string(v) == "1\n", err
}

// System is the kernel of this machine.
type System struct {
	// Mounter makes the mounts, the root among them; nil: overlayfs stands for
	// unionfs, a bind mount for hostfs and sefs, tmpfs for ramfs.
	Mounter Mounter

	mu  sync.Mutex
	dir string // where the root is mounted; "": nowhere
}

// A Mounter makes mounts in another process.
type Mounter interface {
	// Mount makes what mount(2) asks for, but nowhere yet.
	Mount(source string, target Target, fstype string, flags uintptr, data string) (Detached, error)
}

// Target is what a Mounter gets to know about the target of mount(2).
type Target struct {
	Root bool // it is the root of the process
	Dir  bool // it is a directory
}

// Detached is a mount that is nowhere yet: descriptor FD of process PID.
type Detached struct {
	PID, FD int
	// Release closes the descriptor there.
	Release func() error
}

// Start makes a new mount namespace with an empty root and its first process.
func (s *System) Start() (*Task, error) {
	dir, err := os.MkdirTemp("", "kernel-root-")
	if err != nil {
		return nil, err
	}
	t, err := startThread()
	if err != nil {
		return nil, err
	}
	err = s.mount(t, "none", Target{Dir: true}, "ramfs", 0, "mode=755", func(mnt int) error { return enterNewRoot(mnt, dir) })
	if err != nil {
		t.stop()
		os.Remove(dir)
		return nil, fmt.Errorf("make a root in %s: %w", dir, err)
	}
	s.mu.Lock()
	s.dir = dir
	s.mu.Unlock()
	return &Task{thread: t, system: s}, nil
}

// enterNewRoot makes mnt the root of the calling thread, in a mount namespace of
// its own.
func enterNewRoot(mnt int, dir string) error {
	steps := []func() error{
		PrivateMounts,
		func() error { return place(mnt, dir, 0) },
		func() error { return openAs("/", hostRootFD) },
		func() error { return unix.Chroot(dir) },
		func() error { return unix.Chdir("/") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	unix.Umask(0o022)
	return nil
}

// openAs opens a directory as descriptor num.
func openAs(path string, num int) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Dup3(fd, num, unix.O_CLOEXEC)
}

// Stop removes the mount point; the namespace has gone with its last process.
// It may be called from any goroutine, also while calls are in progress.
func (s *System) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	err := os.Remove(s.dir)
	s.dir = ""
	return err
}
