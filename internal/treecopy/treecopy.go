// Package treecopy copies a directory tree of the host into a VFS tree: modes,
// owners, times, symbolic links, hard links, holes, FIFOs, sockets, devices and
// extended attributes of the namespace "user.".
//
// The host tree is read by directory descriptors and never followed through a
// symbolic link, so a tree that changes meanwhile gives a mix of old and new, but
// nothing from elsewhere.
package treecopy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

const bufferSize = 1 << 20 // bytes read and written at once

// Totals counts what a tree holds. The root directory itself is not counted.
type Totals struct {
	Files, Dirs, Symlinks, Specials int64
	Links                           int64 // further names of files counted already
	Bytes                           int64 // sum of the sizes of regular files, each once
}

// Entries returns the number of names.
func (t *Totals) Entries() int64 { return t.Files + t.Dirs + t.Symlinks + t.Specials + t.Links }

// Config describes one copy.
type Config struct {
	Source string   // host directory
	Target vfs.Path // directory that receives the source's contents and attributes; it should be empty
	Cred   *vfs.Cred

	// Progress is called after each piece of work with the number of names and bytes
	// done since the last call; nil: not called.
	Progress func(entries, bytes int64)

	// Skipped is told of each file that the target cannot represent and that was
	// therefore left out; nil: such a file is an error.
	Skipped func(path string, err error)
}

// Error is a failure at one place of the source tree.
type Error struct {
	Op   string // what was done: "read", "write", "stat", ...
	Path string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// fileID tells files of the host apart.
type fileID struct{ dev, ino uint64 }

// hardlink is a file of which further names are expected.
type hardlink struct {
	path vfs.Path // pinned
	left uint64   // names not seen yet
}

type copier struct {
	Config
	ctx    context.Context
	links  map[fileID]*hardlink
	totals Totals
	buf    []byte
	names  []byte // list of attribute names
}

// Copy copies the tree. On an error the target holds what had been copied.
//
// Errors: *Error names the place.
func Copy(ctx context.Context, cfg Config) (Totals, error) {
	c := &copier{Config: cfg, ctx: ctx, links: make(map[fileID]*hardlink), buf: make([]byte, bufferSize)}
	defer func() {
		for _, l := range c.links {
			l.path.Put()
		}
	}()
	src, err := openDir(unix.AT_FDCWD, cfg.Source, cfg.Source)
	if err != nil {
		return c.totals, err
	}
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(src.fd(), &st); err != nil {
		return c.totals, &Error{"stat", cfg.Source, err}
	}
	if err := c.dir(src, cfg.Target); err != nil {
		return c.totals, err
	}
	return c.totals, c.root(src, &st)
}

// root gives the target the attributes of the source directory itself.
func (c *copier) root(src *sourceDir, st *unix.Stat_t) error {
	xattrs, err := c.xattrs(src.fd(), src.path)
	if err != nil {
		return err
	}
	for name, value := range xattrs {
		x := c.Target.Inode().Xattrs()
		if x == nil {
			return &Error{"set attribute of", src.path, unix.EOPNOTSUPP}
		}
		if err := x.Setxattr(c.ctx, name, value, 0); err != nil {
			return &Error{"set attribute of", src.path, err}
		}
	}
	var req vfs.SetAttrRequest
	req.Mask = unix.STATX_UID | unix.STATX_GID
	req.UID, req.GID = st.Uid, st.Gid
	if err := vfs.Setattr(c.ctx, c.Cred, c.Target, req); err != nil {
		return &Error{"chown", src.path, err}
	}
	// Afterwards, since a change of owner may take set-id bits away.
	req.Mask = unix.STATX_MODE | unix.STATX_ATIME | unix.STATX_MTIME
	req.Mode = st.Mode & 07777
	req.Atime, req.Mtime = st.Atim, st.Mtim
	if err := vfs.Setattr(c.ctx, c.Cred, c.Target, req); err != nil {
		return &Error{"chmod", src.path, err}
	}
	return nil
}

// dir copies the entries of src into the directory at dst.
func (c *copier) dir(src *sourceDir, dst vfs.Path) error {
	names, err := src.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(src, name, dst); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) entry(src *sourceDir, name string, dst vfs.Path) error {
	path := filepath.Join(src.path, name)
	var st unix.Stat_t
	if err := unix.Fstatat(src.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{"stat", path, err}
	}
	opt := vfs.CreateOptions{
		Owner:     &vfs.Owner{UID: st.Uid, GID: st.Gid},
		Times:     &vfs.Times{Atime: st.Atim, Mtime: st.Mtim},
		ExactMode: true,
	}
	id := fileID{st.Dev, st.Ino}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if l := c.links[id]; l != nil && !isDir {
		return c.link(id, l, path, dst, name)
	}
	var p vfs.Path
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subdir(src, name, &st, dst, opt)
	case unix.S_IFREG:
		p, err = c.regular(src, name, &st, dst, opt)
	case unix.S_IFLNK:
		p, err = c.symlink(src, name, dst, opt)
	default:
		p, err = c.special(path, name, &st, dst, opt)
	}
	if err != nil || !p.Valid() {
		return err
	}
	if st.Nlink > 1 {
		c.links[id] = &hardlink{path: p, left: uint64(st.Nlink) - 1}
	} else {
		p.Put()
	}
	c.progress(1, 0)
	return nil
}

func (c *copier) progress(entries, bytes int64) {
	if c.Progress != nil {
		c.Progress(entries, bytes)
	}
}

// link makes a further name of a file copied before.
func (c *copier) link(id fileID, l *hardlink, path string, dst vfs.Path, name string) error {
	p, err := vfs.Link(c.ctx, c.Cred, l.path, dst, name)
	if err != nil {
		return &Error{"link", path, err}
	}
	p.Put()
	if l.left--; l.left == 0 {
		l.path.Put()
		delete(c.links, id)
	}
	c.totals.Links++
	c.progress(1, 0)
	return nil
}

func (c *copier) subdir(src *sourceDir, name string, st *unix.Stat_t, dst vfs.Path, opt vfs.CreateOptions) error {
	sub, err := openDir(src.fd(), name, filepath.Join(src.path, name))
	if err != nil {
		return err
	}
	defer sub.Close()
	if opt.Xattrs, err = c.xattrs(sub.fd(), sub.path); err != nil {
		return err
	}
	p, err := vfs.Mkdir(c.ctx, c.Cred, dst, name, st.Mode&07777, opt)
	if err != nil {
		return &Error{"mkdir", sub.path, err}
	}
	defer p.Put()
	c.totals.Dirs++
	c.progress(1, 0)
	if err := c.dir(sub, p); err != nil {
		return err
	}
	return c.times(p, sub.path, opt.Times) // its entries have changed the time
}

func (c *copier) times(p vfs.Path, path string, t *vfs.Times) error {
	var req vfs.SetAttrRequest
	req.Mask = unix.STATX_ATIME | unix.STATX_MTIME
	req.Atime, req.Mtime = t.Atime, t.Mtime
	if err := vfs.Setattr(c.ctx, c.Cred, p, req); err != nil {
		return &Error{"set times of", path, err}
	}
	return nil
}

func (c *copier) symlink(src *sourceDir, name string, dst vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
	path := filepath.Join(src.path, name)
	target := c.buf[:unix.PathMax]
	n, err := unix.Readlinkat(src.fd(), name, target)
	if err != nil {
		return vfs.Path{}, &Error{"readlink", path, err}
	}
	p, err := vfs.Symlinkat(c.ctx, c.Cred, dst, name, string(target[:n]), opt)
	if err != nil {
		return vfs.Path{}, &Error{"symlink", path, err}
	}
	c.totals.Symlinks++
	return p, nil
}

// special copies a FIFO, socket or device. A target may refuse some: character
// device 0:0 is a whiteout in layered file systems.
func (c *copier) special(path, name string, st *unix.Stat_t, dst vfs.Path, opt vfs.CreateOptions) (vfs.Path, error) {
	p, err := vfs.Mknod(c.ctx, c.Cred, dst, name, st.Mode&(unix.S_IFMT|07777), st.Rdev, opt)
	if err == nil {
		c.totals.Specials++
		return p, nil
	}
	if c.Skipped != nil && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP)) {
		c.Skipped(path, err)
		return vfs.Path{}, nil
	}
	return vfs.Path{}, &Error{"mknod", path, err}
}
