package syscall

import (
	"context"

	"golang.org/x/sys/unix"
)

// Umount removes the topmost mount on target, as umount(2) does: Umount2
// without flags.
func (t *Task) Umount(target string) error { return t.Umount2(target, 0) }

// Umount2 removes the topmost mount on target, as umount2(2) does; flags holds
// MNT_FORCE, MNT_DETACH, MNT_EXPIRE and UMOUNT_NOFOLLOW.
//
// Errors: EINVAL for unknown flags, a target that is no mount point, and
// MNT_EXPIRE with MNT_FORCE or MNT_DETACH; EPERM for "/" and for callers that
// are not root; EBUSY while the mount is in use; EAGAIN for the first
// MNT_EXPIRE; those of a walk; those of the last flush, which leave the mount
// in place.
func (t *Task) Umount2(target string, flags int) error {
	const known = unix.MNT_FORCE | unix.MNT_DETACH | unix.MNT_EXPIRE | unix.UMOUNT_NOFOLLOW
	if flags&^known != 0 {
		return unix.EINVAL
	}
	if err := getname(target); err != nil {
		return err
	}
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	return fs.view.Umount2(context.Background(), target, flags)
}
