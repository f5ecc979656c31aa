package kernel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/replay"
)

// Numbers of descriptors that every process keeps and no script sees.
const (
	hostRootFD = 900 // the root of the machine
	rootFD     = 901 // the root of the processes
	cwdFD      = 902 // the working directory, while a child is made
)

// System is the kernel of this machine.
type System struct {
	dir string // where the root is mounted
}

// Start makes a new mount namespace with an empty root and its first process.
// The kernel has no identity.
func (s *System) Start(context.Context, replay.Identity) (replay.Task, error) {
	dir, err := os.MkdirTemp("", "harness-root-")
	if err != nil {
		return nil, err
	}
	t, err := startThread()
	if err != nil {
		return nil, err
	}
	if err := t.do(func() error { return enterNewRoot(dir) }); err != nil {
		t.stop()
		os.Remove(dir)
		return nil, fmt.Errorf("make a root in %s: %w", dir, err)
	}
	s.dir = dir
	return &task{thread: t}, nil
}

func enterNewRoot(dir string) error {
	steps := []func() error{
		func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		func() error { return unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("none", dir, "tmpfs", 0, "mode=0755") },
		func() error { return openAs("/", hostRootFD) },
		func() error { return openAs(dir, rootFD) },
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
func (s *System) Stop(context.Context) error { return os.Remove(s.dir) }

// Kill is Stop: a kernel keeps what was written.
func (s *System) Kill() { os.Remove(s.dir) }

// mountAs makes the mounts of the LibOS from the kernel's.
func mountAs(source, target, fstype string, flags uintptr, options map[string]string) error {
	mnt, err := detached(source, fstype, options)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	attr := unix.MountAttr{}
	for _, f := range [...]struct{ ms, attr uint64 }{
		{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY}, {unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID}, {unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC}, {unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW}, {unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
	} {
		if uint64(flags)&f.ms != 0 {
			attr.Attr_set |= f.attr
		}
	}
	if flags&unix.MS_NOATIME != 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_NOATIME
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return err
	}
	err = unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	if err == unix.EINVAL {
		var st unix.Stat_t
		if unix.Stat(target, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.ENOTDIR // what mount(2) says
		}
	}
	return err
}

// detached makes a mount that is nowhere yet. Directories of the host are
// named relative to the root of the machine.
func detached(source, fstype string, options map[string]string) (int, error) {
	switch fstype {
	case "ramfs":
		return newMount("tmpfs", source, map[string]string{"mode": "0755"})
	case "hostfs", "sefs":
		return unix.OpenTree(hostRootFD, filepath.Clean("./"+options["dir"]), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	case "unionfs":
		return unionMount(source, options)
	}
	return -1, unix.ENODEV
}

// unionMount makes an overlay; the work directory lies beside the upper one.
func unionMount(source string, options map[string]string) (fd int, err error) {
	back, err := unix.Open(".", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(back)
	if err := unix.Fchdir(hostRootFD); err != nil {
		return -1, err
	}
	defer unix.Fchdir(back)
	upper := filepath.Clean("./" + options["upperdir"])
	work := upper + ".work"
	if err := unix.Mkdir(work, 0o700); err != nil && err != unix.EEXIST {
		return -1, err
	}
	return newMount("overlay", source, map[string]string{
		"lowerdir": filepath.Clean("./" + options["lowerdir"]), "upperdir": upper, "workdir": work,
		"index": "on", "redirect_dir": "off", "metacopy": "off",
	})
}

func newMount(fstype, source string, options map[string]string) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return -1, err
	}
	for key, value := range options {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}
