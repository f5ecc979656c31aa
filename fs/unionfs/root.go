package unionfs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// adoptRoot gives the root of a fresh upper layer the owner, mode, times and
// extended attributes of the root below, so that the merged view of a new union is the
// lower tree, its root included. overlayfs leaves this to whoever made the upper directory; our
// upper images are made by the mount itself.
//
// The mark is set last: what a crash interrupts is done again.
func (fs *FS) adoptRoot(ctx context.Context) error {
	if !fs.writable.Load() {
		return nil
	}
	upper, _, err := newLayerFile(ctx, fs.upper, fs.upper.root.Get())
	if err != nil {
		return err
	}
	defer upper.path.Put()
	if adopted, err := marked(ctx, upper, xattrRoot); adopted || err != nil {
		return err
	}
	fresh := true
	if err := fs.readLayer(ctx, upper, func(vfs.Dirent) bool { fresh = false; return false }); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	below := fs.layers[1]
	lower, _, err := newLayerFile(ctx, below, below.root.Get())
	if err != nil {
		return err
	}
	defer lower.path.Put()
	if err := copyRoot(ctx, upper, lower); err != nil {
		return err
	}
	return setPrivate(ctx, upper, xattrRoot, xattrYes)
}

func copyRoot(ctx context.Context, upper, lower *layerFile) error {
	xattrs, err := copiedXattrs(ctx, lower)
	if err != nil {
		return err
	}
	for name, value := range xattrs {
		if err := upper.inode.Xattrs().Setxattr(ctx, name, value, 0); err != nil {
			return err
		}
	}
	attr, err := lower.inode.Getattr(ctx, unix.STATX_BASIC_STATS)
	if err != nil {
		return err
	}
	return upper.inode.Setattr(ctx, vfs.SetAttr{
		Mask:  unix.STATX_MODE | unix.STATX_UID | unix.STATX_GID | unix.STATX_ATIME | unix.STATX_MTIME,
		Mode:  attr.Mode & 07777,
		UID:   attr.UID,
		GID:   attr.GID,
		Atime: attr.Atime,
		Mtime: attr.Mtime,
	})
}
