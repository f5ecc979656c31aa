package kernel

import (
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount makes what stands for the LibOS's file system types. The target is
// looked at first, as mount(2) does.
func (t *Task) Mount(source, target, fstype string, flags uintptr, data string) error {
	var at Target
	if err := t.do(func() (err error) { at, err = lookAt(target); return err }); err != nil {
		return err
	}
	return t.system.mount(t.thread, source, at, fstype, flags, data, func(mnt int) error { return place(mnt, target, flags) })
}

// mount makes a mount that is nowhere yet and calls use with it on thread t.
func (s *System) mount(t *thread, source string, target Target, fstype string, flags uintptr, data string, use func(mnt int) error) error {
	if s.Mounter == nil {
		return t.do(func() error {
			mnt, err := detached(source, fstype, data)
			if err != nil {
				return err
			}
			defer unix.Close(mnt)
			return use(mnt)
		})
	}
	inherit.RLock()
	defer inherit.RUnlock()
	d, err := s.Mounter.Mount(source, target, fstype, flags, data)
	if err != nil {
		return err
	}
	err = t.do(func() error {
		mnt, err := fetch(d)
		if err != nil {
			return err
		}
		defer unix.Close(mnt)
		return use(mnt)
	})
	if releaseErr := d.Release(); err == nil {
		err = releaseErr
	}
	return err
}

// fetch gets the descriptor of another process.
func fetch(d Detached) (int, error) {
	pidfd, err := unix.PidfdOpen(d.PID, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, d.FD, 0)
}

// lookAt finds the errors that mount(2) finds before it looks at the type: those
// of the walk, then that of a caller without privilege.
func lookAt(target string) (t Target, err error) {
	const mask = unix.STATX_TYPE | unix.STATX_INO | unix.STATX_MNT_ID
	var at, root unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, target, 0, mask, &at); err != nil {
		return t, err
	}
	if unix.Geteuid() != 0 {
		return t, unix.EPERM
	}
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, mask, &root); err != nil {
		return t, err
	}
	t.Dir = at.Mode&unix.S_IFMT == unix.S_IFDIR
	t.Root = at.Mnt_id == root.Mnt_id && at.Ino == root.Ino
	return t, nil
}

// place mounts mnt on target with the attributes that flags, MS_* bits, say.
func place(mnt int, target string, flags uintptr) error {
	attr := unix.MountAttr{}
	for _, f := range [...]struct{ ms, attr uint64 }{
		{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY}, {unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID}, {unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC}, {unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW}, {unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
	} {
		if uint64(flags)&f.ms != 0 {
			attr.Attr_set |= f.attr
		}
	}
	// A FUSE mount has these two, which the caller did not ask for.
	attr.Attr_clr |= (unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV) &^ attr.Attr_set
	if flags&unix.MS_NOATIME != 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_NOATIME
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return err
	}
	err := unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	if errors.Is(err, unix.EINVAL) {
		var st unix.Stat_t
		if unix.Stat(target, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.ENOTDIR // what mount(2) says
		}
	}
	return err
}

// detached makes a mount that is nowhere yet. Directories of the host are
// named relative to the root of the machine.
func detached(source, fstype, data string) (int, error) {
	options := map[string]string{}
	for o := range strings.SplitSeq(data, ",") {
		if key, value, _ := strings.Cut(o, "="); o != "" {
			options[key] = value
		}
	}
	switch fstype {
	case "ramfs":
		return newMount("tmpfs", source, options)
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
