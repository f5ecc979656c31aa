package fuseserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	device = "/dev/fuse"
	helper = "fusermount3"
)

// Remedy is the advice for containers that lack what FUSE needs.
const Remedy = "in Docker, start the container with --cap-add SYS_ADMIN --device /dev/fuse, or with --privileged"

// MountError says why this machine does not let us mount through FUSE.
type MountError struct {
	Cause string // what is missing
	Hint  string // what to do about it
	Err   error  // holds the errno
}

func (e *MountError) Error() string { return fmt.Sprintf("%s: %v; %s", e.Cause, e.Err, e.Hint) }
func (e *MountError) Unwrap() error { return e.Err }

// Check reports whether there is a FUSE device and a way to mount, as far as that
// can be known without mounting.
//
// Errors: *MountError.
func Check() error {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		_ = unix.Close(fd)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(10, 229) {
			return &MountError{Cause: device + " is not the FUSE device", Hint: Remedy, Err: unix.ENODEV}
		}
		if !mayMount() && !haveHelper() {
			return noRight(unix.EPERM)
		}
		return nil
	}
	e := &MountError{Cause: "cannot open " + device, Hint: Remedy, Err: err}
	switch {
	case errors.Is(err, unix.ENOENT):
		e.Cause = "there is no " + device
		e.Hint = "load the kernel module (modprobe fuse); " + Remedy
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Cause = "the kernel has no FUSE"
		e.Hint = "load the kernel module (modprobe fuse)"
	}
	return e
}

// mount mounts by mount(2), or through fusermount3 where that is not permitted.
func mount(fs *fileSystem, target string, o *fuse.MountOptions) (s *fuse.Server, direct bool, err error) {
	strict := *o
	strict.DirectMountStrict = true
	if s, err = fuse.NewServer(fs, target, &strict); err == nil {
		return s, true, nil
	}
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return nil, false, &MountError{Cause: "mounting through FUSE", Hint: Remedy, Err: fmt.Errorf("%w: %w", unix.EIO, err)}
	}
	if errno != unix.EPERM {
		return nil, false, &MountError{Cause: "mount(2) refuses " + target, Hint: "see dmesg(1)", Err: errno}
	}
	refused := noRight(errno)
	if !haveHelper() {
		return nil, false, refused
	}
	if s, err = fuse.NewServer(fs, target, o); err != nil {
		refused.Cause = "no right to mount, and " + helper + " failed too"
		refused.Hint = "see its message above; " + Remedy
		return nil, false, refused
	}
	return s, false, nil
}

func noRight(err error) *MountError {
	return &MountError{Cause: "no right to mount", Hint: "run as root, or install " + helper + "; " + Remedy, Err: err}
}

func haveHelper() bool {
	_, err := exec.LookPath(helper)
	return err == nil
}

// mayMount reports whether the process has CAP_SYS_ADMIN (mount(2)). If that
// cannot be found out, mounting will tell.
func mayMount() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return true
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// umount does umount2(2) with UMOUNT_NOFOLLOW, or has fusermount3 do it.
func (s *Server) umount(flags int) error {
	err := unix.Unmount(s.target, flags|unix.UMOUNT_NOFOLLOW)
	if s.direct || !errors.Is(err, unix.EPERM) {
		return err
	}
	args := []string{"-u", "-q", "--", s.target}
	if flags&unix.MNT_DETACH != 0 {
		args = append([]string{"-z"}, args...)
	}
	cmd := exec.Command(helper, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		if strings.Contains(stderr.String(), "busy") {
			return unix.EBUSY
		}
		return fmt.Errorf("fuse: %s -u: %w: %w", helper, err, unix.EPERM)
	}
	return nil
}
