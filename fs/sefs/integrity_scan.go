package sefs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// A buildFile is one file of the tree. It stays in memory, so it is small.
type buildFile struct {
	mode, uid, gid uint32
	names          uint32 // in the tree
	size           int64
	mtime          int64 // seconds
	rdev           uint64
	target         string
	ino            uint64
	dir            *buildDir // itself, if it is a directory

	parent *buildDir // of its first name; nil: the root
	name   string
}

func (f *buildFile) kind() uint32 { return f.mode & unix.S_IFMT }

// A buildDir is what is in a directory.
type buildDir struct {
	file    *buildFile
	entries []buildEntry
	subdirs uint32
	xattrs  map[string][]byte

	parent *buildDir // nil: the root
	name   string
}

type buildEntry struct {
	name string
	file *buildFile
}

// scan reads the names and attributes of the whole tree.
func (b *integrityBuild) scan(ctx context.Context) error {
	e := b.cfg.Top
	if e.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("sefs: the tree to build from: %w", unix.ENOTDIR)
	}
	root := b.file(&e)
	root.dir = &buildDir{file: root}
	b.root = root.dir
	return b.scanDir(ctx, b.cfg.Tree, root.dir)
}

func (b *integrityBuild) scanDir(ctx context.Context, src TreeDir, d *buildDir) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	xattrs, err := src.Xattrs(ctx)
	if err != nil {
		return err
	}
	if d.xattrs, err = b.keptXattrs(d.parent.nameOf(d.name), xattrs); err != nil {
		return err
	}
	entries, err := src.Entries(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(x, y TreeEntry) int { return cmp.Compare(x.Name, y.Name) })
	d.entries = make([]buildEntry, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if i > 0 && e.Name == entries[i-1].Name {
			return fmt.Errorf("sefs: %s is there twice: %w", d.nameOf(e.Name), unix.EEXIST)
		}
		f, err := b.entry(d, e)
		if err != nil {
			return err
		}
		if f != nil {
			d.entries = append(d.entries, buildEntry{e.Name, f})
		}
	}
	for _, e := range d.entries {
		if e.file.dir == nil {
			continue
		}
		if err := b.scanSub(ctx, src, e); err != nil {
			return err
		}
	}
	return nil
}

func (b *integrityBuild) scanSub(ctx context.Context, src TreeDir, e buildEntry) error {
	sub, err := src.Dir(ctx, e.name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return b.scanDir(ctx, sub, e.file.dir)
}

// entry returns the file that a name stands for; nil: it is left out.
func (b *integrityBuild) entry(d *buildDir, e *TreeEntry) (*buildFile, error) {
	path := d.nameOf(e.Name)
	if len(e.Name) == 0 || len(e.Name) > format.MaxName {
		return nil, fmt.Errorf("sefs: name %s: %w", path, unix.ENAMETOOLONG)
	}
	if e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") {
		return nil, fmt.Errorf("sefs: name %s: %w", path, unix.EINVAL)
	}
	kind := e.Mode & unix.S_IFMT
	if e.Link != [2]uint64{} && kind != unix.S_IFDIR {
		if f := b.linked[e.Link]; f != nil {
			return f, nil
		}
	}
	switch {
	case kind == unix.S_IFCHR && e.Rdev == 0:
		if b.cfg.Skipped != nil { // it is a whiteout in layered file systems
			b.cfg.Skipped(path, unix.EPERM)
			return nil, nil
		}
		return nil, fmt.Errorf("sefs: %s is a whiteout: %w", path, unix.EPERM)
	case kind == unix.S_IFREG && (e.Size < 0 || e.Size > format.MaxFileSize):
		return nil, fmt.Errorf("sefs: %s: %w", path, unix.EFBIG)
	case kind == unix.S_IFLNK && (e.Target == "" || len(e.Target) > format.MaxSymlink):
		return nil, fmt.Errorf("sefs: target of %s: %w", path, unix.ENAMETOOLONG)
	}
	switch kind {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return nil, fmt.Errorf("sefs: %s is of an unknown type: %w", path, unix.EINVAL)
	}
	f := b.file(e)
	if kind == unix.S_IFDIR {
		f.dir = &buildDir{file: f, parent: d, name: e.Name}
		d.subdirs++
	} else if e.Link != [2]uint64{} {
		b.linked[e.Link] = f
	}
	return f, nil
}

// file takes over attributes as the image has them.
func (b *integrityBuild) file(e *TreeEntry) *buildFile {
	f := &buildFile{
		mode: e.Mode & (unix.S_IFMT | 0o7777), uid: e.UID, gid: e.GID,
		mtime: min(e.Mtime.Sec, b.cfg.Mtime),
	}
	if b.cfg.Owner != nil {
		f.uid, f.gid = b.cfg.Owner.UID, b.cfg.Owner.GID
	}
	switch f.kind() {
	case unix.S_IFREG:
		f.size = e.Size
	case unix.S_IFLNK:
		f.target, f.size = e.Target, int64(len(e.Target))
	case unix.S_IFCHR, unix.S_IFBLK:
		f.rdev = e.Rdev
	}
	return f
}

// number gives every file its number, breadth first, names in the order of their bytes, and puts
// them into that order.
func (b *integrityBuild) number() {
	clear(b.linked)
	b.order = []*buildFile{b.root.file}
	b.root.file.ino = format.RootIno
	for i := 0; i < len(b.order); i++ {
		d := b.order[i].dir
		if d == nil {
			continue
		}
		for _, e := range d.entries {
			if e.file.names++; e.file.names > 1 {
				b.result.Links++
				continue
			}
			e.file.ino = format.FirstIno + uint64(len(b.order)) - 1
			e.file.parent, e.file.name = d, e.name
			b.order = append(b.order, e.file)
			switch e.file.kind() {
			case unix.S_IFREG:
				b.result.Files++
			case unix.S_IFDIR:
				b.result.Dirs++
			case unix.S_IFLNK:
				b.result.Symlinks++
			default:
				b.result.Specials++
			}
		}
	}
}

// integrityXattr reports whether an integrity-only image keeps an extended attribute: those that every
// reader of a file sees and that belong to the file. Others depend on who reads ("trusted.")
// or come from the system that the file is on ("security.selinux", "system.").
func integrityXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || name == "security.capability"
}

// keptXattrs returns the attributes of a file that the image keeps.
func (b *integrityBuild) keptXattrs(path string, xattrs map[string][]byte) (map[string][]byte, error) {
	for name := range xattrs {
		if !integrityXattr(name) {
			delete(xattrs, name)
		}
	}
	if err := checkXattrs(xattrs); err != nil {
		return nil, fmt.Errorf("sefs: attributes of %s: %w", path, err)
	}
	return xattrs, nil
}
