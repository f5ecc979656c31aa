// Package treecopy copies trees between the host, tar archives and a VFS, and compares two
// trees of a VFS: modes, owners, times, symbolic links, hard links, holes, FIFOs,
// sockets, devices and extended attributes.
//
// Copied are the attributes of the namespaces "user." and "trusted.", and
// "security.capability". Others belong to the system that a file is on.
//
// Trees of the host are read and written by directory descriptors and never followed
// through a symbolic link. A host tree that changes meanwhile gives a mix of old and new, but
// nothing from elsewhere, and nothing is ever written outside the target.
package treecopy

import (
	"context"
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
	Bytes                           int64 // of data in regular files, each once

	// Foreign counts the files that could not be given their owner, which takes
	// privilege. They have lost their set-id bits.
	Foreign int64
}

// Entries returns the number of names.
func (t *Totals) Entries() int64 { return t.Files + t.Dirs + t.Symlinks + t.Specials + t.Links }

// Add adds what another copy has counted.
func (t *Totals) Add(o Totals) {
	t.Files += o.Files
	t.Dirs += o.Dirs
	t.Symlinks += o.Symlinks
	t.Specials += o.Specials
	t.Links += o.Links
	t.Bytes += o.Bytes
	t.Foreign += o.Foreign
}

// Config describes a copy into a VFS tree.
type Config struct {
	Target vfs.Path // directory that receives what is copied
	Cred   *vfs.Cred

	// Replace lets what is copied take the place of entries that are there:
	// directories are merged, and what is no directory replaces what is none, in one step.
	// A directory and something else under one name are an error all the same. Otherwise any
	// name that exists is EEXIST.
	Replace bool

	// Progress is called after each piece of work with the number of names and bytes
	// done since the last call; nil: not called.
	Progress func(entries, bytes int64)

	// Skipped is told of each file that the target cannot represent and that was
	// therefore left out; nil: such a file is an error.
	Skipped func(path string, err error)
}

// Error is a failure at one place of the host's tree or of an archive. When a tree is copied
// into a VFS it also stands for what cannot be made there.
type Error struct {
	Op   string // what was done: "read", "write", "stat", ...
	Path string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// fileID tells files of the host apart.
type fileID struct{ dev, ino uint64 }

// Copy copies the contents and the attributes of the host directory source to the target.
// On an error the target holds what had been copied.
//
// Errors: *Error names the place.
func Copy(ctx context.Context, cfg Config, source string) (Totals, error) {
	c := newCopier(ctx, cfg)
	defer c.close()
	src, err := openDir(unix.AT_FDCWD, source, source)
	if err != nil {
		return c.totals, err
	}
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(src.fd(), &st); err != nil {
		return c.totals, &Error{"stat", source, err}
	}
	m := metaOf(&st)
	if m.xattrs, err = c.xattrs(src.fd(), source); err != nil {
		return c.totals, err
	}
	if err := c.dir(src, cfg.Target); err != nil {
		return c.totals, err
	}
	return c.totals, c.setMeta(source, cfg.Target, &m)
}

// CopyEntry copies the file or tree at the host path source, not followed if it is a
// symbolic link, to name in the target directory.
//
// Errors: *Error names the place.
func CopyEntry(ctx context.Context, cfg Config, source, name string) (Totals, error) {
	c := newCopier(ctx, cfg)
	defer c.close()
	parent, base := splitPath(source)
	src, err := openDir(unix.AT_FDCWD, parent, parent)
	if err != nil {
		return c.totals, err
	}
	defer src.Close()
	return c.totals, c.entry(src, base, cfg.Target, name)
}

// copier copies a tree of the host.
type copier struct {
	target
	links map[fileID]*hardlink
	host  hostXattrs
}

// hardlink is a file of which further names are expected.
type hardlink struct {
	path vfs.Path // pinned
	left uint64   // names not seen yet
}

func newCopier(ctx context.Context, cfg Config) *copier {
	return &copier{target: newTarget(ctx, cfg), links: make(map[fileID]*hardlink)}
}

func (c *copier) close() {
	for _, l := range c.links {
		l.path.Put()
	}
}

func (c *copier) xattrs(fd int, path string) (map[string][]byte, error) {
	return c.host.read(fd, path)
}

// dir copies the entries of src into the directory at dst.
func (c *copier) dir(src *hostDir, dst vfs.Path) error {
	names, err := src.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.entry(src, name, dst, name); err != nil {
			return err
		}
	}
	return nil
}

// entry copies the entry name of src to newName in dst.
func (c *copier) entry(src *hostDir, name string, dst vfs.Path, newName string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	path := filepath.Join(src.path, name)
	var st unix.Stat_t
	if err := unix.Fstatat(src.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{"stat", path, err}
	}
	m := metaOf(&st)
	if m.kind() == unix.S_IFDIR {
		return c.subdir(src, name, &m, dst, newName)
	}
	id := fileID{st.Dev, st.Ino}
	if l := c.links[id]; l != nil {
		if err := c.link(path, l.path, dst, newName); err != nil {
			return err
		}
		if l.left--; l.left == 0 {
			l.path.Put()
			delete(c.links, id)
		}
		return nil
	}
	var p vfs.Path
	var err error
	switch m.kind() {
	case unix.S_IFREG:
		p, err = c.regularOf(src, name, &st, dst, newName, &m)
	case unix.S_IFLNK:
		p, err = c.symlinkOf(src, name, dst, newName, &m)
	default:
		p, err = c.special(path, dst, newName, &m)
	}
	if err != nil || !p.Valid() {
		return err
	}
	if st.Nlink > 1 {
		c.links[id] = &hardlink{path: p, left: uint64(st.Nlink) - 1}
	} else {
		p.Put()
	}
	return nil
}

func (c *copier) subdir(src *hostDir, name string, m *meta, dst vfs.Path, newName string) error {
	sub, err := openDir(src.fd(), name, filepath.Join(src.path, name))
	if err != nil {
		return err
	}
	defer sub.Close()
	if m.xattrs, err = c.xattrs(sub.fd(), sub.path); err != nil {
		return err
	}
	p, err := c.mkdir(sub.path, dst, newName, m)
	if err != nil {
		return err
	}
	defer p.Put()
	if err := c.dir(sub, p); err != nil {
		return err
	}
	return c.setTimes(sub.path, p, m.times) // its entries have changed the time
}

func (c *copier) symlinkOf(src *hostDir, name string, dst vfs.Path, newName string, m *meta) (vfs.Path, error) {
	path := filepath.Join(src.path, name)
	target := c.buf[:unix.PathMax]
	n, err := unix.Readlinkat(src.fd(), name, target)
	if err != nil {
		return vfs.Path{}, &Error{"readlink", path, err}
	}
	return c.symlink(path, string(target[:n]), dst, newName, m)
}
