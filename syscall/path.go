package syscall

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// getname checks a path string as fs/namei.c: getname does.
//
// Errors: ENOENT for ""; ENAMETOOLONG for 4096 bytes or more with the NUL that
// ends it; EINVAL for a NUL inside.
func getname(path string) error {
	if path == "" {
		return unix.ENOENT
	}
	return getnameEmpty(path)
}

// getnameEmpty is getname for calls that take "".
func getnameEmpty(path string) error {
	if len(path) >= unix.PathMax {
		return unix.ENAMETOOLONG
	}
	if strings.IndexByte(path, 0) >= 0 {
		return unix.EINVAL
	}
	return nil
}

// A base is where a relative path starts: the at part of the *at calls.
type base struct {
	at   vfs.Path  // zero: the working directory
	file *vfs.File // keeps at pinned; nil where at is zero
}

// base finds where path starts (fs/namei.c: path_init). dirfd is not looked at
// if path is absolute. The caller calls put.
//
// Errors: EBADF; ENOTDIR.
func (t *Task) base(dirfd int, path string) (base, error) {
	if dirfd == unix.AT_FDCWD || strings.HasPrefix(path, "/") {
		return base{}, nil
	}
	f, err := t.fds.getRaw(dirfd)
	if err != nil {
		return base{}, err
	}
	at := f.Path()
	// "" names the descriptor's file itself, which may be of any type.
	if path != "" && !isDir(at) {
		putFile(f)
		return base{}, unix.ENOTDIR
	}
	return base{at: at, file: f}, nil
}

func (b base) put() {
	if b.file != nil {
		putFile(b.file)
	}
}

// withBase calls do with the process's view and the place where path starts.
//
// Errors: those of getname and base; then do's.
func (t *Task) withBase(dirfd int, path string, do func(v *vfs.View, at vfs.Path) error) error {
	if err := getname(path); err != nil {
		return err
	}
	return t.withStart(dirfd, path, do)
}

// withStart is withBase for a path that has been checked.
func (t *Task) withStart(dirfd int, path string, do func(v *vfs.View, at vfs.Path) error) error {
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
	return do(fs.view, b.at)
}

// withPath calls do with what path names. With WalkEmpty "" names dirfd's file
// or the working directory.
//
// Errors: those of getname, base and the walk; then do's.
func (t *Task) withPath(dirfd int, path string, flags vfs.WalkFlags, do func(v *vfs.View, p vfs.Path) error) error {
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	return t.withPathIn(fs.view, dirfd, path, flags, do)
}

// withPathIn is withPath in a view that the caller holds.
func (t *Task) withPathIn(v *vfs.View, dirfd int, path string, flags vfs.WalkFlags, do func(v *vfs.View, p vfs.Path) error) error {
	if path == "" && flags&vfs.WalkEmpty == 0 {
		return unix.ENOENT
	}
	if err := getnameEmpty(path); err != nil {
		return err
	}
	b, err := t.base(dirfd, path)
	if err != nil {
		return err
	}
	defer b.put()
	return v.WithPath(context.Background(), b.at, path, flags, func(p vfs.Path) error { return do(v, p) })
}

// withFile calls do with the file of fd.
//
// Errors: EBADF, also for O_PATH descriptors; then do's.
func (t *Task) withFile(fd int, do func(f *vfs.File) error) error {
	f, err := t.fds.get(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	return do(f)
}

// putFile drops a reference that a call took for its duration. If another
// thread has closed the descriptor meanwhile, it is the last one; as in Linux
// nobody hears of a late error of the release.
func putFile(f *vfs.File) { f.Close(context.Background()) }

func isDir(p vfs.Path) bool {
	_, ok := p.Inode().(vfs.Dir)
	return ok
}

// walkFlags translates AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH, for calls that
// follow by default.
func walkFlags(atFlags int) (flags vfs.WalkFlags) {
	if atFlags&unix.AT_SYMLINK_NOFOLLOW == 0 {
		flags |= vfs.WalkFollow
	}
	if atFlags&unix.AT_EMPTY_PATH != 0 {
		flags |= vfs.WalkEmpty
	}
	return flags
}
