package sefs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
	"cloister/vfs"
)

// state is what an inode item holds. A published state never changes.
type state struct {
	vfs.Attr
	parent uint64 // of a directory
	xattrs uint32 // extended attributes
}

// inode is the part that all types of files share. It corresponds to struct inode.
type inode struct {
	vfs.InodeState
	fs  *FS
	ino uint64

	st atomic.Pointer[state] // replaced under mu, read without

	// A write to a regular file changes these two and leaves st alone, so that
	// it allocates nothing. They count more than what st says.
	size  atomic.Int64 // bytes
	wtime atomic.Int64 // nanoseconds: mtime and ctime by writes since st was replaced; 0: none
	data  *volume.File // nil for all but regular files

	dirty atomic.Bool // in the list of changed inodes

	mu sync.Mutex // serialises changes

	// Guarded by writeback.workMu.
	stored bool // the tree has an item of this inode
	orphan bool // the tree has an ORPHAN item for it
}

func (i *inode) base() *inode { return i }

// snapshot returns the current state.
func (i *inode) snapshot() state {
	wtime := i.wtime.Load()
	s := *i.st.Load()
	i.addWrites(&s.Attr, wtime)
	return s
}

// Getattr implements vfs.Inode without locks and allocations.
func (i *inode) Getattr(ctx context.Context, mask uint32) (a vfs.Attr, _ error) {
	wtime := i.wtime.Load()
	a = i.st.Load().Attr
	i.addWrites(&a, wtime)
	return a, nil
}

// addWrites adds to a, taken from st, what writes have changed since. wtime must
// have been read before st: a change replaces st first and clears wtime then.
func (i *inode) addWrites(a *vfs.Attr, wtime int64) {
	if i.data == nil {
		return
	}
	a.Size = i.size.Load()
	a.Blocks = i.data.Blocks() * (format.BlockSize / 512)
	if wtime != 0 {
		a.Mtime = unix.NsecToTimespec(wtime)
		a.Ctime = a.Mtime
	}
}

// update publishes the state that change makes of the current one, within o.
// It does nothing if o has failed.
//
// Preconditions:
//   - i.mu is held, or i is new and nobody else knows it.
func (i *inode) update(o *op, change func(s *state)) {
	if o.err != nil {
		return
	}
	s := i.snapshot()
	change(&s)
	i.st.Store(&s)
	i.size.Store(s.Size)
	i.wtime.Store(0)
	i.fs.wb.add(o, i)
}

// Setattr implements vfs.Inode for all but sizes.
func (i *inode) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if sa.Mask&unix.STATX_SIZE != 0 {
		return unix.EINVAL
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	o, err := i.fs.begin(ctx)
	if err != nil {
		return err
	}
	i.update(&o, func(s *state) { applyAttr(s, sa) })
	return o.end()
}

// applyAttr changes in s what sa names, the size aside.
func applyAttr(s *state, sa vfs.SetAttr) {
	if sa.Mask&unix.STATX_MODE != 0 {
		s.Mode = s.Mode&unix.S_IFMT | sa.Mode&0o7777
	}
	if sa.Mask&unix.STATX_UID != 0 {
		s.UID = sa.UID
	}
	if sa.Mask&unix.STATX_GID != 0 {
		s.GID = sa.GID
	}
	if sa.Mask&unix.STATX_ATIME != 0 {
		s.Atime = sa.Atime
	}
	if sa.Mask&unix.STATX_MTIME != 0 {
		s.Mtime = sa.Mtime
	}
	if sa.Mask&unix.STATX_CTIME != 0 {
		s.Ctime = sa.Ctime
	}
}

// attrMask are the STATX_* bits that every inode of this package fills in.
const attrMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// load reads an inode from the tree.
func (fs *FS) load(ino uint64) (anyInode, error) {
	var buf [format.InodeLen]byte
	val, err := fs.get(inodeKey(ino), buf[:0])
	if err != nil {
		return nil, err
	}
	n, err := format.DecodeInode(val)
	if err != nil {
		return nil, fmt.Errorf("sefs: inode %d: %w", ino, err)
	}
	x := fs.wrap(ino, &state{
		Attr: vfs.Attr{
			Mask: attrMask, Mode: n.Mode, Nlink: n.Nlink, UID: n.UID, GID: n.GID, Ino: ino,
			Size: int64(n.Size), Blocks: int64(n.Blocks) * (format.BlockSize / 512),
			Blksize: format.BlockSize, Rdev: n.Rdev,
			Atime: n.Atime, Mtime: n.Mtime, Ctime: n.Ctime, Btime: n.Btime,
		},
		parent: n.Parent,
		xattrs: n.Xattrs,
	})
	x.base().stored = true
	return x, nil
}

// wrap makes the value that stands for an inode in memory, unpinned.
func (fs *FS) wrap(ino uint64, s *state) anyInode {
	var x anyInode
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		x = &dir{}
	case unix.S_IFREG:
		x = &regular{}
	case unix.S_IFLNK:
		x = &symlink{}
	default:
		x = &special{}
	}
	i := x.base()
	i.fs, i.ino = fs, ino
	i.st.Store(s)
	i.size.Store(s.Size)
	if s.Mode&unix.S_IFMT == unix.S_IFREG {
		i.data = fs.vol.File(ino, s.Blocks/(format.BlockSize/512))
		i.data.SetSize(s.Size)
	}
	return x
}

// item returns the INODE item of s.
func (s *state) item() format.Inode {
	return format.Inode{
		Mode: s.Mode, UID: s.UID, GID: s.GID, Nlink: s.Nlink, Xattrs: s.xattrs,
		Size: uint64(s.Size), Blocks: uint64(s.Blocks) / (format.BlockSize / 512), Rdev: s.Rdev, Parent: s.parent,
		Atime: s.Atime, Mtime: s.Mtime, Ctime: s.Ctime, Btime: s.Btime,
	}
}

// lockInodes locks up to four inodes, of which some may be nil or equal, in
// the order of their numbers, and returns the function that unlocks them.
func lockInodes(inodes ...*inode) (unlock func()) {
	inodes = slices.DeleteFunc(inodes, func(i *inode) bool { return i == nil })
	slices.SortFunc(inodes, func(a, b *inode) int { return cmp.Compare(a.ino, b.ino) })
	inodes = slices.Compact(inodes)
	for _, i := range inodes {
		i.mu.Lock()
	}
	return func() {
		for _, i := range inodes {
			i.mu.Unlock()
		}
	}
}

// special is a FIFO, a socket or a device file: a name with attributes.
type special struct{ inode }

var _ vfs.Inode = (*special)(nil)
