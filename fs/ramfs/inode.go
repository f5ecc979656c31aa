package ramfs

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// inode is what all files have. A name in a directory pins it, so it is evicted once it has no
// name and no user left.
type inode struct {
	vfs.InodeState
	fs   *FS
	ino  uint64
	typ  uint32 // S_IFMT bits
	rdev uint64

	mu     sync.Mutex
	xattrs map[string][]byte // values are never changed in place

	// The attributes are written under mu and read without it: seq is odd
	// while they change.
	seq                        atomic.Uint32
	mode, uid, gid, nlink      atomic.Uint32
	size, blocks               atomic.Int64
	atime, mtime, ctime, btime stamp
}

// stamp is a timestamp that is read and written in halves.
type stamp struct{ sec, nsec atomic.Int64 }

func (s *stamp) load() unix.Timespec   { return unix.Timespec{Sec: s.sec.Load(), Nsec: s.nsec.Load()} }
func (s *stamp) store(t unix.Timespec) { s.sec.Store(t.Sec); s.nsec.Store(t.Nsec) }

// init makes a new inode, without a name.
//
// Errors: ENOSPC.
func (i *inode) init(fs *FS, typ uint32, a vfs.CreateAttr) error {
	if err := fs.space.take(inodeSpace + spaceOfAll(a.Xattrs)); err != nil {
		return err
	}
	i.fs, i.typ, i.ino = fs, typ, fs.lastIno.Add(1)
	i.mode.Store(a.Mode & 0o7777)
	i.uid.Store(a.UID)
	i.gid.Store(a.GID)
	for _, t := range []*stamp{&i.atime, &i.mtime, &i.ctime, &i.btime} {
		t.store(a.Time)
	}
	i.xattrs = cloneXattrs(a.Xattrs)
	return nil
}

func cloneXattrs(m map[string][]byte) map[string][]byte {
	m = maps.Clone(m)
	for name, value := range m {
		m[name] = slices.Clone(value)
	}
	return m
}

// change runs f, which changes the attributes, as one step.
func (i *inode) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.beginLocked()
	defer i.endLocked()
	f()
}

func (i *inode) beginLocked() { i.seq.Add(1) }
func (i *inode) endLocked()   { i.seq.Add(1) }

// Getattr returns all attributes, whatever mask says. It takes no lock.
func (i *inode) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) {
	for {
		seq := i.seq.Load()
		if seq&1 != 0 {
			runtime.Gosched()
			continue
		}
		a := vfs.Attr{
			Mask:    unix.STATX_BASIC_STATS | unix.STATX_BTIME,
			Mode:    i.typ | i.mode.Load(),
			Nlink:   i.nlink.Load(),
			UID:     i.uid.Load(),
			GID:     i.gid.Load(),
			Ino:     i.ino,
			Size:    i.size.Load(),
			Blocks:  i.blocks.Load(),
			Blksize: pageSize,
			Rdev:    i.rdev,
			Atime:   i.atime.load(),
			Mtime:   i.mtime.load(),
			Ctime:   i.ctime.load(),
			Btime:   i.btime.load(),
		}
		if i.seq.Load() == seq {
			return a, nil
		}
	}
}

// Setattr changes the attributes; only regular files have a size to change.
func (i *inode) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if sa.Mask&unix.STATX_SIZE != 0 {
		return unix.EINVAL
	}
	i.change(func() { i.applyLocked(sa) })
	return nil
}

func (i *inode) applyLocked(sa vfs.SetAttr) {
	if sa.Mask&unix.STATX_MODE != 0 {
		i.mode.Store(sa.Mode & 0o7777)
	}
	if sa.Mask&unix.STATX_UID != 0 {
		i.uid.Store(sa.UID)
	}
	if sa.Mask&unix.STATX_GID != 0 {
		i.gid.Store(sa.GID)
	}
	if sa.Mask&unix.STATX_ATIME != 0 {
		i.atime.store(sa.Atime)
	}
	if sa.Mask&unix.STATX_MTIME != 0 {
		i.mtime.store(sa.Mtime)
	}
	if sa.Mask&unix.STATX_CTIME != 0 {
		i.ctime.store(sa.Ctime)
	}
}

// touch sets mtime and ctime to now.
func (i *inode) touch() {
	now := i.fs.time()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.beginLocked()
	i.mtime.store(now)
	i.ctime.store(now)
	i.endLocked()
}

// addLinks changes the link count, and ctime with it. It returns the new count.
func (i *inode) addLinks(n int) (nlink uint32) {
	now := i.fs.time()
	i.change(func() {
		nlink = i.nlink.Add(uint32(n))
		i.ctime.store(now)
	})
	return nlink
}

// Evict gives the space back.
func (i *inode) Evict(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fs.space.give(inodeSpace + spaceOfAll(i.xattrs))
	return nil
}

// Xattrs returns the extended attributes.
func (i *inode) Xattrs() vfs.Xattrs { return (*xattrs)(i) }

type xattrs inode

func (x *xattrs) Getxattr(ctx context.Context, name string) ([]byte, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	value, ok := x.xattrs[name]
	if !ok {
		return nil, unix.ENODATA
	}
	return slices.Clone(value), nil
}

// Setxattr needs the space of the new value before that of the old one is given back, as in tmpfs.
//
// Errors: ENOSPC; EEXIST; ENODATA.
func (x *xattrs) Setxattr(ctx context.Context, name string, value []byte, flags int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	space := spaceOf(name, value)
	if err := x.fs.space.take(space); err != nil {
		return err
	}
	old, ok := x.xattrs[name]
	switch {
	case ok && flags&unix.XATTR_CREATE != 0:
		x.fs.space.give(space)
		return unix.EEXIST
	case !ok && flags&unix.XATTR_REPLACE != 0:
		x.fs.space.give(space)
		return unix.ENODATA
	case ok:
		x.fs.space.give(spaceOf(name, old))
	}
	if x.xattrs == nil {
		x.xattrs = make(map[string][]byte)
	}
	x.xattrs[name] = append([]byte{}, value...)
	x.changedLocked()
	return nil
}

func (x *xattrs) Listxattr(ctx context.Context) ([]string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.xattrs)), nil
}

func (x *xattrs) Removexattr(ctx context.Context, name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	old, ok := x.xattrs[name]
	if !ok {
		return unix.ENODATA
	}
	x.fs.space.give(spaceOf(name, old))
	delete(x.xattrs, name)
	x.changedLocked()
	return nil
}

func (x *xattrs) changedLocked() {
	i := (*inode)(x)
	i.beginLocked()
	i.ctime.store(i.fs.time())
	i.endLocked()
}

// symlink is a symbolic link.
type symlink struct {
	inode
	target string
}

// Errors: ENOSPC.
func newSymlink(fs *FS, target string, a vfs.CreateAttr) (*symlink, error) {
	l := &symlink{target: target}
	if err := l.init(fs, unix.S_IFLNK, a); err != nil {
		return nil, err
	}
	if len(target) > inlineTarget {
		if err := fs.pages.take(1); err != nil {
			fs.space.give(inodeSpace + spaceOfAll(l.xattrs))
			return nil, err
		}
		l.blocks.Store(pageSize / 512)
	}
	l.size.Store(int64(len(target)))
	return l, nil
}

// Readlink returns the target.
func (l *symlink) Readlink(ctx context.Context) (string, error) { return l.target, nil }

// Evict gives the space back.
func (l *symlink) Evict(ctx context.Context) error {
	if len(l.target) > inlineTarget {
		l.fs.pages.give(1)
	}
	return l.inode.Evict(ctx)
}

// special is a device, FIFO, socket or whiteout.
type special struct{ inode }

// Errors: ENOSPC.
func newSpecial(fs *FS, rdev uint64, a vfs.CreateAttr) (*special, error) {
	s := &special{}
	if err := s.init(fs, a.Mode&unix.S_IFMT, a); err != nil {
		return nil, err
	}
	s.rdev = rdev
	return s, nil
}

// Errors: ENOSPC.
func newWhiteout(fs *FS) (*special, error) {
	return newSpecial(fs, 0, vfs.CreateAttr{Mode: unix.S_IFCHR, Time: fs.time()})
}
