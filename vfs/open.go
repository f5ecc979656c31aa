package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// OpenHow are the arguments of an open by path (struct open_how).
type OpenHow struct {
	Flags   int       // O_*; unknown bits are ignored
	Mode    uint32    // permission bits of a new file, before the umask
	Resolve WalkFlags // WalkNoXdev and so on
}

// tmpfileFlag is what O_TMPFILE has beside O_DIRECTORY.
const tmpfileFlag = unix.O_TMPFILE &^ unix.O_DIRECTORY

// creationFlags are the flags that matter to open(2) only, not to the open file.
const creationFlags = unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_CLOEXEC

// opening is one request to open a file.
type opening struct {
	flags   int
	mask    uint32 // permissions asked for
	mode    uint32 // permission bits of a new file
	umask   uint32
	created bool // the file is new: nothing to check, nothing to truncate
}

// newOpening corresponds to build_open_flags.
//
// Errors: EINVAL for flags that contradict each other.
func newOpening(flags int) (opening, error) {
	if flags&unix.O_PATH != 0 {
		return opening{flags: flags & (unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW)}, nil
	}
	o := opening{flags: flags}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		o.mask = mayRead
	case unix.O_WRONLY:
		o.mask = mayWrite
	default: // 3 asks for both, and the file can do neither
		o.mask = mayRead | mayWrite
	}
	if flags&unix.O_TRUNC != 0 {
		o.mask |= mayWrite
	}
	switch {
	case flags&unix.O_CREAT != 0 && flags&unix.O_DIRECTORY != 0:
		return opening{}, unix.EINVAL
	case flags&tmpfileFlag != 0 && (flags&unix.O_DIRECTORY == 0 || o.mask&mayWrite == 0):
		return opening{}, unix.EINVAL
	}
	return o, nil
}

// OpenAt opens, and creates with O_CREAT, as openat2(2) does by path
// (fs/namei.c: path_openat).
//
// Errors: those of the walk; EINVAL for contradicting flags; ELOOP for a symlink with
// O_NOFOLLOW; ENOTDIR with O_DIRECTORY; EISDIR; EEXIST; EROFS; EACCES; EPERM for O_NOATIME on another's file;
// ENXIO for special files; EOPNOTSUPP for O_TMPFILE where the driver cannot.
func (v *View) OpenAt(ctx context.Context, at Path, path string, how OpenHow) (f *File, err error) {
	o, err := newOpening(how.Flags)
	if err != nil {
		return nil, err
	}
	o.mode, o.umask = how.Mode&0o7777, v.umask
	err = retryStale(func(walk WalkFlags) error {
		f, err = v.tryOpenAt(ctx, at, path, how.Resolve|walk, o)
		return err
	})
	return f, err
}

func (v *View) tryOpenAt(ctx context.Context, at Path, path string, walk WalkFlags, o opening) (*File, error) {
	switch {
	case o.flags&tmpfileFlag != 0:
		return v.openTmpfile(ctx, at, path, walk, o)
	case o.flags&unix.O_CREAT != 0:
		return v.openCreate(ctx, at, path, walk, o)
	}
	if o.flags&unix.O_NOFOLLOW == 0 {
		walk |= WalkFollow
	}
	if o.flags&unix.O_DIRECTORY != 0 {
		walk |= WalkDirectory
	}
	p, err := v.Walk(ctx, at, path, walk)
	if err != nil {
		return nil, err
	}
	defer p.Put()
	return o.open(ctx, v.cred, p)
}

func (v *View) openTmpfile(ctx context.Context, at Path, path string, walk WalkFlags, o opening) (*File, error) {
	if o.flags&unix.O_NOFOLLOW == 0 {
		walk |= WalkFollow
	}
	dir, err := v.Walk(ctx, at, path, walk|WalkDirectory)
	if err != nil {
		return nil, err
	}
	defer dir.Put()
	p, err := dir.tmpfile(ctx, v.cred, creation{kind: unix.S_IFREG, mode: o.mode, umask: o.umask})
	if err != nil {
		return nil, err
	}
	defer p.Put()
	if o.flags&unix.O_EXCL != 0 {
		p.dentry.inode.state().linkable.Store(false)
	}
	o.flags &^= unix.O_DIRECTORY | tmpfileFlag
	o.created = true
	f, err := o.open(ctx, v.cred, p)
	if err != nil {
		return nil, err
	}
	f.flags.Or(unix.O_TMPFILE)
	f.created = false // it has no name that was not there before
	return f, nil
}

// OpenPath opens an existing file, as dentry_open does, with the checks of open(2). flags are O_*; O_CREAT,
// O_EXCL and O_NOFOLLOW mean nothing here.
//
// Errors: as View.OpenAt.
func OpenPath(ctx context.Context, cred *Cred, p Path, flags int) (*File, error) {
	o, err := newOpening(flags &^ (unix.O_CREAT | unix.O_EXCL | tmpfileFlag))
	if err != nil {
		return nil, err
	}
	return o.open(ctx, cred, p)
}

// open corresponds to do_open.
func (o *opening) open(ctx context.Context, cred *Cred, p Path) (*File, error) {
	if o.flags&unix.O_DIRECTORY != 0 && !p.dentry.isDir() {
		return nil, unix.ENOTDIR
	}
	if o.flags&unix.O_PATH != 0 {
		return newFile(cred, p, o.flags), nil
	}
	truncate := o.flags&unix.O_TRUNC != 0 && !o.created && p.dentry.kind == unix.S_IFREG
	if truncate {
		if err := p.mnt.writable(); err != nil {
			return nil, err
		}
	}
	if err := o.mayOpen(ctx, cred, p); err != nil {
		return nil, err
	}
	f := newFile(cred, p, o.flags)
	f.created = o.created
	hint := 0
	if truncate {
		hint = unix.O_TRUNC
	}
	err := f.openDriver(ctx, hint)
	if err == nil && truncate {
		err = Setattr(ctx, cred, p, SetAttrRequest{SetAttr: SetAttr{Mask: unix.STATX_SIZE}, Force: true})
	}
	if err != nil {
		_ = f.Close(ctx) // the first error is the one to tell
		return nil, err
	}
	return f, nil
}

// mayOpen corresponds to may_open.
func (o *opening) mayOpen(ctx context.Context, cred *Cred, p Path) error {
	switch p.dentry.kind {
	case unix.S_IFLNK:
		return unix.ELOOP
	case unix.S_IFDIR:
		if o.mask&mayWrite != 0 {
			return unix.EISDIR
		}
	case unix.S_IFCHR, unix.S_IFBLK, kindWhiteout:
		if p.mnt.flags&unix.MS_NODEV != 0 {
			return unix.EACCES
		}
	}
	if !o.created {
		if err := permission(ctx, cred, p, o.mask); err != nil {
			return err
		}
	}
	if o.flags&unix.O_NOATIME != 0 && !cred.privileged() {
		a, err := p.dentry.inode.Getattr(ctx, permMask)
		if err != nil {
			return err
		}
		if !owns(cred, &a) {
			return unix.EPERM
		}
	}
	return nil
}
