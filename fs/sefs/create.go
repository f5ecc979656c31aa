package sefs

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// Create implements vfs.Dir.
func (d *dir) Create(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Regular, error) {
	x, err := d.create(ctx, name, newFile{mode: unix.S_IFREG | a.Mode&0o7777}, &a)
	if err != nil {
		return nil, err
	}
	return x.(*regular), nil
}

// Mkdir implements vfs.Dir.
func (d *dir) Mkdir(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Dir, error) {
	x, err := d.create(ctx, name, newFile{mode: unix.S_IFDIR | a.Mode&0o7777}, &a)
	if err != nil {
		return nil, err
	}
	return x.(*dir), nil
}

// Symlink implements vfs.Dir. Errors: ENOENT for an empty target, ENAMETOOLONG.
func (d *dir) Symlink(ctx context.Context, name, target string, a vfs.CreateAttr) (vfs.Symlink, error) {
	switch {
	case target == "":
		return nil, unix.ENOENT
	case len(target) > format.MaxSymlink:
		return nil, unix.ENAMETOOLONG
	}
	x, err := d.create(ctx, name, newFile{mode: unix.S_IFLNK | 0o777, target: target}, &a)
	if err != nil {
		return nil, err
	}
	return x.(*symlink), nil
}

// Mknod implements vfs.Dir. Errors: EPERM for a directory, and for the
// character device 0:0, which stands for a whiteout; EINVAL for an unknown type.
func (d *dir) Mknod(ctx context.Context, name string, rdev uint64, a vfs.CreateAttr) (vfs.Inode, error) {
	f := newFile{mode: a.Mode & (unix.S_IFMT | 0o7777)}
	switch a.Mode & unix.S_IFMT {
	case 0, unix.S_IFREG:
		f.mode = unix.S_IFREG | a.Mode&0o7777
	case unix.S_IFIFO, unix.S_IFSOCK:
	case unix.S_IFCHR:
		if rdev == 0 {
			return nil, unix.EPERM
		}
		f.rdev = rdev
	case unix.S_IFBLK:
		f.rdev = rdev
	case unix.S_IFDIR:
		return nil, unix.EPERM
	default:
		return nil, unix.EINVAL
	}
	x, err := d.create(ctx, name, f, &a)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Tmpfile implements vfs.Dir.
func (d *dir) Tmpfile(ctx context.Context, a vfs.CreateAttr) (vfs.Regular, error) {
	if err := checkXattrs(a.Xattrs); err != nil {
		return nil, err
	}
	if err := d.live(); err != nil {
		return nil, err
	}
	o, err := d.fs.begin(ctx)
	if err != nil {
		return nil, err
	}
	f := newFile{mode: unix.S_IFREG | a.Mode&0o7777, unnamed: true}
	x := o.newInode(d, f, &a)
	o.publish(x, f, &a)
	if err := o.end(); err != nil {
		return nil, err
	}
	return x.(*regular), nil
}

// newFile is what distinguishes the inodes that create makes.
type newFile struct {
	mode    uint32
	rdev    uint64
	target  string
	unnamed bool // O_TMPFILE
}

// create makes an inode and its entry in one step. A whiteout is replaced.
func (d *dir) create(ctx context.Context, name string, f newFile, a *vfs.CreateAttr) (anyInode, error) {
	if err := checkXattrs(a.Xattrs); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.free(name); err != nil {
		return nil, err
	}
	o, err := d.fs.begin(ctx)
	if err != nil {
		return nil, err
	}
	subdir := f.mode&unix.S_IFMT == unix.S_IFDIR
	if subdir && d.st.Load().Nlink == format.MaxNlink {
		o.fail(unix.EMLINK)
	}
	x := o.newInode(d, f, a)
	o.link(d, name, entry{ino: x.base().ino, typ: direntType(f.mode)})
	o.publish(x, f, a)
	d.touch(&o, a.Time, 1, bit(subdir))
	if err := o.end(); err != nil {
		return nil, err
	}
	return x, nil
}

// free returns nil if name can be created in d: it is absent or a whiteout.
// Errors: EEXIST; ENOENT if d is removed.
func (d *dir) free(name string) error {
	if err := d.live(); err != nil {
		return err
	}
	e, err := d.probe(name)
	if err != nil {
		return err
	}
	if e.visible() {
		return unix.EEXIST
	}
	return nil
}

// newInode makes an inode with a new number. Nobody knows it until publish.
func (o *op) newInode(d *dir, f newFile, a *vfs.CreateAttr) anyInode {
	ino := o.newIno()
	s := &state{
		Attr: vfs.Attr{
			Mask: attrMask, Mode: f.mode, Nlink: 1, UID: a.UID, GID: a.GID, Ino: ino,
			Size: int64(len(f.target)), Blksize: format.BlockSize, Rdev: f.rdev,
			Atime: a.Time, Mtime: a.Time, Ctime: a.Time, Btime: a.Time,
		},
		xattrs: uint32(len(a.Xattrs)),
	}
	switch {
	case f.mode&unix.S_IFMT == unix.S_IFDIR:
		s.Nlink, s.parent = 2, d.ino
	case f.unnamed:
		s.Nlink = 0
	}
	return o.fs.wrap(ino, s)
}

// publish writes what belongs to the new inode x besides its attributes, and
// enters it into the table, pinned. It does nothing if o has failed.
func (o *op) publish(x anyInode, f newFile, a *vfs.CreateAttr) {
	i := x.base()
	// In order of their names, so that equal calls make equal trees.
	for _, name := range slices.Sorted(maps.Keys(a.Xattrs)) {
		o.addXattr(i.ino, name, a.Xattrs[name])
	}
	o.putSymlink(i.ino, f.target)
	if o.err != nil {
		return
	}
	i.Pin()
	o.fs.table.add(x)
	o.fs.wb.add(o, i)
}
