package vfs

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// WalkFlags steer a walk.
type WalkFlags uint32

const (
	WalkFollow     WalkFlags = 1 << iota // follow a symlink in the last component
	WalkDirectory                        // the result must be a directory (ENOTDIR)
	WalkEmpty                            // "" names the starting point (AT_EMPTY_PATH)
	WalkNoXdev                           // openat2(2) RESOLVE_NO_XDEV: EXDEV; of absolute symlinks see jumpRoot
	WalkNoSymlinks                       // RESOLVE_NO_SYMLINKS: ELOOP
	WalkBeneath                          // RESOLVE_BENEATH: EXDEV; EAGAIN if a rename interferes with ".."
	WalkInRoot                           // RESOLVE_IN_ROOT: the start is the root; EAGAIN likewise
	WalkCached                           // RESOLVE_CACHED: EAGAIN where a driver has to be asked
	WalkReval                            // ask for each name by itself: the second walk after ESTALE (LOOKUP_REVAL)
)

// maxSymlinks is how many symlinks one walk follows (MAXSYMLINKS).
const maxSymlinks = 40

// Last is the last component of a path, for the calls that create and remove.
type Last struct {
	Name          string // "" unless Kind is LastNorm
	Kind          LastKind
	TrailingSlash bool
}

// LastKind says what the last component is (nd->last_type).
type LastKind int

const (
	LastNorm   LastKind = iota // a name
	LastRoot                   // none: the path is "/"
	LastDot                    // "."
	LastDotDot                 // ".."
)

// errRestart makes a walk start again because it met an evicted dentry.
var errRestart = errors.New("vfs: walk met an evicted dentry")

// walker is the state of one walk (struct nameidata). It starts without references,
// like an RCU walk of Linux, and takes them at the first cache miss or symlink or at the end.
type walker struct {
	ctx   context.Context // a walker lives for one call
	cred  *Cred
	root  Path
	base  Path
	flags WalkFlags

	mnt    *Mount // where the walk is; referenced if held
	d      *Dentry
	held   bool
	pinned bool // the walk begins with references
	single bool // names that may have changed are asked for one by one
	seen   sight
	second int64 // when the walk met directories that change behind the VFS, by the superblock's clock; 0: not yet

	rest    string   // what is left to walk
	outer   []string // what is left of the paths around the current symlink's; none is empty
	links   int      // symlinks followed
	needDir bool
	follow  bool
	rooted  bool   // the walk began at the root or has met ".." (nd->root is set)
	renames uint64 // when a scoped walk began
}

// Walk resolves path from at (the zero Path: the working directory) and returns the
// result pinned (fs/namei.c: path_lookupat). A walk over cached entries allocates nothing.
//
// Errors: ENOENT, also for ""; ENOTDIR, EACCES, ENAMETOOLONG, ELOOP; those of flags.
func (v *View) Walk(ctx context.Context, at Path, path string, flags WalkFlags) (Path, error) {
	var w walker
	if err := w.init(ctx, v, at, path, flags); err != nil {
		return Path{}, err
	}
	for {
		p, err := w.lookupat(path)
		if !w.retry(err) {
			return p, err
		}
	}
}

// WalkParent resolves all but the last component (path_parentat); dir is pinned. Search
// permission on dir has been checked.
func (v *View) WalkParent(ctx context.Context, at Path, path string, flags WalkFlags) (dir Path, last Last, err error) {
	var w walker
	if err := w.init(ctx, v, at, path, flags&^WalkEmpty); err != nil {
		return Path{}, Last{}, err
	}
	for {
		dir, last, err = w.parentat(path)
		if !w.retry(err) {
			return dir, last, err
		}
	}
}

// GetattrAt is Walk and Getattr in one, for stat(2): it takes no reference where all is
// cached. dev is the device number for st_dev.
func (v *View) GetattrAt(ctx context.Context, at Path, path string, flags WalkFlags, mask uint32) (attr Attr, dev uint64, err error) {
	var w walker
	if err := w.init(ctx, v, at, path, flags); err != nil {
		return Attr{}, 0, err
	}
	for {
		attr, err = w.getattr(path, mask)
		if err == nil {
			dev = w.mnt.sb.dev
			if w.mnt.expiring.Load() {
				w.mnt.expiring.Store(false)
			}
		}
		w.drop()
		if !w.retry(err) {
			return attr, dev, err
		}
	}
}

// getattr walks the whole path and returns the attributes of what is there. If the driver has just told
// them it is not asked again.
func (w *walker) getattr(path string, mask uint32) (attr Attr, err error) {
	if err := w.lookup(path); err != nil {
		return Attr{}, err
	}
	if w.seen.of == w.d {
		return w.seen.attr, nil
	}
	attr, err = w.d.inode.Getattr(w.ctx, mask)
	if !w.held && (w.d.dead() || w.mnt.refs.Load() < 0) {
		err = errRestart
	}
	return attr, Path{mnt: w.mnt, dentry: w.d}.blame("stat", err)
}

// GetattrCached is GetattrAt of a View that another thread may release meanwhile: what is not held is looked
// at with care, as a walk does on its way, and no reference is taken at all.
//
// Errors: EAGAIN if it takes more than the cache to answer, or the View has been released; those of GetattrAt.
func (v *View) GetattrCached(ctx context.Context, path string, flags WalkFlags, mask uint32) (attr Attr, dev uint64, err error) {
	var w walker
	if err := w.init(ctx, v, Path{}, path, flags|WalkCached); err != nil {
		return Attr{}, 0, err
	}
	attr, err = w.getattr(path, mask)
	if err == errRestart || w.d.dead() || w.mnt.refs.Load() < 0 {
		return Attr{}, 0, unix.EAGAIN
	}
	if err == nil && w.mnt.expiring.Load() {
		w.mnt.expiring.Store(false)
	}
	return attr, w.mnt.sb.dev, err
}

func (w *walker) init(ctx context.Context, v *View, at Path, path string, flags WalkFlags) error {
	if path == "" && flags&WalkEmpty == 0 {
		return unix.ENOENT
	}
	if len(path) >= unix.PathMax {
		return unix.ENAMETOOLONG
	}
	w.ctx, w.cred, w.flags = ctx, v.cred, flags
	w.root, w.base = v.root, at
	if !at.Valid() {
		w.base = v.cwd
	}
	if flags&(WalkBeneath|WalkInRoot) != 0 {
		w.root = w.base
		w.renames = w.base.mnt.sb.cache.renames.Load()
	}
	if strings.HasPrefix(path, "/") {
		if flags&WalkBeneath != 0 {
			return unix.EXDEV
		}
		w.base = w.root
	}
	return nil
}

// start puts the walker at the beginning of path.
func (w *walker) start(path string) {
	w.mnt, w.d, w.held, w.seen.of = w.base.mnt, w.base.dentry, w.pinned, nil
	if w.held {
		w.base.Get()
	}
	w.rest, w.outer, w.links = path, nil, 0
	w.single = w.flags&WalkReval != 0
	w.needDir = w.flags&WalkDirectory != 0
	w.follow = w.flags&WalkFollow != 0
	w.rooted = w.flags&(WalkBeneath|WalkInRoot) != 0 || strings.HasPrefix(path, "/")
}

// drop gives the references back.
func (w *walker) drop() {
	if w.held {
		if w.d != nil {
			w.d.put()
		}
		w.mnt.put()
		w.held = false
	}
}

// lookupat walks the whole path and pins the result.
func (w *walker) lookupat(path string) (Path, error) {
	err := w.lookup(path)
	if err == nil {
		err = w.hold()
	}
	if err != nil {
		w.drop()
		return Path{}, err
	}
	return Path{mnt: w.mnt, dentry: w.d}, nil
}

func (w *walker) parentat(path string) (Path, Last, error) {
	w.start(path)
	last, err := w.parent()
	if err == nil {
		err = w.hold()
	}
	if err != nil {
		w.drop()
		return Path{}, Last{}, err
	}
	return Path{mnt: w.mnt, dentry: w.d}, last, nil
}

// lookup walks the whole path.
func (w *walker) lookup(path string) error {
	w.start(path)
	for {
		last, err := w.parent()
		if err != nil {
			return err
		}
		followed, err := w.last(last)
		if err != nil {
			return err
		}
		if !followed {
			break
		}
	}
	if w.needDir && !w.d.isDir() {
		return unix.ENOTDIR
	}
	return nil
}

// last walks into the last component. If that is a symlink to follow, its
// path is next.
func (w *walker) last(last Last) (followed bool, err error) {
	switch last.Kind {
	case LastDotDot:
		return false, w.dotdot()
	case LastNorm:
		if last.TrailingSlash {
			w.needDir, w.follow = true, true
		}
		return w.step(last.Name, w.follow)
	}
	return false, nil
}

// parent walks up to the last component and returns that (fs/namei.c: link_path_walk).
func (w *walker) parent() (Last, error) {
	w.skip()
	for {
		w.rest = trimSlashes(w.rest)
		if w.rest == "" {
			if len(w.outer) == 0 {
				return Last{Kind: LastRoot}, nil
			}
			w.rest = w.outer[len(w.outer)-1]
			w.outer = w.outer[:len(w.outer)-1]
			continue
		}
		if w.d.dir != nil && w.d.dir.reval != nil {
			w.skipLive()
		}
		if err := w.search(); err != nil {
			return Last{}, err
		}
		name, after := w.rest, ""
		if i := strings.IndexByte(w.rest, '/'); i >= 0 {
			name, after = w.rest[:i], w.rest[i:]
		}
		last := Last{TrailingSlash: after != ""}
		switch name {
		case ".":
			last.Kind = LastDot
		case "..":
			last.Kind = LastDotDot
		default:
			last.Name = name
		}
		w.rest = trimSlashes(after)
		if w.rest == "" && len(w.outer) == 0 {
			return last, nil
		}
		var err error
		switch last.Kind {
		case LastDotDot:
			err = w.dotdot()
			w.skip()
		case LastNorm:
			_, err = w.step(name, true)
		}
		if err != nil {
			return Last{}, err
		}
	}
}

func trimSlashes(s string) string {
	for len(s) > 0 && s[0] == '/' {
		s = s[1:]
	}
	return s
}

// search checks that the walk may go through where it is (may_lookup).
func (w *walker) search() error {
	dir := w.d.dir
	switch {
	case dir == nil:
		return unix.ENOTDIR
	case w.cred.privileged() || dir.searchAll.always():
		return nil
	case w.seen.of == w.d:
		dir.searchAll.learn(w.seen.attr.Mode, w.second)
		return genericPermission(w.cred, &w.seen.attr, mayExec)
	case dir.searchAll.during(w.second):
		return nil
	}
	a, err := dir.Getattr(w.ctx, permMask)
	if err == nil {
		err = genericPermission(w.cred, &a, mayExec)
	}
	if !w.held && w.d.dead() {
		return errRestart // the driver was asked about an evicted inode
	}
	if err == nil {
		dir.learnSearch(w, a.Mode)
	}
	return err
}
