package treecopy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// ExtractConfig describes a copy out of a VFS tree.
type ExtractConfig struct {
	Source vfs.Path
	Cred   *vfs.Cred

	// Replace lets files take the place of what the host has, as Config.Replace does.
	Replace bool

	// Progress is called after each piece of work with the number of names and bytes
	// done since the last call; nil: not called.
	Progress func(entries, bytes int64)

	// Skipped is told of each file and attribute that the host does not take, for want of
	// rights or because it knows no such thing; nil: that is an error.
	Skipped func(path string, err error)

	// Unreadable is told of what damage (EIO, EUCLEAN) keeps from being read, and the copy goes on
	// with what can be: of n bytes at off of a file, which becomes a hole there, or with n = 0
	// of a file, of part of a directory or of extended attributes as a whole. nil: that is an error.
	Unreadable func(path string, off, n int64, err error)
}

// Extract copies the contents and the attributes of the directory Source to the host directory
// target. Without privilege files belong to the caller; see Totals.Foreign.
//
// Nothing is written outside target: no symbolic link below it is followed.
//
// Errors: *TreeError for the source; *Error for the host.
func Extract(ctx context.Context, cfg ExtractConfig, target string) (Totals, error) {
	x := newExtractor(ctx, cfg)
	dir, err := openDir(unix.AT_FDCWD, target, target)
	if err != nil {
		return x.totals, err
	}
	defer dir.Close()
	x.root = dir
	_, m, err := x.attrs(cfg.Source, "/")
	if err != nil {
		return x.totals, err
	}
	if err := x.dir(cfg.Source, place{host: dir, path: "/"}); err != nil {
		return x.totals, err
	}
	return x.totals, x.finishDir(dir, &m)
}

// ExtractEntry copies Source, of any type, to name in the host directory target.
//
// Errors: as Extract.
func ExtractEntry(ctx context.Context, cfg ExtractConfig, target, name string) (Totals, error) {
	x := newExtractor(ctx, cfg)
	dir, err := openDir(unix.AT_FDCWD, target, target)
	if err != nil {
		return x.totals, err
	}
	defer dir.Close()
	x.root = dir
	return x.totals, x.entry(cfg.Source, place{host: dir, path: "/"}, name)
}

// extractor copies a VFS tree to the host.
type extractor struct {
	reader
	ExtractConfig
	totals Totals
	root   *hostDir
	links  map[uint64]*hostLink // by inode number
	temps  int                  // temporary names used
}

// hostLink is a file of which further names are expected.
type hostLink struct {
	path string // from the target
	left uint32 // names not seen yet
}

// place is a directory of the tree and what it becomes.
type place struct {
	host *hostDir
	path string // in the tree, from Source; names are the same on both sides
}

func newExtractor(ctx context.Context, cfg ExtractConfig) *extractor {
	return &extractor{reader: newReader(ctx, cfg.Cred), ExtractConfig: cfg, links: make(map[uint64]*hostLink)}
}

// done counts an entry.
func (x *extractor) done(count *int64) {
	*count++
	x.progress(1, 0)
}

func (x *extractor) progress(entries, bytes int64) {
	if x.Progress != nil {
		x.Progress(entries, bytes)
	}
}

func (x *extractor) dir(src vfs.Path, dst place) error {
	if x.Unreadable != nil {
		return x.salvageDir(src, dst)
	}
	return x.entries(src, dst.path, func(p vfs.Path, name string) error { return x.entry(p, dst, name) })
}

func (x *extractor) entry(p vfs.Path, dst place, name string) error {
	path := Join(dst.path, name)
	a, m, err := x.attrs(p, path)
	if err != nil {
		return err
	}
	if m.kind() == unix.S_IFDIR {
		return x.subdir(p, dst, name, &m)
	}
	if l := x.links[a.Ino]; l != nil {
		if err := x.link(l, dst, name); err != nil {
			return err
		}
		if l.left--; l.left == 0 {
			delete(x.links, a.Ino)
		}
		return nil
	}
	switch m.kind() {
	case unix.S_IFREG:
		err = x.regular(p, a.Size, dst, name, &m)
	case unix.S_IFLNK:
		err = x.symlink(p, dst, name, &m)
	default:
		var made bool
		if made, err = x.special(dst, name, &m); !made {
			return err
		}
	}
	if err == nil && a.Nlink > 1 {
		x.links[a.Ino] = &hostLink{path: path, left: a.Nlink - 1}
	}
	return err
}

func (x *extractor) subdir(p vfs.Path, dst place, name string, m *meta) error {
	at := dst.host.at(name)
	err := unix.Mkdirat(dst.host.fd(), name, 0o700)
	if err != nil && !(x.Replace && errors.Is(err, unix.EEXIST)) {
		return &Error{"mkdir", at, err}
	}
	sub, err := openDir(dst.host.fd(), name, at)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := x.dir(p, place{host: sub, path: Join(dst.path, name)}); err != nil {
		return err
	}
	if err := x.finishDir(sub, m); err != nil {
		return err
	}
	x.done(&x.totals.Dirs)
	return nil
}

func (x *extractor) symlink(p vfs.Path, dst place, name string, m *meta) error {
	to, err := x.readlink(p, Join(dst.path, name))
	if err != nil {
		return err
	}
	err = x.put(dst.host, name, func(name string) error {
		if err := unix.Symlinkat(to, dst.host.fd(), name); err != nil {
			return &Error{"symlink", dst.host.at(name), err}
		}
		return nil
	}, func(name string) error {
		if _, err := x.chownAt(dst.host, name, m); err != nil {
			return err
		}
		return setTimesAt(dst.host, name, m)
	})
	if err == nil {
		x.done(&x.totals.Symlinks)
	}
	return err
}

// special makes a FIFO, socket or device, unless rights are missing.
func (x *extractor) special(dst place, name string, m *meta) (made bool, err error) {
	err = x.put(dst.host, name, func(name string) error {
		if err := unix.Mknodat(dst.host.fd(), name, m.kind()|0o600, int(m.rdev)); err != nil {
			return &Error{"mknod", dst.host.at(name), err}
		}
		return nil
	}, func(name string) error {
		kept, err := x.chownAt(dst.host, name, m)
		if err != nil {
			return err
		}
		if err := chmodAt(dst.host, name, m.permFor(kept)); err != nil {
			return err
		}
		return setTimesAt(dst.host, name, m)
	})
	if err == nil {
		x.done(&x.totals.Specials)
		return true, nil
	}
	if x.Skipped != nil && errors.Is(err, unix.EPERM) {
		x.Skipped(dst.host.at(name), unix.EPERM)
		return false, nil
	}
	return false, err
}

// link makes a further name of a file that is there already.
func (x *extractor) link(l *hostLink, dst place, name string) error {
	from, old, err := x.parentOf(l.path)
	if err != nil {
		return err
	}
	defer from.Close()
	err = x.put(dst.host, name, func(name string) error {
		if err := unix.Linkat(from.fd(), old, dst.host.fd(), name, 0); err != nil {
			return &Error{"link", dst.host.at(name), err}
		}
		return nil
	}, func(string) error { return nil })
	if err == nil {
		x.done(&x.totals.Links)
	}
	return err
}

// parentOf opens the directory of a file that has been made, name by name: whoever changes
// the target meanwhile leads us nowhere else.
func (x *extractor) parentOf(path string) (*hostDir, string, error) {
	dir, err := openDir(x.root.fd(), ".", x.root.path)
	parts := strings.Split(path[1:], "/")
	for _, part := range parts[:len(parts)-1] {
		if err != nil {
			return nil, "", err
		}
		var next *hostDir
		next, err = openDir(dir.fd(), part, dir.at(part))
		dir.Close()
		dir = next
	}
	return dir, parts[len(parts)-1], err
}

// put makes an entry with create and completes it with finish, which leaves nothing behind
// if it fails. What replaces an entry is made under another name and moved over it.
//
// Preconditions: create fails if name exists, with EEXIST.
func (x *extractor) put(dir *hostDir, name string, create, finish func(name string) error) error {
	err := x.try(dir, name, create, finish)
	if !x.Replace || !errors.Is(err, unix.EEXIST) {
		return err
	}
	temp := ""
	for err = unix.EEXIST; errors.Is(err, unix.EEXIST); {
		temp = fmt.Sprintf(".cloister-%d-%d", unix.Getpid(), x.temps)
		x.temps++
		err = x.try(dir, temp, create, finish)
	}
	if err != nil {
		return err
	}
	err = unix.Renameat(dir.fd(), temp, dir.fd(), name)
	// Two names of one file are left alone by rename(2).
	_ = unix.Unlinkat(dir.fd(), temp, 0)
	if err != nil {
		return &Error{"replace", dir.at(name), err}
	}
	return nil
}

func (x *extractor) try(dir *hostDir, name string, create, finish func(name string) error) error {
	if err := create(name); err != nil {
		return err
	}
	err := finish(name)
	if err != nil {
		_ = unix.Unlinkat(dir.fd(), name, 0) // err is what counts
	}
	return err
}
