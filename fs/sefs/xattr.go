package sefs

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// xattrs is an inode seen as the keeper of its extended attributes. They are
// in the tree only; the inode counts them.
type xattrs struct{ i *inode }

// Xattrs implements vfs.Inode.
func (i *inode) Xattrs() vfs.Xattrs { return xattrs{i} }

// Getxattr implements vfs.Xattrs.
func (x xattrs) Getxattr(ctx context.Context, name string) ([]byte, error) {
	i := x.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.st.Load().xattrs == 0 {
		return nil, unix.ENODATA
	}
	_, value, err := i.findXattr(name)
	if err == nil && value == nil {
		err = unix.ENODATA
	}
	return value, err
}

// findXattr returns the lane and the value of name. If it is absent value is
// nil and lane a free one, or 0 if all are taken.
func (i *inode) findXattr(name string) (lane uint64, value []byte, err error) {
	var h format.XattrHead
	var bad error
	first := format.XattrOff(i.fs.hash(name))
	free := first
	from := xattrKey(i.ino, first)
	to := from
	to.Off += format.XattrLanes * format.XattrLane
	err = i.fs.vol.Scan(from, to, func(k format.Key, val []byte) bool {
		piece := int(k.Off % format.XattrLane)
		if piece == 0 {
			if value != nil {
				return false // the next attribute: this one is complete
			}
			if k.Off == free {
				free += format.XattrLane
			}
			if h, bad = format.DecodeXattrHead(val); bad != nil {
				return false
			}
			if string(h.Name) == name {
				lane = k.Off
				value = append(make([]byte, 0, h.Len), h.First...)
			}
			return true
		}
		if value == nil {
			return true
		}
		value, bad = h.AppendXattrPiece(value, val, piece)
		return bad == nil
	})
	switch {
	case err != nil:
		return 0, nil, err
	case bad == nil && value != nil && len(value) != h.Len:
		bad = &format.ItemError{Item: "xattr", Reason: "a piece is missing"}
		fallthrough
	case bad != nil:
		return 0, nil, fmt.Errorf("sefs: inode %d: %w", i.ino, bad)
	case value != nil:
		return lane, value, nil
	case free-first < format.XattrLanes*format.XattrLane:
		return free, nil, nil
	}
	return 0, nil, nil
}

// Setxattr implements vfs.Xattrs. Errors: EEXIST, ENODATA by flags; E2BIG;
// ENOSPC if the names of one inode would take more than 65536 bytes;
// EOPNOTSUPP for the namespace "system.", whose lists nothing here enforces.
func (x xattrs) Setxattr(ctx context.Context, name string, value []byte, flags int) error {
	i := x.i
	if err := checkXattr(name, value); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fs.readOnly {
		return unix.EROFS
	}
	lane, old, err := i.findXattr(name)
	switch {
	case err != nil:
		return err
	case flags&unix.XATTR_CREATE != 0 && old != nil:
		return unix.EEXIST
	case flags&unix.XATTR_REPLACE != 0 && old == nil:
		return unix.ENODATA
	case old == nil:
		if err := i.roomForXattr(name); err != nil {
			return err
		}
		if lane == 0 {
			return unix.ENOSPC
		}
	}
	o, err := i.fs.begin(ctx)
	if err != nil {
		return err
	}
	o.putXattr(i.ino, lane, name, value, len(old))
	now := i.fs.timestamp()
	i.update(&o, func(s *state) {
		s.xattrs += uint32(bit(old == nil))
		s.Ctime = now
	})
	return o.end()
}

// roomForXattr returns ENOSPC if the list of names has no room for one more.
func (i *inode) roomForXattr(name string) error {
	if i.st.Load().xattrs == 0 {
		return nil
	}
	sum := len(name) + 1
	err := i.eachXattr(func(name []byte) { sum += len(name) + 1 })
	if err == nil && sum > format.MaxXattrList {
		err = unix.ENOSPC
	}
	return err
}

// Listxattr implements vfs.Xattrs.
func (x xattrs) Listxattr(ctx context.Context) ([]string, error) {
	i := x.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.st.Load().xattrs == 0 {
		return nil, nil
	}
	var names []string
	err := i.eachXattr(func(name []byte) { names = append(names, string(name)) })
	if err != nil {
		return nil, err
	}
	return names, nil
}

// eachXattr calls fn for each name.
func (i *inode) eachXattr(fn func(name []byte)) error {
	var bad error
	from := xattrKey(i.ino, 0)
	err := i.fs.vol.Scan(from, past(from), func(k format.Key, val []byte) bool {
		if k.Off%format.XattrLane != 0 {
			return true
		}
		var h format.XattrHead
		if h, bad = format.DecodeXattrHead(val); bad != nil {
			return false
		}
		fn(h.Name)
		return true
	})
	if err != nil {
		return err
	}
	if bad != nil {
		return fmt.Errorf("sefs: inode %d: %w", i.ino, bad)
	}
	return nil
}

// Removexattr implements vfs.Xattrs.
func (x xattrs) Removexattr(ctx context.Context, name string) error {
	i := x.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fs.readOnly {
		return unix.EROFS
	}
	if i.st.Load().xattrs == 0 {
		return unix.ENODATA
	}
	lane, old, err := i.findXattr(name)
	if err != nil {
		return err
	}
	if old == nil {
		return unix.ENODATA
	}
	o, err := i.fs.begin(ctx)
	if err != nil {
		return err
	}
	for n := range format.Pieces(len(old)) {
		o.delete(xattrKey(i.ino, lane+uint64(n)))
	}
	now := i.fs.timestamp()
	i.update(&o, func(s *state) {
		if s.xattrs > 0 {
			s.xattrs--
		}
		s.Ctime = now
	})
	return o.end()
}

// putXattr writes name=value into a lane that had a value of oldLen bytes before.
func (o *op) putXattr(ino, lane uint64, name string, value []byte, oldLen int) {
	pieces := format.Pieces(len(value))
	o.put(xattrKey(ino, lane), format.AppendXattrHead(nil, name, value))
	for n := 1; n < pieces; n++ {
		o.put(xattrKey(ino, lane+uint64(n)), format.XattrPieceOf(value, n))
	}
	for n := pieces; n < format.Pieces(oldLen); n++ {
		o.delete(xattrKey(ino, lane+uint64(n)))
	}
}

// addXattr writes an attribute of a new inode, which is in no list yet.
func (o *op) addXattr(ino uint64, name string, value []byte) {
	if o.err != nil {
		return
	}
	fresh := inode{fs: o.fs, ino: ino}
	lane, old, err := fresh.findXattr(name)
	if err == nil && (old != nil || lane == 0) {
		err = unix.ENOSPC
	}
	o.fail(err)
	if o.err == nil {
		o.putXattr(ino, lane, name, value, 0)
	}
}

// checkXattr checks one attribute to be stored.
func checkXattr(name string, value []byte) error {
	if strings.HasPrefix(name, "system.") {
		return unix.EOPNOTSUPP
	}
	return format.CheckXattr(name, value)
}

// checkXattrs checks the attributes of a file to be created.
func checkXattrs(attrs map[string][]byte) error {
	sum := 0
	for name, value := range attrs {
		if err := checkXattr(name, value); err != nil {
			return err
		}
		sum += len(name) + 1
	}
	if sum > format.MaxXattrList {
		return unix.ENOSPC
	}
	return nil
}
