package unionfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// The union's records, extended attributes on files of the upper layer. They
// are not shown through the union, not taken from its users and not copied up.
// docs/unionfs.md describes them.
const (
	xattrPrefix = "overlay."

	xattrOpaque = xattrPrefix + "opaque" // directory: nothing below is merged
	xattrImpure = xattrPrefix + "impure" // directory: some entries have an origin
	xattrOrigin = xattrPrefix + "origin" // copy: the lower file
	xattrNlink  = xattrPrefix + "nlink"  // copy of a hard link: see linkCount
	xattrIndex  = xattrPrefix + "index"  // directory: the index of hard links
	xattrRoot   = xattrPrefix + "root"   // upper root: has the attributes of the root below
)

// xattrYes is the value of the attributes that are marks.
var xattrYes = []byte("y")

// isPrivate reports whether name belongs to stacking drivers.
func isPrivate(name string) bool { return strings.HasPrefix(name, xattrPrefix) }

// marked reports whether the file of a layer carries the mark name. A layer
// without extended attributes carries none.
func marked(ctx context.Context, f *layerFile, name string) (bool, error) {
	v, err := getPrivate(ctx, f, name)
	return string(v) == string(xattrYes), err
}

// getPrivate returns a record of a layer's file, nil if there is none.
func getPrivate(ctx context.Context, f *layerFile, name string) ([]byte, error) {
	x := f.inode.Xattrs()
	if x == nil {
		return nil, nil
	}
	v, err := x.Getxattr(ctx, name)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	return v, err
}

// setPrivate sets a record of a file of the upper layer.
func setPrivate(ctx context.Context, f *layerFile, name string, value []byte) error {
	x := f.inode.Xattrs()
	if x == nil {
		return unix.EOPNOTSUPP
	}
	return x.Setxattr(ctx, name, value, 0)
}

// An origin names the lower file that a file of the upper layer is a copy of.
// Its encoding has a version byte, the identity of the layer and the driver's
// inode number, both big endian.
type origin struct {
	layer uint64 // layer.id
	ino   uint64
}

const (
	originVersion = 1
	originLen     = 1 + 8 + 8
)

func (o origin) encode() []byte {
	b := make([]byte, 0, originLen)
	b = append(b, originVersion)
	b = binary.BigEndian.AppendUint64(b, o.layer)
	return binary.BigEndian.AppendUint64(b, o.ino)
}

// decodeOrigin reads a record. Errors: EIO if it is none.
func decodeOrigin(b []byte) (origin, error) {
	if len(b) != originLen || b[0] != originVersion {
		return origin{}, fmt.Errorf("unionfs: bad origin record of %d bytes: %w", len(b), unix.EIO)
	}
	return origin{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])}, nil
}

// readOrigin returns the key of the lower file that f is a copy of. ok is false if f is no
// copy, or one of a layer that is not in this stack.
func (fs *FS) readOrigin(ctx context.Context, f *layerFile) (k key, ok bool, err error) {
	b, err := getPrivate(ctx, f, xattrOrigin)
	if b == nil || err != nil {
		return key{}, false, err
	}
	o, err := decodeOrigin(b)
	if err != nil {
		return key{}, false, err
	}
	for _, l := range fs.layers {
		if l.id == o.layer && !l.isUpper() {
			return key{l.number, o.ino}, true, nil
		}
	}
	return key{}, false, nil
}

// copiedXattrs returns the extended attributes that a copy of f takes along.
func copiedXattrs(ctx context.Context, f *layerFile) (map[string][]byte, error) {
	m := make(map[string][]byte)
	x := f.inode.Xattrs()
	if x == nil {
		return m, nil
	}
	names, err := x.Listxattr(ctx)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if isPrivate(name) {
			continue
		}
		if m[name], err = x.Getxattr(ctx, name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// xattrs are the extended attributes of a file of the union.
type xattrs struct{ of unionInode }

var _ vfs.Xattrs = (*xattrs)(nil)

func (x *xattrs) real() (vfs.Xattrs, error) {
	r := x.of.base().real.Load().inode.Xattrs()
	if r == nil {
		return nil, unix.EOPNOTSUPP
	}
	return r, nil
}

// upper copies the file up.
func (x *xattrs) upper(ctx context.Context) (vfs.Xattrs, error) {
	if _, err := x.of.copyUpWhole(ctx); err != nil {
		return nil, err
	}
	return x.real()
}

// Getxattr implements vfs.Xattrs.
func (x *xattrs) Getxattr(ctx context.Context, name string) ([]byte, error) {
	if isPrivate(name) {
		return nil, unix.ENODATA
	}
	r, err := x.real()
	if err != nil {
		return nil, err
	}
	return r.Getxattr(ctx, name)
}

// Setxattr implements vfs.Xattrs. A call that must fail does not copy the file up.
func (x *xattrs) Setxattr(ctx context.Context, name string, value []byte, flags int) error {
	if isPrivate(name) {
		return unix.EOPNOTSUPP
	}
	if flags&(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		_, err := x.Getxattr(ctx, name)
		switch {
		case err == nil && flags&unix.XATTR_CREATE != 0:
			return unix.EEXIST
		case errors.Is(err, unix.ENODATA) && flags&unix.XATTR_REPLACE != 0:
			return unix.ENODATA
		case err != nil && !errors.Is(err, unix.ENODATA):
			return err
		}
	}
	r, err := x.upper(ctx)
	if err != nil {
		return err
	}
	return r.Setxattr(ctx, name, value, flags)
}

// Listxattr implements vfs.Xattrs.
func (x *xattrs) Listxattr(ctx context.Context) ([]string, error) {
	r, err := x.real()
	if err != nil {
		return nil, err
	}
	names, err := r.Listxattr(ctx)
	if err != nil {
		return nil, err
	}
	shown := make([]string, 0, len(names))
	for _, name := range names {
		if !isPrivate(name) {
			shown = append(shown, name)
		}
	}
	return shown, nil
}

// Removexattr implements vfs.Xattrs. A call that must fail does not copy the file up.
func (x *xattrs) Removexattr(ctx context.Context, name string) error {
	if _, err := x.Getxattr(ctx, name); err != nil {
		return err
	}
	r, err := x.upper(ctx)
	if err != nil {
		return err
	}
	return r.Removexattr(ctx, name)
}
