package hostfs

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// dir is a directory.
type dir struct{ inode }

var (
	_ vfs.Dir         = (*dir)(nil)
	_ vfs.Revalidator = (*dir)(nil)
)

// Lookup implements vfs.Dir.
func (d *dir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	_, id, err := d.statName(name)
	if err != nil {
		return nil, err
	}
	return d.fs.table.find(d.fs, id, d, name), nil
}

// statName asks the host what name stands for.
//
// Errors: ENOENT; EINVAL for what is no name.
func (d *dir) statName(name string) (vfs.Attr, hostID, error) {
	if !validName(name) {
		return vfs.Attr{}, hostID{}, unix.EINVAL
	}
	dd, err := d.acquire()
	if err != nil {
		return vfs.Attr{}, hostID{}, err
	}
	defer dd.put()
	return d.fs.gate.stat(dd.fd, name)
}

// Revalidate implements vfs.Revalidator.
func (d *dir) Revalidate(ctx context.Context, name string, child vfs.Inode) (vfs.Attr, bool) {
	a, id, err := d.statName(name)
	if child == nil {
		return vfs.Attr{}, errors.Is(err, unix.ENOENT)
	}
	x, ok := child.(node)
	if !ok {
		return vfs.Attr{}, false
	}
	i := x.base()
	if err != nil || id != i.id {
		return vfs.Attr{}, i.id.typ == unix.S_IFDIR && i.movedFrom(d, name)
	}
	i.seenAt(d, name)
	a.Ino = i.ino
	return a, true
}

// RevalidatePath implements vfs.Revalidator: if the host can keep below d, it is asked once for the whole path. That
// the directories on the way are still those that they were is not known then, only that the path leads to
// child, and that is where it was last seen.
func (d *dir) RevalidatePath(ctx context.Context, path string, child vfs.Dir) bool {
	x, ok := child.(*dir)
	if !ok || d.fs.gate.caps&CanStatBeneath == 0 || !x.seenBelow(d, path) {
		return false
	}
	dd, err := d.acquire()
	if err != nil {
		return false
	}
	defer dd.put()
	id, err := d.fs.gate.statBeneath(dd.fd, path)
	return err == nil && id == x.id
}

// seenBelow reports whether path is how the directory was last reached from d.
func (x *dir) seenBelow(d *dir, path string) bool {
	for x != d {
		p := x.place.Load()
		if p == nil || !strings.HasSuffix(path, p.name) {
			return false
		}
		x, path = p.dir, path[:len(path)-len(p.name)]
		if x == d {
			break
		}
		if !strings.HasSuffix(path, "/") {
			return false
		}
		path = path[:len(path)-1]
	}
	return path == ""
}

// movedFrom reports whether the directory i is not at name only because we are moving or removing
// it, or have done so since the host was asked. The VFS then changes its cache itself. It
// must not drop the entry, or else the next lookup would make a second one for a directory in use.
func (i *inode) movedFrom(d *dir, name string) bool {
	i.moveMu.RLock()
	defer i.moveMu.RUnlock()
	p := i.place.Load()
	if p == nil || !p.is(d, name) {
		return true
	}
	_, id, err := d.statName(name)
	return err == nil && id == i.id
}

// seenAt notes a name that the host has just said to be one of the inode's. A directory has
// only that under which it was looked up.
func (i *inode) seenAt(d *dir, name string) {
	if p := i.place.Load(); p != nil && p.is(d, name) || i.id.typ == unix.S_IFDIR {
		return
	}
	// One of several links. It may be being renamed: ask again when that is over.
	i.moveMu.Lock()
	defer i.moveMu.Unlock()
	if _, id, err := d.statName(name); err == nil && id == i.id {
		i.seen(d, name)
	}
}

// changed notes that names in the directory have changed, if the mount wants them durable: the VFS
// calls Sync then.
func (d *dir) changed() {
	if !d.fs.dirSync {
		return
	}
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	d.fs.unsynced[d] = struct{}{}
}

// sync makes the names in the directory durable.
func (d *dir) sync() error {
	dd, err := d.acquire()
	if err != nil {
		return err
	}
	defer dd.put()
	fd, err := d.fs.opened(func() (FD, error) { return d.fs.gate.openDir(dd.fd) })
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil // it has been removed
	case err != nil:
		return err
	}
	err = d.fs.gate.fsync(fd, false)
	if cerr := d.fs.gate.close(fd); err == nil {
		err = cerr
	}
	return err
}

// Mknod implements vfs.Dir: there are no new special files on the host.
func (d *dir) Mknod(ctx context.Context, name string, rdev uint64, a vfs.CreateAttr) (vfs.Inode, error) {
	return nil, unix.EPERM
}

// Tmpfile implements vfs.Dir.
func (d *dir) Tmpfile(ctx context.Context, a vfs.CreateAttr) (vfs.Regular, error) {
	return nil, unix.EOPNOTSUPP
}

// Whiteout implements vfs.Dir.
func (d *dir) Whiteout(ctx context.Context, name string, child vfs.Inode) error { return unix.EINVAL }
