package ramfs

import (
	"context"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// entrySize is what an entry adds to the size of a directory, in bytes, as in tmpfs.
const entrySize = 20

// firstPos is the position of the first entry; the VFS has those below.
const firstPos = 3

// dir is a directory.
type dir struct {
	inode
	names   map[string]*entry
	order   []*entry // by pos, with the removed ones
	dead    int      // removed entries in order
	hidden  int      // whiteouts in names
	lastPos uint64
}

// entry is one name. inode is nil once it is removed.
type entry struct {
	name  string
	inode vfs.Inode
	pos   uint64
}

// Errors: ENOSPC.
func newDir(fs *FS, a vfs.CreateAttr) (*dir, error) {
	d := &dir{names: make(map[string]*entry), lastPos: firstPos - 1}
	if err := d.init(fs, unix.S_IFDIR, a); err != nil {
		return nil, err
	}
	d.nlink.Store(2)
	d.size.Store(2 * entrySize)
	return d, nil
}

// base returns the part that all inodes of this package have.
func base(i vfs.Inode) *inode {
	switch i := i.(type) {
	case *dir:
		return &i.inode
	case *file:
		return &i.inode
	case *symlink:
		return &i.inode
	case *special:
		return &i.inode
	}
	panic("ramfs: inode of another file system")
}

func isWhiteout(i vfs.Inode) bool {
	s, ok := i.(*special)
	return ok && s.typ == unix.S_IFCHR && s.rdev == 0
}

// empty reports whether there is nothing but whiteouts.
func (d *dir) empty() bool { return len(d.names) == d.hidden }

// add enters i under name, whose entry it replaces, and pins it for that. It returns i's link count.
func (d *dir) add(ctx context.Context, name string, i vfs.Inode) (nlink uint32) {
	d.drop(ctx, name)
	d.lastPos++
	e := &entry{name: name, inode: i, pos: d.lastPos}
	d.names[name] = e
	d.order = append(d.order, e)
	base(i).Pin()
	nlink = base(i).addLinks(1)
	d.count(i, 1)
	return nlink
}

// count keeps account of n more entries like i.
func (d *dir) count(i vfs.Inode, n int) {
	if isWhiteout(i) {
		d.hidden += n
	}
	if _, ok := i.(*dir); ok {
		d.addLinks(n)
	}
	d.size.Store(int64(2+len(d.names)) * entrySize)
}

// drop removes name if it is there, with the pin and, if it is not the last of its inode, the
// space that it takes.
func (d *dir) drop(ctx context.Context, name string) {
	if e := d.names[name]; e != nil {
		_, isDir := e.inode.(*dir)
		if nlink := d.remove(ctx, name, e); nlink > 0 && !isDir {
			d.fs.space.give(inodeSpace)
		}
	}
}

// remove removes an entry with its pin. It returns the inode's link count.
func (d *dir) remove(ctx context.Context, name string, e *entry) (nlink uint32) {
	i := e.inode
	delete(d.names, name)
	e.inode = nil
	d.dead++
	d.compact()
	d.count(i, -1)
	nlink = base(i).addLinks(-1)
	_ = vfs.UnpinInode(ctx, i) // Evict never fails here
	return nlink
}

// compact forgets removed entries once they are the majority.
func (d *dir) compact() {
	if d.dead > 16 && d.dead > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.inode == nil })
		d.dead = 0
	}
}

// Lookup finds name.
func (d *dir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	e := d.names[name]
	if e == nil {
		return nil, unix.ENOENT
	}
	base(e.inode).Pin()
	return e.inode, nil
}

// made enters a new inode and returns it pinned for the caller.
func made[I vfs.Inode](ctx context.Context, d *dir, name string, i I) I {
	d.add(ctx, name, i)
	base(i).Pin()
	d.touch()
	return i
}

// Create makes a regular file.
//
// Errors: ENOSPC.
func (d *dir) Create(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Regular, error) {
	f, err := newFile(d.fs, a)
	if err != nil {
		return nil, err
	}
	return made(ctx, d, name, f), nil
}

// Mkdir makes a directory.
//
// Errors: ENOSPC.
func (d *dir) Mkdir(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Dir, error) {
	sub, err := newDir(d.fs, a)
	if err != nil {
		return nil, err
	}
	sub.nlink.Store(1) // its name is the second
	return made(ctx, d, name, sub), nil
}

// Symlink makes a symbolic link.
//
// Errors: ENOSPC.
func (d *dir) Symlink(ctx context.Context, name, target string, a vfs.CreateAttr) (vfs.Symlink, error) {
	l, err := newSymlink(d.fs, target, a)
	if err != nil {
		return nil, err
	}
	return made(ctx, d, name, l), nil
}

// Mknod makes a special file.
//
// Errors: ENOSPC.
func (d *dir) Mknod(ctx context.Context, name string, rdev uint64, a vfs.CreateAttr) (vfs.Inode, error) {
	s, err := newSpecial(d.fs, rdev, a)
	if err != nil {
		return nil, err
	}
	return made(ctx, d, name, s), nil
}

// Tmpfile makes a regular file without a name.
//
// Errors: ENOSPC.
func (d *dir) Tmpfile(ctx context.Context, a vfs.CreateAttr) (vfs.Regular, error) {
	f, err := newFile(d.fs, a)
	if err != nil {
		return nil, err
	}
	f.Pin()
	return f, nil
}

// Link adds a name. The first one of a file without (O_TMPFILE) takes no space.
//
// Errors: ENOSPC.
func (d *dir) Link(ctx context.Context, name string, target vfs.Inode) error {
	further := base(target).nlink.Load() > 0
	if further {
		if err := d.fs.space.take(inodeSpace); err != nil {
			return err
		}
	}
	switch nlink := d.add(ctx, name, target); {
	case further && nlink == 1: // the others were removed meanwhile
		d.fs.space.give(inodeSpace)
	case !further && nlink > 1: // others were made meanwhile
		d.fs.space.give(-inodeSpace)
	}
	d.touch()
	return nil
}

// Unlink removes a name.
func (d *dir) Unlink(ctx context.Context, name string, child vfs.Inode) error {
	d.drop(ctx, name)
	d.touch()
	return nil
}

// Rmdir removes an empty directory.
func (d *dir) Rmdir(ctx context.Context, name string, child vfs.Dir) error {
	sub := child.(*dir)
	if !sub.empty() {
		return unix.ENOTEMPTY
	}
	sub.bury(ctx)
	d.drop(ctx, name)
	d.touch()
	return nil
}

// bury drops the whiteouts of a directory that is about to be removed.
func (d *dir) bury(ctx context.Context) {
	for name := range d.names {
		d.drop(ctx, name)
	}
	d.addLinks(-1) // its "."
}

// Whiteout replaces name by a whiteout.
//
// Errors: ENOTEMPTY; ENOSPC.
func (d *dir) Whiteout(ctx context.Context, name string, child vfs.Inode) error {
	sub, isDir := child.(*dir)
	if isDir && !sub.empty() {
		return unix.ENOTEMPTY
	}
	w, err := newWhiteout(d.fs)
	if err != nil {
		return err
	}
	if isDir {
		sub.bury(ctx)
	}
	d.add(ctx, name, w)
	d.touch()
	return nil
}

// Rename moves an entry.
func (d *dir) Rename(ctx context.Context, r vfs.Rename) error {
	to := r.NewDir.(*dir)
	if r.Flags&unix.RENAME_EXCHANGE != 0 {
		d.exchange(to, r)
	} else if err := d.move(ctx, to, r); err != nil {
		return err
	}
	d.touch()
	if to != d {
		to.touch()
	}
	return nil
}

// move moves an entry, as Rename without RENAME_EXCHANGE. Once the whiteout is there, nothing can fail.
func (d *dir) move(ctx context.Context, to *dir, r vfs.Rename) (err error) {
	sub, overDir := r.Target.(*dir)
	if overDir && !sub.empty() {
		return unix.ENOTEMPTY
	}
	var whiteout *special
	if r.Flags&unix.RENAME_WHITEOUT != 0 {
		if whiteout, err = newWhiteout(d.fs); err != nil {
			return err
		}
	}
	if overDir {
		sub.bury(ctx)
	}
	base(r.Child).Pin() // while it has no name
	d.remove(ctx, r.OldName, d.names[r.OldName])
	to.add(ctx, r.NewName, r.Child)
	if whiteout != nil {
		d.add(ctx, r.OldName, whiteout)
	}
	return vfs.UnpinInode(ctx, r.Child)
}

// exchange swaps two entries in place, so that a ReadDir under way sees each name once.
func (d *dir) exchange(to *dir, r vfs.Rename) {
	a, b := d.names[r.OldName], to.names[r.NewName]
	d.count(a.inode, -1)
	to.count(b.inode, -1)
	a.inode, b.inode = b.inode, a.inode
	d.count(a.inode, 1)
	to.count(b.inode, 1)
	base(a.inode).addLinks(0)
	base(b.inode).addLinks(0)
}

// OpenDir opens the directory. Positions are those of the entries, so there is no state.
func (d *dir) OpenDir(ctx context.Context) (vfs.DirHandle, error) { return (*dirHandle)(d), nil }

type dirHandle dir

// ReadDir emits the entries in the order of their creation.
func (h *dirHandle) ReadDir(ctx context.Context, pos uint64, emit func(vfs.Dirent) bool) error {
	first := sort.Search(len(h.order), func(i int) bool { return h.order[i].pos > pos })
	for _, e := range h.order[first:] {
		if e.inode == nil {
			continue
		}
		b := base(e.inode)
		if !emit(vfs.Dirent{Name: e.name, Ino: b.ino, Type: uint8(b.typ >> 12), Pos: e.pos}) {
			return nil
		}
	}
	return nil
}

func (h *dirHandle) Fsync(ctx context.Context, datasync bool) error { return nil }
func (h *dirHandle) Release(ctx context.Context) error              { return nil }
