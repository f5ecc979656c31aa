package sefs

import (
	"errors"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// A mendInode is what the first pass knows of the inode whose items are coming.
type mendInode struct {
	ino  uint64
	have bool // attributes are there
	bare bool // they are made up
	edit bool // they differ from the item's
	gone bool // what there is of it is removed
	n    format.Inode

	blocks, end uint64  // blocks that are no holes; behind the last one
	inline      bool    // block 0 is an item
	spoilt      bool    // an item of its data was impossible
	recount     bool    // blocks must be counted again
	gaps        []reach // holes that may have been data

	xattrs uint32
	attr   mendXattr
	target uint64 // bytes
	cut    bool   // a piece of the target is missing
}

// A mendXattr is the extended attribute whose pieces are coming.
type mendXattr struct {
	open      bool
	bad       bool
	off, last uint64 // offsets of its head and its last piece
	want, got int    // bytes
}

// item is the first pass over one item.
func (m *mender) item(k format.Key, val []byte) {
	switch {
	case k.Ino == 0:
		m.volumeItem(k, val)
		return
	case k.Ino != m.cur.ino:
		m.finishInode()
		m.cur = mendInode{ino: k.Ino}
	}
	i := &m.cur
	if k.Ino >= format.MaxIno {
		m.remove(k, "an item of an impossible inode was removed")
		return
	}
	if k.Type == format.TypeInode {
		n, err := format.DecodeInode(val)
		if err != nil || k.Off != 0 || k.Ino == format.RootIno && n.Mode&unix.S_IFMT != unix.S_IFDIR {
			m.remove(k, "its impossible attributes were removed")
			return
		}
		i.n, i.have = n, true
		return
	}
	if !i.have {
		m.bareInode(k.Type)
	}
	if i.gone {
		return
	}
	switch k.Type {
	case format.TypeInline, format.TypeExtent:
		m.data(k, val)
	case format.TypeDirent:
		m.direntItem(k, val)
	case format.TypeXattr:
		m.xattr(k, val)
	case format.TypeSymlink:
		if !m.only(k, unix.S_IFLNK) {
			return
		}
		i.cut = i.cut || k.Off*format.SymlinkPiece != i.target || len(val) == 0 || len(val) > format.SymlinkPiece
		i.target += uint64(len(val))
	}
}

// volumeItem looks at an item that belongs to no inode.
func (m *mender) volumeItem(k format.Key, val []byte) {
	switch k.Type {
	case format.TypeOrphan:
		m.orphans = append(m.orphans, k.Off)
	case format.TypeNextIno:
		next, err := format.DecodeNextIno(val)
		if err != nil || k.Off != 0 {
			m.remove(k, "an impossible lowest free inode number was removed")
			return
		}
		m.nextIno = next
	}
}

// remove removes an item and says so.
func (m *mender) remove(k format.Key, text string) {
	m.drop(k)
	m.changed(k.Ino, "%s", text)
}

// only removes an item that files of another type than kind do not have.
func (m *mender) only(k format.Key, kind uint32) bool {
	if m.cur.have && m.cur.n.Mode&unix.S_IFMT == kind {
		return true
	}
	m.remove(k, "an item was removed that files of its type have not")
	return false
}

// bareInode makes up attributes for an inode that has lost them, if its first item
// says what it is.
func (m *mender) bareInode(typ uint8) {
	i := &m.cur
	n := format.Inode{Nlink: 1, Atime: m.now, Mtime: m.now, Ctime: m.now, Btime: m.now}
	switch {
	case typ == format.TypeDirent, i.ino == format.RootIno:
		n.Mode, n.Nlink, n.Parent = unix.S_IFDIR|0o700, 2, format.RootIno
	case typ == format.TypeInline, typ == format.TypeExtent:
		n.Mode = unix.S_IFREG | 0o600
	default:
		if !i.gone {
			i.gone = true
			m.changed(i.ino, "what was left of it without its attributes was removed")
			ino := i.ino
			m.later(func() error { return m.dropAll(ino) })
		}
		return
	}
	i.n, i.have, i.bare, i.edit = n, true, true, true
	if i.ino == format.RootIno {
		m.changed(i.ino, "its attributes were lost, and it belongs to root now")
	}
}

// dropAll removes all items of an inode.
func (m *mender) dropAll(ino uint64) error {
	var keys []format.Key
	err := m.vol.Scan(inodeKey(ino), format.Key{Ino: ino + 1}, func(k format.Key, _ []byte) bool {
		keys = append(keys, k)
		return true
	})
	for _, k := range keys {
		err = errors.Join(err, m.tx.Drop(k))
	}
	return err
}

// direntItem looks at entries by themselves.
func (m *mender) direntItem(k format.Key, val []byte) {
	if !m.only(k, unix.S_IFDIR) {
		return
	}
	type entry struct {
		name string
		ino  uint64
		typ  uint8
	}
	var entries []entry
	bad, away := false, false
	it := format.Dirents(val)
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		away = away || format.DirentOff(m.vol.NameHash(string(e.Name))) != k.Off
		entries = append(entries, entry{string(e.Name), e.Ino, e.Type})
	}
	if bad = it.Err() != nil; !bad && !away {
		return
	}
	if bad {
		m.changed(k.Ino, "an impossible entry was removed")
	}
	m.drop(k)
	for _, e := range entries {
		m.later(func() error {
			there, err := m.link(k.Ino, e.name, e.ino, e.typ)
			if there {
				return nil // what has lost its name gets another one
			}
			return err
		})
	}
	if away {
		m.changed(k.Ino, "entries that could not be found were moved to where they can")
	}
}

// link makes an entry; there says that the name is taken.
func (m *mender) link(dir uint64, name string, ino uint64, typ uint8) (there bool, err error) {
	k := direntKey(dir, format.DirentOff(m.vol.NameHash(name)))
	val, err := m.vol.Get(k, nil)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return false, err
	}
	if len(val) > 0 {
		if _, err := format.FindDirent(val, name); err == nil {
			return true, nil
		}
	}
	if val, err = format.SetDirent(nil, val, name, ino, typ); err != nil {
		return false, err
	}
	return false, m.tx.Put(k, val)
}

// xattr looks at one piece of an extended attribute.
func (m *mender) xattr(k format.Key, val []byte) {
	i := &m.cur
	a := &i.attr
	if k.Off%format.XattrLane != 0 {
		if !a.open || k.Off != a.last+1 || len(val) != min(a.want-a.got, format.XattrPiece) || len(val) == 0 {
			m.remove(k, "a piece of an extended attribute without the others was removed")
			a.bad = true
			return
		}
		a.last, a.got = k.Off, a.got+len(val)
		return
	}
	m.endXattr()
	h, err := format.DecodeXattrHead(val)
	if err != nil || format.XattrOff(m.vol.NameHash(string(h.Name))) != k.Off&^(format.XattrLanes*format.XattrLane-1) {
		m.remove(k, "an impossible extended attribute was removed")
		return
	}
	i.xattrs++
	i.attr = mendXattr{open: true, off: k.Off, last: k.Off, want: h.Len, got: len(h.First)}
}

// endXattr removes an extended attribute of which a piece is missing.
func (m *mender) endXattr() {
	i := &m.cur
	a := i.attr
	i.attr = mendXattr{}
	if !a.open || !a.bad && a.got == a.want {
		return
	}
	i.xattrs--
	for off := a.off; off <= a.last; off++ {
		m.drop(format.Key{Ino: i.ino, Type: format.TypeXattr, Off: off})
	}
	m.changed(i.ino, "an extended attribute of which a part is missing was removed")
}

// finishInode ends the current inode.
func (m *mender) finishInode() {
	i := &m.cur
	if !i.have {
		return
	}
	m.endXattr()
	set := func(what string, field *uint64, to uint64) {
		if *field != to {
			if !i.bare {
				m.changed(i.ino, "%s: %d instead of %d", what, to, *field)
			}
			*field, i.edit = to, true
		}
	}
	switch i.n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if i.bare && i.blocks == 0 {
			return // nothing is left of it
		}
		m.finishData(set)
	case unix.S_IFLNK:
		if i.cut || i.target != i.n.Size {
			ino := i.ino
			m.later(func() error { return m.dropAll(ino) })
			m.changed(i.ino, "a symbolic link without all of its target was removed")
			return
		}
	}
	xattrs := uint64(i.n.Xattrs)
	set("number of extended attributes", &xattrs, uint64(i.xattrs))
	i.n.Xattrs = uint32(xattrs)
	if i.edit {
		ino, n := i.ino, i.n
		m.later(func() error { return m.tx.Put(inodeKey(ino), n.Append(nil)) })
		if i.recount {
			m.later(func() error { return m.countBlocks(ino) })
		}
	}
	m.list(i.ino, &i.n, i.bare)
}

// list adds an inode to those that are known.
func (m *mender) list(ino uint64, n *format.Inode, bare bool) {
	kind := direntType(n.Mode)
	if kind == unix.DT_DIR {
		m.dirs = append(m.dirs, mendDir{at: uint32(len(m.inos)), parent: n.Parent, size: n.Size})
	}
	if bare {
		kind |= flagBare
	}
	m.inos = append(m.inos, ino)
	m.nlink = append(m.nlink, n.Nlink)
	m.names = append(m.names, 0)
	m.parent = append(m.parent, noParent)
	m.flags = append(m.flags, kind)
}
