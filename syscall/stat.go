package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Stat fills st with the attributes of the file at path, following symbolic
// links, as stat(2) does.
func (t *Task) Stat(path string, st *unix.Stat_t) error {
	return t.Newfstatat(unix.AT_FDCWD, path, st, 0)
}

// Lstat is Stat without following a link in the last component.
func (t *Task) Lstat(path string, st *unix.Stat_t) error {
	return t.Newfstatat(unix.AT_FDCWD, path, st, unix.AT_SYMLINK_NOFOLLOW)
}

// Fstat fills st with the attributes of an open file, as fstat(2) does.
//
// Errors: EBADF.
func (t *Task) Fstat(fd int, st *unix.Stat_t) error {
	f, err := t.fds.getRaw(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	return getattr(f.Path(), st)
}

// Newfstatat is fstatat(2), by the name of its system call.
//
// Errors: EINVAL for unknown flags; those of a walk.
func (t *Task) Newfstatat(dirfd int, path string, st *unix.Stat_t, flags int) error {
	const known = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH | unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC
	if flags&^known != 0 {
		return unix.EINVAL
	}
	if path == "" && flags&unix.AT_EMPTY_PATH == 0 {
		return unix.ENOENT
	}
	if err := getnameEmpty(path); err != nil {
		return err
	}
	if dirfd == unix.AT_FDCWD || path != "" && path[0] == '/' {
		// Most calls are answered from the cache, without a write to memory that threads share.
		if fs := t.fs.Load(); fs != nil {
			a, dev, err := fs.view.GetattrCached(context.Background(), path, walkFlags(flags), unix.STATX_BASIC_STATS)
			if err != unix.EAGAIN {
				if err == nil {
					fillStat(st, &a, dev)
				}
				return err
			}
		}
	}
	return t.fstatat(dirfd, path, st, flags)
}

// fstatat is Newfstatat with all references that a walk may need.
func (t *Task) fstatat(dirfd int, path string, st *unix.Stat_t, flags int) error {
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	b, err := t.base(dirfd, path)
	if err != nil {
		return err
	}
	defer b.put()
	a, dev, err := fs.view.GetattrAt(context.Background(), b.at, path, walkFlags(flags), unix.STATX_BASIC_STATS)
	if err != nil {
		return err
	}
	fillStat(st, &a, dev)
	return nil
}

func getattr(p vfs.Path, st *unix.Stat_t) error {
	a, err := vfs.Getattr(context.Background(), p, unix.STATX_BASIC_STATS)
	if err != nil {
		return err
	}
	fillStat(st, &a, p.Mount().Dev())
	return nil
}

func fillStat(st *unix.Stat_t, a *vfs.Attr, dev uint64) {
	*st = unix.Stat_t{
		Dev:     dev,
		Ino:     a.Ino,
		Nlink:   uint64(a.Nlink),
		Mode:    a.Mode,
		Uid:     a.UID,
		Gid:     a.GID,
		Rdev:    a.Rdev,
		Size:    a.Size,
		Blksize: int64(a.Blksize),
		Blocks:  a.Blocks,
		Atim:    a.Atime,
		Mtim:    a.Mtime,
		Ctim:    a.Ctime,
	}
}
