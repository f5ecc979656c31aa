package sefs

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// A treeCheck checks that the items of a volume make a tree of files. The first pass, while the
// engine verifies the blocks, looks at each inode by itself and lists all of them; the
// second one goes over the entries of directories.
type treeCheck struct {
	c      *check
	logged map[uint64]uint64 // blocks that are in the journal only

	cur     inodeCheck
	nextIno uint64 // 0: there is none
	orphans []uint64

	// What is known of each inode, in the order of their numbers.
	inos   []uint64
	nlink  []uint32
	names  []uint32 // entries that point to it
	parent []uint32 // of a directory: which inode of the list has its entry; noParent
	flags  []uint8  // DT_* and the flags below

	dirs []dirParent // in the order of their numbers
}

// dirParent is what a directory says its parent is.
type dirParent struct {
	dir    uint32 // position in treeCheck.inos
	parent uint64
}

const (
	noParent = math.MaxUint32

	typeMask = 0x0f
	flagRoot = 0x10 // it hangs below the root
	flagPath = 0x20 // on the way from the directory that is looked at
	flagSeen = 0x40 // it has been looked at
)

func (t *treeCheck) init(c *check) (err error) {
	t.c = c
	t.logged, err = c.vol.JournalBlocks()
	return err
}

// wrong reports a problem of an inode.
func (t *treeCheck) wrong(ino uint64, text string) {
	t.c.found(Problem{Kind: ProblemStructure, Ino: ino, Text: text})
}

// item is the first pass over one item.
func (t *treeCheck) item(k format.Key, val []byte) error {
	if k.Ino == 0 {
		t.volumeItem(k, val)
		return nil
	}
	if k.Ino != t.cur.ino {
		if err := t.next(k.Ino); err != nil {
			return err
		}
	}
	t.inodeItem(k, val)
	return nil
}

// volumeItem looks at an item that belongs to no inode.
func (t *treeCheck) volumeItem(k format.Key, val []byte) {
	switch k.Type {
	case format.TypeOrphan:
		t.orphans = append(t.orphans, k.Off)
		t.c.report.Orphans++
	case format.TypeNextIno:
		next, err := format.DecodeNextIno(val)
		if err != nil || k.Off != 0 {
			t.wrong(0, "the lowest free inode number is impossible")
			next = format.MaxIno // of that nothing else follows
		}
		t.nextIno = next
	case format.TypeSegment: // the engine's
	default:
		t.wrong(0, fmt.Sprintf("an item of unknown type %d belongs to no inode", k.Type))
	}
}

// next ends the current inode and begins another.
func (t *treeCheck) next(ino uint64) error {
	if i := &t.cur; i.ino != 0 {
		i.done(t)
		if i.have {
			if len(t.inos) == noParent {
				return fmt.Errorf("more than 2^32 inodes: %w", unix.EFBIG)
			}
			kind := direntType(i.n.Mode)
			if kind == unix.DT_DIR {
				t.dirs = append(t.dirs, dirParent{uint32(len(t.inos)), i.n.Parent})
			}
			t.inos = append(t.inos, i.ino)
			t.nlink = append(t.nlink, i.n.Nlink)
			t.names = append(t.names, 0)
			t.parent = append(t.parent, noParent)
			t.flags = append(t.flags, kind)
			t.c.report.Inodes++
		}
	}
	t.cur = inodeCheck{ino: ino}
	return nil
}

// find returns the position of an inode.
func (t *treeCheck) find(ino uint64) (at uint32, ok bool) {
	i, ok := slices.BinarySearch(t.inos, ino)
	return uint32(i), ok
}

func (t *treeCheck) isDir(at uint32) bool { return t.flags[at]&typeMask == unix.DT_DIR }

// finish ends the first pass and does all else.
func (t *treeCheck) finish() error {
	if err := t.next(0); err != nil {
		return err
	}
	if root, ok := t.find(format.RootIno); ok && t.isDir(root) {
		t.flags[root] |= flagRoot
	} else if !ok && !t.c.inodeLost(format.RootIno) || ok {
		t.wrong(format.RootIno, "there is no root directory")
	}
	t.numbers()
	if err := t.c.vol.Walk(t.c.ctx, format.Key{}, t.dirItem); err != nil {
		return err
	}
	t.links()
	t.parents()
	return nil
}

// numbers checks that no number can be given out again.
func (t *treeCheck) numbers() {
	switch {
	case t.nextIno == 0:
		if !t.c.isLost(nextInoKey, past(nextInoKey)) {
			t.wrong(0, "the lowest free inode number is missing")
		}
	case len(t.inos) > 0 && t.inos[len(t.inos)-1] >= t.nextIno:
		t.wrong(t.inos[len(t.inos)-1], fmt.Sprintf("its number is in use, and %d is said to be the lowest free one", t.nextIno))
	}
}

// dirItem is the second pass over one item.
func (t *treeCheck) dirItem(k format.Key, val []byte) error {
	if k.Type != format.TypeDirent {
		return nil
	}
	dir, ok := t.find(k.Ino)
	if !ok || !t.isDir(dir) {
		return nil
	}
	it := format.Dirents(val)
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		if e.Type != format.Whiteout {
			t.dirent(dir, &e)
		}
	}
	return nil
}

// dirent checks one entry.
func (t *treeCheck) dirent(dir uint32, e *format.Dirent) {
	at, ok := t.find(e.Ino)
	switch {
	case !ok:
		// What was lost is reported with the damage.
		if !t.c.isLost(inodeKey(e.Ino), past(inodeKey(e.Ino))) {
			t.wrong(e.Ino, "an entry points to it, and it does not exist")
		}
		return
	case e.Ino == format.RootIno:
		t.wrong(e.Ino, "the root directory has an entry")
		return
	case t.flags[at]&typeMask != e.Type:
		t.wrong(e.Ino, "its type differs from its entry's")
	}
	if t.names[at] < math.MaxUint32 {
		t.names[at]++
	}
	if t.isDir(at) {
		t.parent[at] = dir
	}
}

// links compares the numbers of links with those of entries.
func (t *treeCheck) links() {
	complete := !t.entriesLost()
	for at, ino := range t.inos {
		said, is := t.nlink[at], t.names[at]
		_, orphan := slices.BinarySearch(t.orphans, ino)
		switch {
		case ino == format.RootIno:
		case orphan && said != 0:
			t.wrong(ino, "it is listed as without a name and has links")
		case said == 0 && !orphan && is == 0:
			if !t.c.isLost(orphanKey(ino), orphanKey(ino+1)) {
				t.wrong(ino, "it has no links and is not listed as without a name")
			}
		case t.isDir(uint32(at)) && is > 1:
			t.wrong(ino, fmt.Sprintf("a directory with %d entries that point to it", is))
		case t.isDir(uint32(at)) && said != 0 && is == 1:
			// A directory's links count its subdirectories; the first pass has compared them.
		case is == 0 && said != 0:
			if complete {
				t.wrong(ino, "no entry points to it")
			}
		case is > said || is < said && complete:
			t.wrong(ino, fmt.Sprintf("it has %d links, and %d entries point to it", said, is))
		}
	}
	for _, ino := range t.orphans {
		if _, ok := t.find(ino); !ok && !t.c.inodeLost(ino) {
			t.wrong(ino, "it is listed as without a name, and it does not exist")
		}
	}
}

// entriesLost reports whether entries of a directory are among what cannot be read.
func (t *treeCheck) entriesLost() bool {
	for _, l := range t.c.lost {
		if l.to.Ino > l.from.Ino+1 {
			return true
		}
		for _, ino := range []uint64{l.from.Ino, l.to.Ino} {
			k := direntKey(ino, 0)
			at, known := t.find(ino)
			if l.from.Less(past(k)) && k.Less(l.to) && ino != 0 && (!known || t.isDir(at)) {
				return true
			}
		}
	}
	return false
}

// parents checks what directories say of their parents, and that the way up from each ends
// at the root or at a directory that has been reported to have no entry.
func (t *treeCheck) parents() {
	for _, d := range t.dirs {
		switch p := t.parent[d.dir]; {
		case t.inos[d.dir] == format.RootIno:
			if d.parent != format.RootIno {
				t.wrong(format.RootIno, fmt.Sprintf("the root directory says that its parent is inode %d", d.parent))
			}
		case p != noParent && t.inos[p] != d.parent && t.names[d.dir] == 1:
			t.wrong(t.inos[d.dir], fmt.Sprintf("it says that its parent is inode %d, its entry is in inode %d", d.parent, t.inos[p]))
		}
	}
	for _, d := range t.dirs {
		at := d.dir
		for at != noParent && t.flags[at]&(flagRoot|flagSeen|flagPath) == 0 {
			t.flags[at] |= flagPath
			at = t.parent[at]
		}
		if at != noParent && t.flags[at]&flagPath != 0 && t.flags[at]&flagSeen == 0 {
			t.wrong(t.inos[at], "the directory contains itself")
		}
		for at := d.dir; at != noParent && t.flags[at]&flagPath != 0 && t.flags[at]&flagSeen == 0; at = t.parent[at] {
			t.flags[at] |= flagSeen
		}
	}
}
