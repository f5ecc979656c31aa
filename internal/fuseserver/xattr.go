package fuseserver

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// shownXattr reports whether the mount has the namespace of name: user.* and
// trusted.*. Labels and capabilities of security.* mean nothing on a nosuid mount of
// another system's image, and ACLs (system.*) are not kept.
func shownXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.")
}

// xattrPath returns the file for a call on the attribute name. The kernel has checked
// permission (fs/xattr.c: xattr_permission).
func (fs *fileSystem) xattrPath(id uint64, name string) (vfs.Path, fuse.Status) {
	n := fs.nodes.get(id)
	switch {
	case n == nil:
		return vfs.Path{}, fuse.Status(unix.ESTALE)
	case !shownXattr(name):
		return vfs.Path{}, fuse.ENOTSUP
	}
	return n.path, fuse.OK
}

// GetXAttr does getxattr(2).
func (fs *fileSystem) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dst []byte) (uint32, fuse.Status) {
	p, code := fs.xattrPath(in.NodeId, name)
	if !code.Ok() {
		return 0, code
	}
	value, err := vfs.Getxattr(context.Background(), fs.cred, p, name)
	if err != nil {
		return 0, fs.status("getxattr", err)
	}
	if len(value) > len(dst) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dst, value)), fuse.OK
}

// ListXAttr does listxattr(2).
func (fs *fileSystem) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dst []byte) (uint32, fuse.Status) {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return 0, fuse.Status(unix.ESTALE)
	}
	names, err := vfs.Listxattr(context.Background(), fs.cred, n.path)
	if err != nil {
		return 0, fs.status("listxattr", err)
	}
	// The kernel shows all that it gets. Who has CAP_SYS_ADMIN is not known here; root stands for it.
	names = slices.DeleteFunc(names, func(name string) bool {
		return !shownXattr(name) || in.Uid != 0 && strings.HasPrefix(name, "trusted.")
	})
	size := 0
	for _, name := range names {
		size += len(name) + 1
	}
	if size > len(dst) {
		return uint32(size), fuse.ERANGE
	}
	list := dst[:0]
	for _, name := range names {
		list = append(append(list, name...), 0)
	}
	return uint32(size), fuse.OK
}

// SetXAttr does setxattr(2).
func (fs *fileSystem) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	p, code := fs.xattrPath(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	// The request's buffer is used again; a driver may keep the value.
	return fs.status("setxattr", vfs.Setxattr(context.Background(), fs.cred, p, name, bytes.Clone(value), int(in.Flags)))
}

// RemoveXAttr does removexattr(2).
func (fs *fileSystem) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	p, code := fs.xattrPath(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	return fs.status("removexattr", vfs.Removexattr(context.Background(), fs.cred, p, name))
}
