package sefs

import (
	"path"
	"slices"

	"cloister/fs/sefs/internal/format"
)

// maxPathDepth bounds the way up from a file: a damaged tree may have circles.
const maxPathDepth = 4096

// name finds the paths of all files that problems are about, with one pass over the
// entries of all directories.
func (c *check) name() error {
	n := namer{c: c, wanted: make(map[uint64][]int), dirs: map[uint64]string{format.RootIno: "/"}}
	for i := range c.report.Problems {
		p := &c.report.Problems[i]
		if p.Ino != 0 {
			n.wanted[p.Ino] = append(n.wanted[p.Ino], i)
		}
		if p.Kind == ProblemNode {
			n.lost = append(n.lost, i)
		}
	}
	if len(n.wanted)+len(n.lost) == 0 {
		return nil
	}
	slices.SortFunc(n.lost, func(x, y int) int {
		return c.report.Problems[x].from.Compare(c.report.Problems[y].from)
	})
	n.entry("/", format.RootIno)
	if err := c.vol.Walk(c.ctx, format.Key{}, n.item); err != nil {
		return err
	}
	for _, e := range n.entries {
		if dir, ok := n.dir(e.dir); ok {
			n.entry(path.Join(dir, e.name), e.ino)
		}
	}
	for i := range c.report.Problems {
		slices.Sort(c.report.Problems[i].Paths)
	}
	return nil
}

// A namer gives problems their paths.
type namer struct {
	c       *check
	wanted  map[uint64][]int  // problems of an inode
	lost    []int             // problems that lost items, in the order of keys
	dirs    map[uint64]string // paths of directories; "" for one that has none
	entries []foundEntry
}

// foundEntry is an entry of a file that a problem is about.
type foundEntry struct {
	dir, ino uint64
	name     string
}

// item looks for entries of files that problems are about.
func (n *namer) item(k format.Key, val []byte) error {
	if k.Type != format.TypeDirent {
		return nil
	}
	it := format.Dirents(val)
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		if n.about(e.Ino) && len(n.entries) < n.c.cfg.Limit {
			n.entries = append(n.entries, foundEntry{k.Ino, e.Ino, string(e.Name)})
		}
	}
	return nil
}

// about reports whether a problem is about an inode.
func (n *namer) about(ino uint64) bool {
	if ino == 0 {
		return false
	}
	if len(n.wanted[ino]) > 0 {
		return true
	}
	return n.firstLost(ino) < len(n.lost) && n.touches(n.lost[n.firstLost(ino)], ino)
}

// firstLost returns the first in n.lost that ends behind the beginning of an inode.
func (n *namer) firstLost(ino uint64) int {
	at, _ := slices.BinarySearchFunc(n.lost, inodeKey(ino), func(i int, k format.Key) int {
		if k.Less(n.c.report.Problems[i].to) {
			return 1
		}
		return -1
	})
	return at
}

// touches reports whether problem i lost items of an inode.
func (n *namer) touches(i int, ino uint64) bool {
	p := &n.c.report.Problems[i]
	return p.from.Less(format.Key{Ino: ino + 1}) && inodeKey(ino).Less(p.to)
}

// entry adds a path of an inode to the problems that are about it.
func (n *namer) entry(name string, ino uint64) {
	for _, i := range n.wanted[ino] {
		p := &n.c.report.Problems[i]
		p.Paths = append(p.Paths, name)
	}
	for at := n.firstLost(ino); at < len(n.lost) && n.touches(n.lost[at], ino); at++ {
		p := &n.c.report.Problems[n.lost[at]]
		p.Paths = append(p.Paths, name)
	}
}

// dir returns the path of a directory; false if no entries lead to it. A directory knows
// its parent, and there its entry is looked for.
func (n *namer) dir(ino uint64) (string, bool) {
	type step struct {
		ino  uint64
		name string
	}
	var up []step
	known, ok := n.dirs[ino]
	for at := ino; !ok && len(up) < maxPathDepth; known, ok = n.dirs[at] {
		parent, name := n.nameOf(at)
		up = append(up, step{at, name})
		if name == "" {
			break
		}
		at = parent
	}
	for _, s := range slices.Backward(up) {
		if known != "" && s.name != "" {
			known = path.Join(known, s.name)
		} else {
			known = ""
		}
		n.dirs[s.ino] = known
	}
	return known, known != ""
}

// nameOf returns the parent of a directory and its name there; "" if they cannot be found.
func (n *namer) nameOf(ino uint64) (parent uint64, name string) {
	var buf [format.InodeLen]byte
	val, err := n.c.vol.Get(inodeKey(ino), buf[:0])
	if err != nil {
		return 0, ""
	}
	i, err := format.DecodeInode(val)
	if err != nil || i.Parent == 0 {
		return 0, ""
	}
	from := direntKey(i.Parent, 0)
	// An error leaves the name unknown; what is damaged has been reported.
	_ = n.c.vol.Scan(from, past(from), func(_ format.Key, val []byte) bool {
		it := format.Dirents(val)
		for e, ok := it.Next(); ok && name == ""; e, ok = it.Next() {
			if e.Ino == ino {
				name = string(e.Name)
			}
		}
		return name == ""
	})
	return i.Parent, name
}
