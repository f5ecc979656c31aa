package hostfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Create implements vfs.Dir. The descriptor that comes with the new file serves the first
// Open, which the file's mode may forbid already.
func (d *dir) Create(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Regular, error) {
	x, err := d.make(name, unix.S_IFREG, a, func(dir FD) (*desc, error) {
		fd, err := d.fs.opened(func() (FD, error) { return d.fs.gate.create(dir, name, d.fs.gate.owners.mode(a.Mode&0o777)) })
		if err != nil {
			return nil, err
		}
		made := newDesc(d.fs.gate, fd)
		made.writable, made.fresh = true, true
		return made, nil
	})
	if err != nil {
		return nil, err
	}
	return x.(*regular), nil
}

// Mkdir implements vfs.Dir.
func (d *dir) Mkdir(ctx context.Context, name string, a vfs.CreateAttr) (vfs.Dir, error) {
	x, err := d.make(name, unix.S_IFDIR, a, func(dir FD) (*desc, error) {
		if err := d.fs.gate.mkdir(dir, name, d.fs.gate.owners.mode(a.Mode&0o777)); err != nil {
			return nil, err
		}
		return d.openMade(dir, name, unix.S_IFDIR)
	})
	if err != nil {
		return nil, err
	}
	return x.(vfs.Dir), nil
}

// Symlink implements vfs.Dir. The host keeps the target, and never resolves it for us.
func (d *dir) Symlink(ctx context.Context, name, target string, a vfs.CreateAttr) (vfs.Symlink, error) {
	x, err := d.make(name, unix.S_IFLNK, a, func(dir FD) (*desc, error) {
		if err := d.fs.gate.symlink(target, dir, name); err != nil {
			return nil, err
		}
		return d.openMade(dir, name, unix.S_IFLNK)
	})
	if err != nil {
		return nil, err
	}
	return x.(vfs.Symlink), nil
}

// openMade returns a descriptor of what has just been made.
//
// Errors: ESTALE if it has gone, or others have put something else there. If it merely cannot be opened, it is removed again.
func (d *dir) openMade(dir FD, name string, typ uint32) (*desc, error) {
	fd, err := d.fs.opened(func() (FD, error) { return d.fs.gate.openPath(dir, name) })
	switch {
	case missing(err):
		return nil, unix.ESTALE
	case err != nil:
		return nil, d.undo(dir, name, typ, err)
	}
	return newDesc(d.fs.gate, fd), nil
}

// make makes a file of type typ by create, which returns a descriptor of it, and gives it
// owner and mode. The time in a is not sent: the host stamps what it makes.
//
// Errors: EOPNOTSUPP for extended attributes; those of create; ESTALE if another file took the name at once.
func (d *dir) make(name string, typ uint32, a vfs.CreateAttr, create func(dir FD) (*desc, error)) (node, error) {
	switch {
	case !validName(name):
		return nil, unix.EINVAL
	case len(a.Xattrs) > 0:
		return nil, unix.EOPNOTSUPP
	}
	dd, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer dd.put()
	made, err := create(dd.fd)
	if err != nil {
		return nil, err
	}
	defer made.put()
	id, err := d.settle(made, typ, a)
	if err != nil {
		return nil, d.undo(dd.fd, name, typ, err)
	}
	d.changed()
	x := d.fs.table.add(d.fs, id, &place{dir: d, name: name})
	if typ != unix.S_IFLNK { // those are read by name
		made.refs.Add(1)
		_ = d.fs.cache.add(x.base(), made).put()
	}
	return x, nil
}

// settle gives a new file the owner and mode in a, as far as the host lets us: the process on the
// host has an umask, a directory there can have default ACLs, and some file systems have but
// one owner. Getattr shows what has come of it.
func (d *dir) settle(made *desc, typ uint32, a vfs.CreateAttr) (hostID, error) {
	g := d.fs.gate
	st, id, err := g.stat(made.fd, "")
	switch {
	case err != nil:
		return hostID{}, err
	case id.typ != typ:
		return hostID{}, unix.ESTALE
	}
	mode := g.owners.mode(a.Mode & 0o7777)
	if st.UID != a.UID || st.GID != a.GID {
		uid, gid, all := g.owners.possible(int(a.UID), int(a.GID))
		var err error
		if uid >= 0 || gid >= 0 {
			err = g.chown(made.fd, uid, gid)
		}
		switch {
		case errors.Is(err, unix.EPERM) || err == nil && !all:
			mode &^= unix.S_ISUID | unix.S_ISGID // they would be another's
		case err != nil:
			return hostID{}, err
		}
	}
	if typ == unix.S_IFLNK || g.caps&CanChmod == 0 {
		return id, nil
	}
	if st.Mode&0o7777 != mode {
		if err := g.chmod(made.fd, mode); err != nil && !errors.Is(err, unix.EPERM) {
			return hostID{}, err
		}
	}
	return id, nil
}

// undo removes what make has made, and returns why.
func (d *dir) undo(dir FD, name string, typ uint32, why error) error {
	remove := d.fs.gate.unlink
	if typ == unix.S_IFDIR {
		remove = d.fs.gate.rmdir
	}
	if err := remove(dir, name); err != nil {
		d.fs.gate.log.Warn("hostfs: a file that could not be completed remains", "error", err)
	}
	return why
}
