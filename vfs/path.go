package vfs

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"
)

// Path is a place in a mount. It corresponds to struct path. The VFS returns a Path
// pinned; whoever has it gives it back with Put.
type Path struct {
	mnt    *Mount
	dentry *Dentry
}

// Valid reports whether p is a place at all; the zero Path is not.
func (p Path) Valid() bool { return p.mnt != nil }

// Get pins p once more and returns it (path_get).
func (p Path) Get() Path {
	if p.mnt != nil {
		if p.mnt.refs.Add(1) <= 1 {
			panic("vfs: Get of a Path that has been given back")
		}
		p.dentry.get()
	}
	return p
}

// Put gives p back (path_put). It may call the driver to evict inodes, so it is not called under
// locks that the driver of p takes. Put of the zero Path does nothing.
func (p Path) Put() {
	if p.mnt != nil {
		p.dentry.put()
		p.mnt.put()
	}
}

// Inode returns the inode, never nil for a Path that the VFS returned. It is pinned as
// long as p is.
func (p Path) Inode() Inode { return p.dentry.inode }

// Mount returns the mount.
func (p Path) Mount() *Mount { return p.mnt }

// Equal reports whether p and q are the same place: same mount, same dentry.
func (p Path) Equal(q Path) bool { return p == q }

// SameDentry reports whether p and q share the dentry, whatever the mount.
func (p Path) SameDentry(q Path) bool { return p.dentry == q.dentry }

// IsDir reports whether p is a directory.
func (p Path) IsDir() bool { return p.dentry.isDir() }

// IsMountRoot reports whether p is the root of its mount (STATX_ATTR_MOUNT_ROOT).
func (p Path) IsMountRoot() bool { return p.dentry == p.mnt.sb.root }

// Kind returns the file's type as S_IFMT bits; a type never changes.
func (p Path) Kind() uint32 { return p.dentry.kind & unix.S_IFMT }

// IsWhiteout reports whether p is a whiteout.
func (p Path) IsWhiteout() bool { return p.dentry.kind == kindWhiteout }

// Removed reports whether the name of p has been removed.
func (p Path) Removed() bool { return p.dentry.parent() != nil && !p.dentry.hashed.Load() }

// pathInside returns the path of d from the root of its file system.
func (d *Dentry) pathInside() string {
	var names []string
	for {
		seq := d.sb.cache.renames.Load()
		names = names[:0]
		for e := d; ; {
			at := e.loc.Load()
			if at.parent == nil {
				break
			}
			names = append(names, at.name)
			e = at.parent
		}
		if d.sb.cache.renames.Load() == seq {
			return joinUp(names)
		}
	}
}

// joinUp joins names given from the last to the first.
func joinUp(names []string) string {
	if len(names) == 0 {
		return "/"
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(names[i])
	}
	return b.String()
}

// pathFrom returns the path of p as seen from root; ok is false if root is not above p.
func (p Path) pathFrom(root Path) (path string, ok bool) {
	for {
		seq := p.mnt.sb.cache.renames.Load()
		path, ok = p.climb(root)
		if p.mnt.sb.cache.renames.Load() == seq {
			return path, ok
		}
	}
}

func (p Path) climb(root Path) (path string, ok bool) {
	var names []string
	m, d := p.mnt, p.dentry
	for m != root.mnt || d != root.dentry {
		if d == m.sb.root {
			at := m.at.Load()
			if at == nil {
				return joinUp(names), false
			}
			m, d = at.parent, at.point
			continue
		}
		at := d.loc.Load()
		names = append(names, at.name)
		d = at.parent
	}
	return joinUp(names), true
}

// checkName checks one component for the ring. Its length is the directory's to judge
// (Dentry.lookupLocked).
//
// Errors: EINVAL for what is no component.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

// Lookup finds name in dir and returns it pinned (lookup_one_len). It crosses no
// mount and follows no symlink.
//
// Errors: ENOENT for a missing name; ENOTDIR; EACCES without search permission;
// EINVAL, ENAMETOOLONG for a bad name.
func Lookup(ctx context.Context, cred *Cred, dir Path, name string) (Path, error) {
	if err := checkName(name); err != nil {
		return Path{}, err
	}
	if err := searchable(ctx, cred, dir.dentry); err != nil {
		return Path{}, err
	}
	c, err := dir.dentry.lookup(ctx, dir.mnt, name, nil)
	if err != nil {
		return Path{}, dir.blameName("lookup", name, err)
	}
	dir.mnt.refs.Add(1)
	return Path{mnt: dir.mnt, dentry: c}, nil
}
