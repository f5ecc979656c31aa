package treecopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// Change says how one path differs between two trees.
type Change struct {
	Path string     `json:"path"`
	Kind ChangeKind `json:"change"`

	// Differences are what has changed.
	Differences []Difference `json:"differences,omitempty"`
}

// ChangeKind is a kind of Change.
type ChangeKind string

// The kinds of change.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// Difference is one attribute that differs. Old and New are empty for what has no short text.
type Difference struct {
	What string `json:"what"` // type, mode, owner, mtime, size, content, target, device, links, attribute NAME
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Compare compares the trees at two directories and tells emit of each difference, in the
// order of names with directories before their contents. It reads the contents of all files. Access and change times
// and inode numbers are not compared, but which names are one file is.
//
// Errors: *TreeError for either tree; those of emit.
func Compare(ctx context.Context, cred *vfs.Cred, old, new Tree, emit func(Change) error) error {
	c := &comparer{
		old: newReader(ctx, cred), new: newReader(ctx, cred), emit: emit,
		toNew: make(map[uint64]uint64), toOld: make(map[uint64]uint64),
	}
	c.old.tree, c.new.tree = old.Name, new.Name
	return c.both(old.Root, new.Root, "/")
}

// Tree is a tree to compare.
type Tree struct {
	Name string // for messages
	Root vfs.Path
}

// comparer compares two trees.
type comparer struct {
	old, new     reader
	emit         func(Change) error
	toNew, toOld map[uint64]uint64 // inode numbers of files with several names
}

// both compares what is at one path of both trees.
func (c *comparer) both(old, new vfs.Path, path string) error {
	a, am, err := c.old.meta(old, path)
	if err != nil {
		return err
	}
	b, bm, err := c.new.meta(new, path)
	if err != nil {
		return err
	}
	if am.kind() != bm.kind() {
		change := Change{Path: path, Kind: Changed, Differences: []Difference{{"type", typeName(am.kind()), typeName(bm.kind())}}}
		if err := c.emit(change); err != nil {
			return err
		}
		if err := c.below(&c.old, old, path, Removed); err != nil {
			return err
		}
		return c.below(&c.new, new, path, Added)
	}
	d := compareMeta(&am, &bm)
	switch am.kind() {
	case unix.S_IFREG:
		err = c.regular(&d, old, new, path, &a, &b)
	case unix.S_IFLNK:
		err = c.symlink(&d, old, new, path)
	case unix.S_IFCHR, unix.S_IFBLK:
		d.add("device", device(am.rdev), device(bm.rdev))
	}
	if err != nil {
		return err
	}
	if am.kind() != unix.S_IFDIR {
		c.links(&d, &a, &b)
	}
	if len(d) > 0 {
		if err := c.emit(Change{path, Changed, d}); err != nil {
			return err
		}
	}
	if am.kind() == unix.S_IFDIR {
		return c.dirs(old, new, path)
	}
	return nil
}

// dirs compares the entries of two directories.
func (c *comparer) dirs(old, new vfs.Path, path string) error {
	olds, err := ReadDir(c.old.ctx, c.old.cred, old)
	if err != nil {
		return c.old.fail(path, err)
	}
	news, err := ReadDir(c.new.ctx, c.new.cred, new)
	if err != nil {
		return c.new.fail(path, err)
	}
	for len(olds) > 0 || len(news) > 0 {
		switch {
		case len(news) == 0 || len(olds) > 0 && olds[0].Name < news[0].Name:
			err = c.one(&c.old, old, path, olds[0].Name, Removed)
			olds = olds[1:]
		case len(olds) == 0 || news[0].Name < olds[0].Name:
			err = c.one(&c.new, new, path, news[0].Name, Added)
			news = news[1:]
		default:
			name := olds[0].Name
			err = c.old.entry(old, path, name, func(p vfs.Path, _ string) error {
				return c.new.entry(new, path, name, func(q vfs.Path, _ string) error {
					return c.both(p, q, Join(path, name))
				})
			})
			olds, news = olds[1:], news[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one tells of a path that only one tree has, and of all below it.
func (c *comparer) one(r *reader, dir vfs.Path, path, name string, kind ChangeKind) error {
	at := Join(path, name)
	if err := c.emit(Change{Path: at, Kind: kind}); err != nil {
		return err
	}
	return r.entry(dir, path, name, func(p vfs.Path, _ string) error { return c.below(r, p, at, kind) })
}

func (c *comparer) below(r *reader, p vfs.Path, path string, kind ChangeKind) error {
	if !p.IsDir() {
		return nil
	}
	list, err := ReadDir(r.ctx, r.cred, p)
	if err != nil {
		return r.fail(path, err)
	}
	for _, e := range list {
		if err := c.one(r, p, path, e.Name, kind); err != nil {
			return err
		}
	}
	return nil
}

// differences collects what differs.
type differences []Difference

func (d *differences) add(what, old, new string) {
	if old != new {
		*d = append(*d, Difference{what, old, new})
	}
}

func compareMeta(a, b *meta) (d differences) {
	d.add("mode", fmt.Sprintf("%04o", a.perm()), fmt.Sprintf("%04o", b.perm()))
	d.add("owner", fmt.Sprintf("%d:%d", a.owner.UID, a.owner.GID), fmt.Sprintf("%d:%d", b.owner.UID, b.owner.GID))
	d.add("mtime", timeText(a.times.Mtime), timeText(b.times.Mtime))
	for _, name := range sortedNames(a.xattrs, b.xattrs) {
		old, had := a.xattrs[name]
		new, has := b.xattrs[name]
		if had != has || !bytes.Equal(old, new) {
			d = append(d, Difference{What: "attribute " + name})
		}
	}
	return d
}

func timeText(t unix.Timespec) string { return time.Unix(t.Unix()).UTC().Format(time.RFC3339Nano) }

func device(rdev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev)) }

func typeName(kind uint32) string {
	switch kind {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "character device"
	}
	return "block device"
}

func (c *comparer) symlink(d *differences, old, new vfs.Path, path string) error {
	a, err := c.old.readlink(old, path)
	if err != nil {
		return err
	}
	b, err := c.new.readlink(new, path)
	if err != nil {
		return err
	}
	d.add("target", a, b)
	return nil
}

// regular compares the contents of two files.
func (c *comparer) regular(d *differences, old, new vfs.Path, path string, a, b *vfs.Attr) error {
	if a.Size != b.Size {
		d.add("size", fmt.Sprint(a.Size), fmt.Sprint(b.Size))
		return nil
	}
	if n, ok := c.toNew[a.Ino]; ok && n == b.Ino {
		return nil // compared under another name
	}
	same, err := c.sameContent(old, new, path, a.Size)
	if err == nil && !same {
		*d = append(*d, Difference{What: "content"})
	}
	return err
}

func (c *comparer) sameContent(old, new vfs.Path, path string, size int64) (bool, error) {
	f, err := c.old.open(old, path)
	if err != nil {
		return false, err
	}
	defer f.Close(c.old.ctx)
	g, err := c.new.open(new, path)
	if err != nil {
		return false, err
	}
	defer g.Close(c.new.ctx)
	for off := int64(0); off < size; {
		// Where both have a hole both are zero.
		start := min(c.old.nextData(f, off, size), c.new.nextData(g, off, size))
		if start >= size {
			break
		}
		piece := run{start, min(size, start+bufferSize)}
		same := true
		err := c.old.read(f, path, piece, func(x []byte, at int64) error {
			return c.new.read(g, path, run{at, at + int64(len(x))}, func(y []byte, yat int64) error {
				same = same && bytes.Equal(x[yat-at:][:len(y)], y)
				return nil
			})
		})
		if err != nil || !same {
			return false, err
		}
		off = piece.end
	}
	return true, nil
}

// nextData returns where data begin at or after off; size if there are none. What cannot be
// told is data.
func (r *reader) nextData(f *vfs.File, off, size int64) int64 {
	start, err := f.Seek(r.ctx, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size
	case err != nil:
		return off
	}
	return max(start, off)
}

// links compares which names are one file.
func (c *comparer) links(d *differences, a, b *vfs.Attr) {
	if a.Nlink == 1 && b.Nlink == 1 {
		return
	}
	if a.Nlink != b.Nlink {
		d.add("links", fmt.Sprint(a.Nlink), fmt.Sprint(b.Nlink))
		return
	}
	n, seen := c.toNew[a.Ino]
	o, reverse := c.toOld[b.Ino]
	if seen != reverse || seen && (n != b.Ino || o != a.Ino) {
		*d = append(*d, Difference{What: "links"})
		return
	}
	c.toNew[a.Ino], c.toOld[b.Ino] = b.Ino, a.Ino
}
