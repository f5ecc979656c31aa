package hostfs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// sizeChanged are the attributes that the host changes itself when a file gets a new size, and by
// its own clock, as with every write.
const sizeChanged = unix.STATX_MTIME | unix.STATX_CTIME

// Setattr implements vfs.Inode. The host stamps ctime itself, and the access time when it reads; see
// accessed. If one of several changes fails, those before it, in the order size, owner, mode,
// times, are not undone.
//
// Errors: EPERM for what the host cannot change; ESTALE.
func (i *inode) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	const times = unix.STATX_ATIME | unix.STATX_MTIME
	if sa.Mask == unix.STATX_ATIME {
		return i.accessed(sa)
	}
	if sa.Mask&unix.STATX_SIZE != 0 {
		if err := i.truncate(sa.Size); err != nil {
			return err
		}
		sa.Mask &^= sizeChanged
	}
	if sa.Mask&(unix.STATX_UID|unix.STATX_GID|unix.STATX_MODE|unix.STATX_CTIME|times) == 0 {
		return nil
	}
	d, err := i.acquire()
	if err != nil {
		return err
	}
	defer d.put()
	if err := i.chown(d, sa); err != nil {
		return err
	}
	if sa.Mask&unix.STATX_MODE != 0 {
		if err := i.fs.gate.chmod(d.fd, i.fs.gate.owners.mode(sa.Mode&0o7777)); err != nil {
			return err
		}
	}
	if sa.Mask&times != 0 {
		return i.fs.gate.utimes(d.fd, hostTimes(sa))
	}
	return nil
}

// accessed takes the access time that the VFS wants after a read (fs/inode.c: touch_atime). The
// host has stamped the file with its own clock then. It is told only if it does not keep access
// times, which shows in one that is a day old: utimensat(2) changes ctime, which no read should.
func (i *inode) accessed(sa vfs.SetAttr) error {
	const day = 24 * 60 * 60 // seconds
	a, err := i.stat()
	if err != nil || a.Atime.Sec > sa.Atime.Sec-day {
		return err
	}
	d, err := i.acquire()
	if err != nil {
		return err
	}
	defer d.put()
	return i.fs.gate.utimes(d.fd, hostTimes(sa))
}

// chown changes what is not fixed. A change of nothing but ctime, as that by chown(2) without owner and group,
// is sent as such a call.
//
// Errors: EPERM for other owners than the fixed ones.
func (i *inode) chown(d *desc, sa vfs.SetAttr) error {
	uid, gid := -1, -1
	if sa.Mask&unix.STATX_UID != 0 {
		uid = int(sa.UID)
	}
	if sa.Mask&unix.STATX_GID != 0 {
		gid = int(sa.GID)
	}
	uid, gid, all := i.fs.gate.owners.possible(uid, gid)
	switch {
	case !all:
		return unix.EPERM
	case uid < 0 && gid < 0 && (i.fs.gate.caps&CanChown == 0 || sa.Mask&^(unix.STATX_UID|unix.STATX_GID) != unix.STATX_CTIME):
		return nil // the host cannot, or another call changes ctime
	}
	return i.fs.gate.chown(d.fd, uid, gid)
}

func hostTimes(sa vfs.SetAttr) [2]unix.Timespec {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	if sa.Mask&unix.STATX_ATIME != 0 {
		ts[0] = sa.Atime
	}
	if sa.Mask&unix.STATX_MTIME != 0 {
		ts[1] = sa.Mtime
	}
	return ts
}

// truncate sets the size by a descriptor that is open for writing, or one opened for it.
func (i *inode) truncate(size int64) error {
	d := i.openDesc(func(d *desc) bool { return d.writable })
	if d == nil {
		var err error
		if d, err = i.openFile(unix.O_WRONLY); err != nil {
			return err
		}
	}
	err := i.fs.gate.truncate(d.fd, size)
	if cerr := d.put(); err == nil {
		err = cerr
	}
	return err
}

// openFile opens the regular file, also if it has been removed since it was found. The caller
// puts the descriptor.
//
// Errors: ESTALE if the file is not at its place any more.
func (i *inode) openFile(flags int) (d *desc, err error) {
	err = i.atPlace(0, func(dir FD, name string) (err error) {
		d, err = i.openBy(flags, func() (FD, error) { return i.fs.gate.openFile(dir, name, flags) })
		return err
	})
	if err == nil {
		return d, nil
	}
	old, err := i.last(err)
	if err != nil {
		return nil, err
	}
	defer old.put()
	return i.openBy(flags, func() (FD, error) { return i.fs.gate.reopen(old.fd, flags) })
}

// openBy opens the file by open, and checks that it has.
func (i *inode) openBy(flags int, open func() (FD, error)) (*desc, error) {
	fd, err := i.fs.opened(open)
	if err != nil {
		return nil, err
	}
	d := newDesc(i.fs.gate, fd)
	d.writable = flags&unix.O_ACCMODE != unix.O_RDONLY
	if err := i.verify(d); err != nil {
		_ = d.put() // of another file, and nothing was written
		return nil, err
	}
	return d, nil
}
