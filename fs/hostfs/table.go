package hostfs

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// node is an inode of any type of this package.
type node interface {
	vfs.Inode
	base() *inode
}

// table holds the inodes in memory by what the host says they are. All links of a
// file are one inode. Directories are never merged: each lookup of one makes a new inode,
// so that no answer of the host can make two places in the tree one.
type table struct {
	seed   maphash.Seed
	serial atomic.Uint64 // of the last inode

	mu     sync.Mutex
	inodes map[hostID]node
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	t.inodes = make(map[hostID]node)
}

// number returns the inode number of a host file: always the same during a mount, though
// nothing is remembered. The host's own numbers would repeat where file systems
// of the host meet.
func (t *table) number(dev, ino uint64) uint64 {
	return shownIno(maphash.Comparable(t.seed, [2]uint64{dev, ino}))
}

// shownIno makes a hash an inode number: positive as int64, and not 0, which means deleted.
func shownIno(hash uint64) uint64 { return hash&^(1<<63) | 1<<62 }

// add makes an inode of a file that was found at p, and pins it.
func (t *table) add(fs *FS, id hostID, p *place) node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.addLocked(fs, id, p)
}

// find returns the inode of a file that was found at name in d, pinned.
func (t *table) find(fs *FS, id hostID, d *dir, name string) node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id.typ != unix.S_IFDIR {
		if x, ok := t.inodes[id]; ok && x.base().TryPin() {
			x.base().seen(d, name)
			return x
		}
	}
	return t.addLocked(fs, id, &place{dir: d, name: name})
}

func (t *table) addLocked(fs *FS, id hostID, p *place) node {
	x := newNode(fs, id, p)
	i := x.base()
	i.serial = t.serial.Add(1)
	i.ino = t.number(id.dev, id.ino)
	if _, taken := t.inodes[id]; taken && id.typ == unix.S_IFDIR {
		// Two directories that the host calls the same must not look like one.
		i.ino = shownIno(maphash.Comparable(t.seed, [3]uint64{id.dev, id.ino, i.serial}))
	}
	i.Pin()
	if _, taken := t.inodes[id]; !taken || id.typ != unix.S_IFDIR {
		t.inodes[id] = x
	}
	return x
}

// remove takes an evicted inode out.
func (t *table) remove(i *inode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x, ok := t.inodes[i.id]; ok && x.base() == i {
		delete(t.inodes, i.id)
	}
}

// newNode returns an inode of the type that id says.
func newNode(fs *FS, id hostID, p *place) node {
	var x node
	switch id.typ {
	case unix.S_IFDIR:
		x = new(dir)
	case unix.S_IFREG:
		x = new(regular)
	case unix.S_IFLNK:
		x = new(symlink)
	default:
		x = new(special)
	}
	i := x.base()
	i.fs, i.id = fs, id
	i.place.Store(p)
	return x
}
