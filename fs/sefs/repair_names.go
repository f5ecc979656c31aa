package sefs

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// lostFound is the directory below the root for files that have lost their names.
const lostFound = "lost+found"

// findDir looks for the directory at a position.
func findDir(dirs []mendDir, at uint32) (int, bool) {
	return slices.BinarySearchFunc(dirs, at, func(d mendDir, at uint32) int { return cmp.Compare(d.at, at) })
}

// root makes a root directory if there is none, and the lowest free inode number.
func (m *mender) root() error {
	if _, ok := m.find(format.RootIno); !ok {
		n := m.newDir(format.RootIno)
		if err := m.tx.Put(inodeKey(format.RootIno), n.Append(nil)); err != nil {
			return err
		}
		// It is the first of all, so all others move.
		for i := range m.dirs {
			m.dirs[i].at++
		}
		m.dirs = slices.Insert(m.dirs, 0, mendDir{at: 0, parent: format.RootIno, size: n.Size})
		m.inos = slices.Insert(m.inos, 0, format.RootIno)
		m.nlink = slices.Insert(m.nlink, 0, n.Nlink)
		m.names = slices.Insert(m.names, 0, 0)
		m.parent = slices.Insert(m.parent, 0, noParent)
		m.flags = slices.Insert(m.flags, 0, unix.DT_DIR)
		m.changed(format.RootIno, "a new root directory was made")
	}
	if last := m.inos[len(m.inos)-1]; m.nextIno <= last {
		next := min(max(last+1, format.FirstIno)+inoBatch, format.MaxIno)
		m.changed(0, "lowest free inode number: %d instead of %d", next, m.nextIno)
		return m.setNextIno(next)
	}
	return nil
}

func (m *mender) setNextIno(next uint64) error {
	m.nextIno = next
	return m.tx.Put(nextInoKey, format.AppendNextIno(nil, next))
}

func (m *mender) newDir(parent uint64) format.Inode {
	return format.Inode{
		Mode: unix.S_IFDIR | 0o700, Nlink: 2, Parent: parent,
		Atime: m.now, Mtime: m.now, Ctime: m.now, Btime: m.now,
	}
}

// entries is the second pass over one item: entries that cannot stay are removed.
func (m *mender) entries(k format.Key, val []byte) {
	if k.Type != format.TypeDirent || k.Ino == 0 {
		return
	}
	dir, ok := m.find(k.Ino)
	if !ok || !m.isDir(dir) {
		return
	}
	d := m.dir(dir)
	was := val
	it := format.Dirents(was)
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		if e.Type == format.Whiteout {
			continue
		}
		at, why := m.entry(k.Ino, dir, &e)
		if why != "" {
			m.changed(k.Ino, "its entry %q was removed: %s", e.Name, why)
			val, _ = format.RemoveDirent(nil, val, string(e.Name)) // it is there
			continue
		}
		if kind := m.flags[at] & typeMask; kind != e.Type {
			m.changed(e.Ino, "the type in its entry is now its own")
			val, _ = format.SetDirent(nil, val, string(e.Name), e.Ino, kind)
		}
		d.entries++
		d.subdirs += uint32(bit(m.isDir(at)))
	}
	switch {
	case len(val) == 0:
		m.drop(k)
	case len(val) != len(was) || &val[0] != &was[0]:
		m.later(func() error { return m.tx.Put(k, val) })
	}
}

// entry counts an entry, and returns why it must go or the position of its inode.
func (m *mender) entry(in uint64, dir uint32, e *format.Dirent) (at uint32, why string) {
	at, ok := m.find(e.Ino)
	switch {
	case !ok:
		return at, "it pointed to nothing"
	case e.Ino == format.RootIno:
		return at, "it pointed to the root"
	case e.Ino == in:
		return at, "it pointed to its own directory"
	case m.flags[at]&flagBare != 0:
		return at, fmt.Sprintf("the attributes of inode %d are lost", e.Ino)
	case m.isDir(at) && m.parent[at] != noParent:
		return at, "a directory has one name"
	}
	if m.names[at] < math.MaxUint32 {
		m.names[at]++
	}
	if m.isDir(at) {
		m.parent[at] = dir
	}
	return at, ""
}

// cycles takes directories that contain themselves out of each other.
func (m *mender) cycles() error {
	if root, ok := m.find(format.RootIno); ok {
		m.flags[root] |= flagRoot
	}
	for _, d := range m.dirs {
		at := d.at
		for at != noParent && m.flags[at]&(flagRoot|flagSeen|flagPath) == 0 {
			m.flags[at] |= flagPath
			at = m.parent[at]
		}
		cycle := at != noParent && m.flags[at]&flagPath != 0 && m.flags[at]&flagSeen == 0
		first := at
		for at := d.at; at != noParent && m.flags[at]&flagPath != 0 && m.flags[at]&flagSeen == 0; at = m.parent[at] {
			m.flags[at] |= flagSeen
		}
		if cycle {
			if err := m.unlink(first); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlink removes the entry of a directory.
func (m *mender) unlink(at uint32) error {
	ino, parent := m.inos[at], m.parent[at]
	var key format.Key
	var left []byte
	from := direntKey(m.inos[parent], 0)
	err := m.vol.Scan(from, past(from), func(k format.Key, val []byte) bool {
		it := format.Dirents(val)
		for e, ok := it.Next(); ok; e, ok = it.Next() {
			if e.Ino == ino {
				key = k
				left, _ = format.RemoveDirent(nil, val, string(e.Name))
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	m.changed(ino, "the directory contained itself")
	d := m.dir(parent)
	d.entries--
	d.subdirs--
	m.parent[at], m.names[at] = noParent, 0
	if len(left) == 0 {
		return m.tx.Drop(key)
	}
	return m.tx.Put(key, left)
}

// nameless gives names to files that have none. Those on the list of orphans had none before.
func (m *mender) nameless() error {
	for at := range uint32(len(m.inos)) {
		ino := m.inos[at]
		if ino == format.RootIno || m.names[at] > 0 || m.orphan(at) {
			continue
		}
		if err := m.adopt(at); err != nil {
			return err
		}
	}
	for _, ino := range m.orphans {
		at, ok := m.find(ino)
		if ok && m.orphan(at) && m.names[at] == 0 {
			continue
		}
		m.changed(ino, "it was taken off the list of files without a name")
		if err := m.tx.Drop(orphanKey(ino)); err != nil {
			return err
		}
	}
	return nil
}

// orphan reports whether an inode is one that goes at the next mount.
func (m *mender) orphan(at uint32) bool {
	_, listed := slices.BinarySearch(m.orphans, m.inos[at])
	return listed && m.nlink[at] == 0 && m.inos[at] != format.RootIno
}

// adopt gives an inode a name in /lost+found.
func (m *mender) adopt(at uint32) error {
	if err := m.findLost(); err != nil {
		return err
	}
	ino := m.inos[at]
	name, err := m.linkFree(m.inos[m.lost.at], fmt.Sprintf("#%d", ino), ino, m.flags[at]&typeMask)
	if err != nil {
		return err
	}
	m.names[at] = 1
	m.lost.entries++
	if m.isDir(at) {
		m.parent[at] = m.lost.at
		m.lost.subdirs++
	}
	if m.flags[at]&flagBare != 0 {
		m.changed(ino, "its attributes were lost, and its size is a guess; as /%s/%s it belongs to root", lostFound, name)
		return nil
	}
	m.changed(ino, "it had no name")
	return nil
}

// linkFree links an inode under name, or under one like it if that is taken.
func (m *mender) linkFree(dir uint64, name string, ino uint64, typ uint8) (string, error) {
	free := name
	for n := 2; ; n++ {
		there, err := m.link(dir, free, ino, typ)
		if !there || err != nil {
			return free, err
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

// findLost finds /lost+found, or makes it.
func (m *mender) findLost() error {
	if m.lost != nil {
		return nil
	}
	root, _ := m.find(format.RootIno)
	val, err := m.vol.Get(direntKey(format.RootIno, format.DirentOff(m.vol.NameHash(lostFound))), nil)
	if err == nil {
		if e, err := format.FindDirent(val, lostFound); err == nil && e.Type == unix.DT_DIR {
			at, _ := m.find(e.Ino)
			m.lost = m.dir(at)
			return nil
		}
	} else if !errors.Is(err, unix.ENOENT) {
		return err
	}
	ino := m.nextIno
	if ino >= format.MaxIno {
		return fmt.Errorf("no inode number is left for /%s: %w", lostFound, unix.ENOSPC)
	}
	if err := m.setNextIno(ino + 1); err != nil {
		return err
	}
	n := m.newDir(format.RootIno)
	if err := m.tx.Put(inodeKey(ino), n.Append(nil)); err != nil {
		return err
	}
	if _, err := m.linkFree(format.RootIno, lostFound, ino, unix.DT_DIR); err != nil {
		return err
	}
	m.list(ino, &n, false)
	d := &m.dirs[len(m.dirs)-1]
	m.names[d.at], m.parent[d.at] = 1, root
	r := m.dir(root)
	r.entries++
	r.subdirs++
	m.lost = d
	m.changed(ino, "the directory was made")
	return nil
}

// links sets the numbers of links of all inodes, and the sizes and parents of directories.
func (m *mender) links() error {
	for at, ino := range m.inos {
		if m.isDir(uint32(at)) || m.nlink[at] == m.names[at] || m.names[at] == 0 {
			continue
		}
		m.changed(ino, "links: %d instead of %d", m.names[at], m.nlink[at])
		if err := m.editInode(ino, func(n *format.Inode) { n.Nlink = m.names[at] }); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		if err := m.dirLinks(&d); err != nil {
			return err
		}
	}
	return nil
}

func (m *mender) dirLinks(d *mendDir) error {
	ino, nlink, parent, size := m.inos[d.at], 2+d.subdirs, d.parent, d.entries*format.DirentSize
	switch {
	case m.orphan(d.at) && m.names[d.at] == 0:
		nlink = 0
	case ino == format.RootIno:
		parent = format.RootIno
	default:
		parent = m.inos[m.parent[d.at]]
	}
	if nlink == m.nlink[d.at] && parent == d.parent && size == d.size {
		return nil
	}
	if m.flags[d.at]&flagBare == 0 && (m.lost == nil || d.at != m.lost.at) && nlink != m.nlink[d.at] {
		m.changed(ino, "links of the directory: %d instead of %d", nlink, m.nlink[d.at])
	} else if size != d.size {
		m.changed(ino, "entries of the directory: %d instead of %d", d.entries, d.size/format.DirentSize)
	}
	if parent != d.parent {
		m.changed(ino, "parent of the directory: inode %d instead of %d", parent, d.parent)
	}
	return m.editInode(ino, func(n *format.Inode) { n.Nlink, n.Parent, n.Size = nlink, parent, size })
}
