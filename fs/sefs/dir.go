package sefs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// dir is a directory. Its entries are DIRENT items under its inode number.
type dir struct{ inode }

var _ vfs.Dir = (*dir)(nil)

// Lookup implements vfs.Dir.
func (d *dir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	e, err := d.find(name)
	if err != nil {
		return nil, err
	}
	if e.typ == format.Whiteout {
		return newWhiteout(), nil
	}
	x, err := d.fs.inode(e.ino)
	if err != nil {
		return nil, err
	}
	if s := x.base().st.Load(); direntType(s.Mode) != e.typ {
		_ = vfs.UnpinInode(ctx, x) // unchanged: nothing to write
		return nil, fmt.Errorf("sefs: inode %d: type differs from its entry's: %w", e.ino, unix.EUCLEAN)
	}
	return x, nil
}

// entry is what a name stands for; the zero entry is an absent name.
type entry struct {
	ino uint64 // 0 for a whiteout
	typ uint8  // DT_* or format.Whiteout
}

// visible reports whether e is there and no whiteout.
func (e entry) visible() bool { return e.ino != 0 }

// is reports whether e stands for the inode x.
func (e entry) is(x vfs.Inode) bool {
	if _, ok := x.(*whiteout); ok {
		return e.typ == format.Whiteout
	}
	a, ok := x.(anyInode)
	return ok && e.ino == a.base().ino
}

// find returns the entry of name. Errors: ENOENT.
func (d *dir) find(name string) (entry, error) {
	var buf [512]byte
	val, err := d.fs.vol.Get(direntKey(d.ino, format.DirentOff(d.fs.hash(name))), buf[:0])
	if err != nil {
		return entry{}, err
	}
	e, err := format.FindDirent(val, name)
	if err != nil {
		return entry{}, d.bad(err)
	}
	return entry{ino: e.Ino, typ: e.Type}, nil
}

// probe is find that returns the zero entry for an absent name.
func (d *dir) probe(name string) (entry, error) {
	e, err := d.find(name)
	if errors.Is(err, unix.ENOENT) {
		return entry{}, nil
	}
	return e, err
}

// bad says in which directory an entry is broken.
func (d *dir) bad(err error) error {
	if errors.Is(err, unix.EUCLEAN) {
		return fmt.Errorf("sefs: directory %d: %w", d.ino, err)
	}
	return err
}

// link makes name in d stand for e, whatever it stood for before.
func (o *op) link(d *dir, name string, e entry) {
	if o.err != nil {
		return
	}
	k := direntKey(d.ino, format.DirentOff(d.fs.hash(name)))
	val, err := d.fs.vol.Get(k, nil)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		o.fail(err)
		return
	}
	val, err = format.SetDirent(nil, val, name, e.ino, e.typ)
	if err != nil {
		o.fail(d.bad(err))
		return
	}
	o.put(k, val)
}

// unlink removes the entry of name from d.
func (o *op) unlink(d *dir, name string) {
	if o.err != nil {
		return
	}
	k := direntKey(d.ino, format.DirentOff(d.fs.hash(name)))
	val, err := d.fs.vol.Get(k, nil)
	if err != nil {
		o.fail(err)
		return
	}
	val, err = format.RemoveDirent(nil, val, name)
	switch {
	case err != nil:
		o.fail(d.bad(err))
	case len(val) == 0:
		o.delete(k)
	default:
		o.put(k, val)
	}
}

// touch sets mtime and ctime of d, and changes its size and link count by
// numbers of visible entries and of subdirectories.
func (d *dir) touch(o *op, now unix.Timespec, entries, subdirs int) {
	d.update(o, func(s *state) {
		s.Mtime, s.Ctime = now, now
		s.Size += int64(entries) * format.DirentSize
		s.Nlink = uint32(int64(s.Nlink) + int64(subdirs))
	})
}

// live returns ENOENT if d itself has been removed.
func (d *dir) live() error {
	if d.st.Load().Nlink == 0 {
		return unix.ENOENT
	}
	return nil
}

// empty returns ENOTEMPTY if d has an entry that is no whiteout.
func (d *dir) empty() error {
	var bad error
	k := direntKey(d.ino, 0)
	err := d.fs.vol.Scan(k, past(k), func(_ format.Key, val []byte) bool {
		it := format.Dirents(val)
		for e, ok := it.Next(); ok; e, ok = it.Next() {
			if e.Type != format.Whiteout {
				bad = unix.ENOTEMPTY
				return false
			}
		}
		bad = it.Err()
		return bad == nil
	})
	if err != nil {
		return err
	}
	return d.bad(bad)
}

// direntType returns the DT_* value of a mode.
func direntType(mode uint32) uint8 { return uint8(mode & unix.S_IFMT >> 12) }

// bit is 1 for true.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
