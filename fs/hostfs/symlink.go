package hostfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// symlink is a symbolic link. Its target means a path inside, wherever the link was made.
type symlink struct{ inode }

var _ vfs.Symlink = (*symlink)(nil)

// Readlink implements vfs.Symlink.
//
// Errors: ESTALE if the link is not at its place any more.
func (i *symlink) Readlink(ctx context.Context) (target string, err error) {
	if d := i.descriptor(); d != nil {
		defer d.put()
		return i.fs.gate.readlink(d.fd, "")
	}
	err = i.atPlace(0, func(dir FD, name string) (err error) {
		target, err = i.fs.gate.readlink(dir, name)
		return err
	})
	switch {
	case err == nil:
		return target, nil
	case errors.Is(err, unix.EINVAL):
		return "", unix.ESTALE // it is no link any more
	}
	d, err := i.last(err)
	if err != nil {
		return "", err
	}
	defer d.put()
	return i.fs.gate.readlink(d.fd, "")
}
