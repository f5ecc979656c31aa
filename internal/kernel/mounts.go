package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// PrivateMounts gives the calling thread, which must be of no other use, a mount namespace of its own: a copy of
// that of the process, whose mounts tell each other nothing, and without those of FUSE.
func PrivateMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return DetachFUSE()
}

// DetachFUSE detaches the FUSE mounts in the mount namespace of the calling thread, which must be
// its own, with private mounts. A FUSE server ends when the last copy of its mount has gone, so
// a namespace that lives for some time must not keep those of other tests.
func DetachFUSE() error {
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return fmt.Errorf("find FUSE mounts: %w", err)
	}
	lines := strings.Split(string(info), "\n")
	for _, line := range slices.Backward(lines) { // what is mounted last goes first
		mount, filesystem, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(mount); len(fields) > 4 && strings.HasPrefix(filesystem, "fuse") {
			_ = unix.Unmount(unescape.Replace(fields[4]), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // it may be covered: then it stays
		}
	}
	return nil
}

// unescape undoes the octal escapes of proc_pid_mountinfo(5).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
