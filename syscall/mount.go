package syscall

import (
	"context"

	"golang.org/x/sys/unix"
)

// Mount makes a new mount of type fstype on the directory target, as mount(2)
// does; flags holds MS_* bits, data the options of the file system. It takes
// effect for all processes of the namespace at once. docs/mount.md lists types,
// options and every errno.
//
// Errors: EINVAL for a fstype, source or data of 4096 bytes or more, for
// MS_REMOUNT, MS_BIND, MS_MOVE and the propagation flags, for bad options;
// ENODEV for an unknown fstype; EPERM for "/" and for callers that are not root;
// those of a walk; those of the file system.
func (t *Task) Mount(source, target, fstype string, flags uintptr, data string) error {
	// The copies of these strings come before anything else (fs/namespace.c:
	// mount); they are not paths, so their length is EINVAL.
	for _, s := range [...]string{fstype, source, data} {
		if len(s) >= unix.PathMax {
			return unix.EINVAL
		}
	}
	if err := getname(target); err != nil {
		return err
	}
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	return fs.view.Mount(context.Background(), source, target, fstype, flags, data)
}
