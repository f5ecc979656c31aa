package sefs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// whiteoutIno is the inode number that whiteouts show; no file has it.
const whiteoutIno = 2

// whiteout is what the lookup of a whiteout shows: a character device 0:0.
// On the volume it is a kind of directory entry without an inode.
type whiteout struct{ vfs.InodeState }

var _ vfs.Inode = (*whiteout)(nil)

func newWhiteout() *whiteout {
	w := &whiteout{}
	w.Pin()
	return w
}

// Getattr implements vfs.Inode.
func (w *whiteout) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) {
	return vfs.Attr{
		Mask: attrMask, Mode: unix.S_IFCHR, Nlink: 1, Ino: whiteoutIno, Blksize: format.BlockSize,
	}, nil
}

// Setattr implements vfs.Inode: a whiteout has no attributes to change.
func (w *whiteout) Setattr(ctx context.Context, sa vfs.SetAttr) error { return unix.EPERM }

// Xattrs implements vfs.Inode: a whiteout has none.
func (w *whiteout) Xattrs() vfs.Xattrs { return nil }

// Evict implements vfs.Inode.
func (w *whiteout) Evict(ctx context.Context) error { return nil }
