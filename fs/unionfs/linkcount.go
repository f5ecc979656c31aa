package unionfs

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// A linkCount is the record about the names of a hard link's copy. Either value
// is the number of names in the union less the number of links of the copy, which
// stays right when a name and a link come or go together; or it is the number of names
// itself, while a link is made that is no new name. So the record is right
// at any moment, also after a crash. (fs/overlayfs/util.c: ovl_nlink_start)
type linkCount struct {
	absolute bool
	value    int64
}

func (c linkCount) encode() []byte {
	if c.absolute {
		return strconv.AppendInt([]byte{'A'}, c.value, 10)
	}
	return strconv.AppendInt([]byte{'U'}, c.value, 10)
}

// decodeLinkCount reads a record. Errors: EIO if it is none.
func decodeLinkCount(b []byte) (linkCount, error) {
	if len(b) >= 2 && (b[0] == 'A' || b[0] == 'U') {
		if v, err := strconv.ParseInt(string(b[1:]), 10, 33); err == nil {
			return linkCount{absolute: b[0] == 'A', value: v}, nil
		}
	}
	return linkCount{}, fmt.Errorf("unionfs: bad link count record of %d bytes: %w", len(b), unix.EIO)
}

// loadLinkCount reads what is recorded about the links of the copy up.
func (f *file) loadLinkCount(ctx context.Context, up *layerFile) error {
	b, err := getPrivate(ctx, up, xattrNlink)
	if b == nil || err != nil {
		return err
	}
	c, err := decodeLinkCount(b)
	if err != nil {
		return err
	}
	f.hardlink, f.absolute = true, c.absolute
	if c.absolute {
		c.value -= int64(up.nlink)
	}
	f.extra.Store(c.value)
	return nil
}

// fixLinkCount records the number of names.
//
// Preconditions:
//   - copyMu is locked.
func (f *file) fixLinkCount(ctx context.Context, up *layerFile) error {
	attr, err := up.inode.Getattr(ctx, unix.STATX_NLINK)
	if err != nil {
		return err
	}
	f.absolute = true
	c := linkCount{absolute: true, value: int64(attr.Nlink) + f.extra.Load()}
	return setPrivate(ctx, up, xattrNlink, c.encode())
}

// settleLinkCount makes the record fit for changes of the number of names.
//
// Preconditions:
//   - copyMu is locked.
func (f *file) settleLinkCount(ctx context.Context, up *layerFile) error {
	if !f.hardlink || !f.absolute {
		return nil
	}
	err := setPrivate(ctx, up, xattrNlink, linkCount{value: f.extra.Load()}.encode())
	if err == nil {
		f.absolute = false
	}
	return err
}
