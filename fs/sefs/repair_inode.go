package sefs

import (
	"errors"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
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

// A reach are blocks [from, to) of a file.
type reach struct{ from, to uint64 }

// A mendXattr is the extended attribute whose pieces are coming.
type mendXattr struct {
	open      bool
	bad       bool
	off, last uint64 // offsets of its head and its last piece
	want, got int    // bytes
}

// mostSpoilt is how many blocks one repair makes unreadable, 64 GiB. A hole beyond that is no hole in
// a file of data that was written, but in a sparse one, which is cut off there.
const mostSpoilt = 1 << 24

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

// data looks at an item of a file's data.
func (m *mender) data(k format.Key, val []byte) {
	i := &m.cur
	if !m.only(k, unix.S_IFREG) {
		return
	}
	if k.Type == format.TypeInline {
		if k.Off != 0 || len(val) > volume.MaxInline {
			i.spoilt = true
			m.remove(k, "impossible inline data was removed")
			return
		}
		i.blocks, i.end, i.inline = 1, 1, true
		return
	}
	e, err := format.DecodeExtent(val)
	if err != nil || e.Hashed() || k.Off > format.MaxBlock || k.Off+uint64(e.Len()) > format.MaxBlock+1 {
		i.spoilt = true
		m.remove(k, "an impossible extent was removed")
		return
	}
	to := k.Off + uint64(e.Len())
	if k.Off < i.end {
		m.changed(k.Ino, "two extents had block %d, and the one that begins there has it now", k.Off)
		if i.inline && k.Off == 0 {
			i.inline = false
			m.drop(format.Key{Ino: k.Ino, Type: format.TypeInline})
		}
		val := append([]byte(nil), val...)
		m.later(func() error { return m.tx.Remap(k, val) })
		i.end = min(i.end, to)
	}
	m.gap(k.Off)
	i.blocks += to - min(max(i.end, k.Off), to)
	i.end = max(i.end, to)
}

// gap notes the blocks from the last one seen up to block to, as far as they may have been lost.
func (m *mender) gap(to uint64) {
	i := &m.cur
	if i.end >= to {
		return
	}
	if i.spoilt {
		i.gaps = append(i.gaps, reach{i.end, to})
		return
	}
	from := format.Key{Ino: i.ino, Type: format.TypeExtent, Off: i.end}
	if i.end == 0 {
		from.Type = format.TypeInline
	}
	for _, l := range m.c.lost[m.c.firstLost(from):] {
		if !l.from.Less(format.Key{Ino: i.ino, Type: format.TypeExtent, Off: to}) {
			break
		}
		g := reach{i.end, to}
		if l.from.Ino == i.ino && l.from.Type == format.TypeExtent {
			g.from = max(g.from, l.from.Off)
		}
		if l.to.Ino == i.ino && l.to.Type == format.TypeExtent {
			g.to = min(g.to, l.to.Off+format.MaxExtent)
		}
		if n := len(i.gaps); n > 0 && i.gaps[n-1].to > g.from {
			g.from = i.gaps[n-1].to
		}
		if g.from < g.to {
			i.gaps = append(i.gaps, g)
		}
	}
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

// finishData sets the size and the number of blocks of a file, and makes unreadable what is lost.
func (m *mender) finishData(set func(what string, field *uint64, to uint64)) {
	i := &m.cur
	blocks := (i.n.Size + format.BlockSize - 1) / format.BlockSize
	if !i.bare {
		m.gap(blocks)
	}
	ino := i.ino
	for _, g := range i.gaps {
		if !i.bare && i.n.Blocks <= i.blocks {
			break // nothing but holes was lost
		}
		if m.spoilt += g.to - g.from; m.spoilt > mostSpoilt {
			i.n.Size, i.end, i.edit = min(i.n.Size, g.from*format.BlockSize), g.from, true
			m.changed(ino, "it was cut off at byte %d: of what is behind, too much was lost", i.n.Size)
			m.later(func() error { return m.tx.Unmap(ino, g.from, format.MaxBlock+1) })
			i.recount = true
			return
		}
		m.changed(ino, "%d bytes at %d are lost: reading them is an error until they are written", (g.to-g.from)*format.BlockSize, g.from*format.BlockSize)
		i.blocks += g.to - g.from
		i.edit = true
		m.later(func() error { return m.tx.Spoil(ino, g.from, g.to) })
	}
	if !i.bare && i.n.Blocks > i.blocks && m.c.kinds[ProblemSpace] && blocks-i.blocks <= mostSpoilt-min(m.spoilt, mostSpoilt) {
		// There are blocks that belong to nothing: they may be this file's, and a hole in it none.
		m.spoilt += blocks - i.blocks
		m.later(func() error { return m.spoilHoles(ino, blocks) })
		i.recount, i.edit = true, true
	} else {
		set("blocks of data", &i.n.Blocks, i.blocks)
	}
	if i.end > blocks {
		set("bytes", &i.n.Size, i.end*format.BlockSize)
	}
}

// spoilHoles makes all holes of a file below block end unreadable.
func (m *mender) spoilHoles(ino, end uint64) error {
	f := m.vol.File(ino, 0)
	for at := int64(0); ; {
		from, err := f.SeekHole(at)
		if err != nil {
			return err
		}
		if at, err = f.SeekData(from); errors.Is(err, unix.ENXIO) {
			at = int64(end) * format.BlockSize
		} else if err != nil {
			return err
		}
		hole := reach{uint64(from) / format.BlockSize, min(uint64(at)/format.BlockSize, end)}
		if hole.from >= hole.to {
			return nil
		}
		m.changed(ino, "%d bytes at %d may be lost: reading them is an error until they are written", (hole.to-hole.from)*format.BlockSize, from)
		if err := m.tx.Spoil(ino, hole.from, hole.to); err != nil {
			return err
		}
	}
}

// countBlocks sets the number of blocks of a file to what there is.
func (m *mender) countBlocks(ino uint64) error {
	blocks := uint64(0)
	from := format.Key{Ino: ino, Type: format.TypeInline}
	err := m.vol.Scan(from, format.Key{Ino: ino, Type: format.TypeExtent + 1}, func(k format.Key, val []byte) bool {
		if e, err := format.DecodeExtent(val); k.Type == format.TypeExtent && err == nil {
			blocks += uint64(e.Len())
		} else if k.Type == format.TypeInline {
			blocks++
		}
		return true
	})
	if err != nil {
		return err
	}
	return m.editInode(ino, func(n *format.Inode) { n.Blocks = blocks })
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
