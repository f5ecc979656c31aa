package hostfs

import (
	"bytes"
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// xattrs are the extended attributes of a file: those in the namespace "user.", which mean
// nothing to the host's kernel.
type xattrs inode

var _ vfs.Xattrs = (*xattrs)(nil)

// userSpace is the namespace that goes to the host.
const userSpace = "user."

// maxXattrName is the longest name in bytes (limits.h: XATTR_NAME_MAX).
const maxXattrName = 255

func (i *inode) xattrs() vfs.Xattrs {
	if i.fs.gate.caps&CanXattr == 0 {
		return nil
	}
	return (*xattrs)(i)
}

// Xattrs implements vfs.Inode.
func (i *regular) Xattrs() vfs.Xattrs { return i.xattrs() }

// Xattrs implements vfs.Inode.
func (d *dir) Xattrs() vfs.Xattrs { return d.xattrs() }

// use calls f with a descriptor of the file, if name may go to the host.
//
// Errors: EOPNOTSUPP for names of other namespaces.
func (x *xattrs) use(name string, f func(g *gate, fd FD) error) error {
	if !validXattr(name) {
		return unix.EOPNOTSUPP
	}
	i := (*inode)(x)
	d, err := i.acquire()
	if err != nil {
		return err
	}
	defer d.put()
	return f(i.fs.gate, d.fd)
}

func validXattr(name string) bool {
	return len(name) > len(userSpace) && len(name) <= maxXattrName &&
		strings.HasPrefix(name, userSpace) && strings.IndexByte(name, 0) < 0
}

// Getxattr implements vfs.Xattrs.
func (x *xattrs) Getxattr(ctx context.Context, name string) (value []byte, err error) {
	err = x.use(name, func(g *gate, fd FD) (err error) {
		value, err = g.getxattr(fd, name)
		return err
	})
	return value, err
}

// Setxattr implements vfs.Xattrs.
func (x *xattrs) Setxattr(ctx context.Context, name string, value []byte, flags int) error {
	return x.use(name, func(g *gate, fd FD) error { return g.setxattr(fd, name, value, flags) })
}

// Removexattr implements vfs.Xattrs.
func (x *xattrs) Removexattr(ctx context.Context, name string) error {
	return x.use(name, func(g *gate, fd FD) error { return g.removexattr(fd, name) })
}

// Listxattr implements vfs.Xattrs. Names that cannot be, or are not for us, are left out.
func (x *xattrs) Listxattr(ctx context.Context) (names []string, err error) {
	i := (*inode)(x)
	d, err := i.acquire()
	if err != nil {
		return nil, err
	}
	defer d.put()
	list, err := i.fs.gate.listxattr(d.fd)
	if err != nil {
		return nil, err
	}
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if validXattr(string(name)) {
			names = append(names, string(name))
		}
	}
	return names, nil
}
