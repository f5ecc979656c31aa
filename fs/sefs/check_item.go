package sefs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// An inodeCheck looks at the items of one inode, which come in the order of types:
// attributes, data, entries, extended attributes, target.
type inodeCheck struct {
	ino  uint64
	have bool // attributes are there
	n    format.Inode
	bad  bool // something was reported that makes sums meaningless

	blocks, end       uint64 // blocks that are no holes; behind the last one
	inline            bool
	entries, dirs     uint64 // visible entries, those that are directories
	xattrs, names     uint32 // extended attributes; bytes of their names, each with a NUL
	value             format.XattrHead
	off, piece, bytes uint64 // key, pieces and bytes so far of the running attribute
	target            uint64 // bytes
}

// inodeItem looks at one item of the current inode.
func (t *treeCheck) inodeItem(k format.Key, val []byte) {
	i := &t.cur
	if k.Type != format.TypeInode && !i.have && !i.bad {
		i.bad = true
		if !t.c.inodeLost(k.Ino) {
			t.wrong(k.Ino, "it has items and no attributes")
		}
	}
	switch k.Type {
	case format.TypeInode:
		n, err := format.DecodeInode(val)
		if err != nil || k.Off != 0 || k.Ino >= format.MaxIno {
			i.bad = true
			t.wrong(k.Ino, "its attributes are impossible")
			return
		}
		i.n, i.have = n, true
	case format.TypeInline:
		i.inline = true
		i.blocks, i.end = i.blocks+1, 1
		i.only(t, unix.S_IFREG, "data")
		if k.Off != 0 {
			i.fail(t, "it has inline data where there can be none")
		}
	case format.TypeExtent:
		i.extent(t, k, val)
	case format.TypeDirent:
		i.dirents(t, k, val)
	case format.TypeXattr:
		i.xattr(t, k, val)
	case format.TypeSymlink:
		if k.Off*format.SymlinkPiece != i.target || len(val) == 0 || len(val) > format.SymlinkPiece {
			i.fail(t, "a piece of its target is missing")
		}
		i.target += uint64(len(val))
		i.only(t, unix.S_IFLNK, "a target")
	default:
		t.wrong(k.Ino, fmt.Sprintf("it has an item of unknown type %d", k.Type))
	}
}

// fail reports a problem of the inode, once.
func (i *inodeCheck) fail(t *treeCheck, text string) {
	if !i.bad && !t.c.inodeLost(i.ino) {
		t.wrong(i.ino, text)
	}
	i.bad = true
}

// only reports items that files of other types do not have.
func (i *inodeCheck) only(t *treeCheck, kind uint32, what string) {
	if i.have && i.n.Mode&unix.S_IFMT != kind {
		i.fail(t, "it has "+what+", which files of its type have not")
	}
}

func (i *inodeCheck) extent(t *treeCheck, k format.Key, val []byte) {
	i.only(t, unix.S_IFREG, "data")
	e, err := format.DecodeExtent(val)
	if err != nil || k.Off > format.MaxBlock {
		i.bad = true // the engine has reported it
		return
	}
	if k.Off < i.end {
		i.fail(t, fmt.Sprintf("two extents have block %d", k.Off))
	}
	i.blocks += uint64(e.Len())
	i.end = max(i.end, k.Off+uint64(e.Len()))
}

func (i *inodeCheck) dirents(t *treeCheck, k format.Key, val []byte) {
	i.only(t, unix.S_IFDIR, "entries")
	it := format.Dirents(val)
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		if format.DirentOff(t.c.vol.NameHash(string(e.Name))) != k.Off {
			i.fail(t, fmt.Sprintf("its entry %q lies where it cannot be found", e.Name))
		}
		if e.Type != format.Whiteout {
			i.entries++
		}
		if e.Type == unix.DT_DIR {
			i.dirs++
		}
	}
	if it.Err() != nil {
		i.fail(t, "an entry is impossible")
	}
}

func (i *inodeCheck) xattr(t *treeCheck, k format.Key, val []byte) {
	if k.Off%format.XattrLane != 0 {
		i.piece++
		want := min(uint64(i.value.Len)-min(i.bytes, uint64(i.value.Len)), format.XattrPiece)
		if k.Off != i.off+i.piece || uint64(len(val)) != want || want == 0 {
			i.fail(t, "a piece of an extended attribute does not fit")
		}
		i.bytes += uint64(len(val))
		return
	}
	i.xattrDone(t)
	h, err := format.DecodeXattrHead(val)
	if err != nil {
		i.fail(t, "an extended attribute is impossible")
		return
	}
	first := k.Off &^ (format.XattrLanes*format.XattrLane - 1)
	if format.XattrOff(t.c.vol.NameHash(string(h.Name))) != first {
		i.fail(t, fmt.Sprintf("its extended attribute %q lies where it cannot be found", h.Name))
	}
	i.xattrs++
	i.names += uint32(len(h.Name)) + 1
	i.value, i.off, i.piece, i.bytes = format.XattrHead{Len: h.Len}, k.Off, 0, uint64(len(h.First))
}

// xattrDone ends an extended attribute.
func (i *inodeCheck) xattrDone(t *treeCheck) {
	if i.bytes != uint64(i.value.Len) {
		i.fail(t, "a piece of an extended attribute is missing")
	}
}

// done compares what the attributes say with what was seen.
func (i *inodeCheck) done(t *treeCheck) {
	i.xattrDone(t)
	if !i.have || i.bad {
		return
	}
	n := &i.n
	differ := func(what string, said, is uint64) {
		if said != is && !t.c.inodeLost(i.ino) {
			t.wrong(i.ino, fmt.Sprintf("its attributes say %d %s, there are %d", said, what, is))
		}
	}
	differ("extended attributes", uint64(n.Xattrs), uint64(i.xattrs))
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		differ("blocks of data", n.Blocks, i.blocks+t.logged[i.ino])
		if size := (n.Size + format.BlockSize - 1) / format.BlockSize; i.end > size {
			t.wrong(i.ino, fmt.Sprintf("it has %d bytes, and data at block %d", n.Size, i.end-1))
		}
	case unix.S_IFDIR:
		differ("bytes of entries", n.Size, i.entries*format.DirentSize)
		if n.Nlink != 0 {
			differ("links", uint64(n.Nlink), 2+i.dirs)
		}
	case unix.S_IFLNK:
		differ("bytes of the target", n.Size, i.target)
	}
}
