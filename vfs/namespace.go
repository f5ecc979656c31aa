package vfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultMaxMounts is the limit on mounts if a Config sets none (fs.mount-max).
const DefaultMaxMounts = 100000

// Config makes a Namespace.
type Config struct {
	Types       []FileSystemType // what mount(2) offers
	Root        FileSystem       // the root file system, e.g. a ramfs; the namespace closes it
	RootType    string           // its type, for mountinfo
	Now         func() time.Time // nil: time.Now
	Log         *slog.Logger     // nil: discard
	MaxMounts   int              // 0: DefaultMaxMounts
	MaxDentries int              // cached dentries without users, in all mounts; 0: DefaultMaxDentries
}

// Namespace is a mount tree. It corresponds to struct mnt_namespace.
type Namespace struct {
	types     map[string]FileSystemType
	now       func() time.Time
	log       *slog.Logger
	cache     *dcache
	root      *Mount
	maxMounts int
	waits     lockGraph

	mu     sync.Mutex
	mounts int // attached ones, and those being made
	lastID int // of mounts and of their anonymous devices
	closed bool
}

// New returns a namespace with cfg.Root as its root.
//
// Errors: EINVAL without a root, or if two types have one name.
func New(cfg Config) (*Namespace, error) {
	if cfg.Root == nil {
		return nil, fmt.Errorf("vfs: no root file system: %w", unix.EINVAL)
	}
	if cfg.MaxMounts <= 0 {
		cfg.MaxMounts = DefaultMaxMounts
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ns := &Namespace{
		types:     make(map[string]FileSystemType, len(cfg.Types)),
		now:       cfg.Now,
		log:       cfg.Log,
		cache:     newDcache(cfg.MaxDentries),
		maxMounts: cfg.MaxMounts,
	}
	for _, t := range cfg.Types {
		if ns.types[t.Name()] != nil {
			return nil, fmt.Errorf("vfs: two file-system types %q: %w", t.Name(), unix.EINVAL)
		}
		ns.types[t.Name()] = t
	}
	ns.mounts = 1
	ns.root = ns.newMount(cfg.Root, 0, cfg.RootType, "none")
	return ns, nil
}

// newMount returns a mount that is not attached yet, with the reference for being so.
func (ns *Namespace) newMount(fs FileSystem, flags uintptr, typ, source string) *Mount {
	ns.mu.Lock()
	ns.lastID++
	id := ns.lastID
	ns.mu.Unlock()
	m := &Mount{
		id:     id,
		ns:     ns,
		sb:     newSuperblock(fs, unix.Mkdev(0, uint32(id)), ns.cache, ns.now, ns.log),
		flags:  settleFlags(flags),
		typ:    typ,
		source: source,
	}
	m.refs.Store(1)
	return m
}

// NewView returns the view of a new process with root and working directory /. The
// caller releases it.
func (ns *Namespace) NewView(cred *Cred) *View {
	root := Path{mnt: ns.root, dentry: ns.root.sb.root}
	return &View{ns: ns, cred: cred, root: root.Get(), cwd: root.Get(), umask: 0o022}
}

// Sync writes out all file systems, as sync(2) does, and returns the first error.
func (ns *Namespace) Sync(ctx context.Context) error {
	var first error
	for _, m := range ns.list() {
		if err := m.sb.fs.Sync(ctx); err != nil && first == nil {
			first = err
		}
		m.unref()
	}
	return first
}

// list returns the attached mounts, parents before children, each with a reference.
// Mounts that are being unmounted are left out.
func (ns *Namespace) list() []*Mount {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return slices.DeleteFunc(ns.treeLocked(ns.root), func(m *Mount) bool { return !m.tryGet() })
}

// treeLocked returns m and the mounts below it, parents before children.
func (ns *Namespace) treeLocked(m *Mount) []*Mount {
	tree := []*Mount{m}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, tree[i].children...)
	}
	return tree
}

// attach puts m on p, or on what is mounted there.
//
// Errors: ENOENT if the directory has been removed, or its mount detached (fs/namespace.c:
// do_lock_mount); EINVAL if the namespace is closed.
func (ns *Namespace) attach(ctx context.Context, m *Mount, p Path) error {
	for {
		parent, point := topmost(p.mnt, p.dentry)
		if !parent.tryGet() {
			if parent == p.mnt {
				return unix.EINVAL // the caller uses it: only Close shuts it all the same
			}
			if err := parent.await(ctx); err != nil {
				return err
			}
			continue
		}
		point.get()
		done, err := ns.tryAttach(m, parent, point)
		if done {
			return nil
		}
		point.put()
		parent.put()
		if err != nil {
			return err
		}
	}
}

// tryAttach attaches m if nothing else has been mounted on point meanwhile. On success
// the caller's references pass to the mount.
func (ns *Namespace) tryAttach(m, parent *Mount, point *Dentry) (done bool, err error) {
	// The directory's lock keeps rmdir(2) and rename(2) out.
	point.dir.mu.Lock()
	defer point.dir.mu.Unlock()
	ns.mu.Lock()
	defer ns.mu.Unlock()
	switch {
	case point.dir.removed.Load():
		return false, unix.ENOENT
	case parent != ns.root && parent.at.Load() == nil:
		return false, unix.ENOENT
	case ns.closed:
		return false, unix.EINVAL
	case point.mounted.Load() != nil:
		return false, nil
	}
	m.at.Store(&attachment{parent: parent, point: point})
	parent.children = append(parent.children, m)
	point.mounted.Store(m)
	return true, nil
}

// detachLocked takes m out of the tree and returns the references that it held.
//
// Preconditions: ns.mu is held.
func (ns *Namespace) detachLocked(m *Mount) *attachment {
	at := m.at.Load()
	at.point.mounted.Store(nil)
	at.parent.children = slices.DeleteFunc(at.parent.children, func(c *Mount) bool { return c == m })
	m.at.Store(nil)
	ns.mounts--
	return at
}

func (at *attachment) put() {
	at.point.put()
	at.parent.unref()
}

// Close unmounts everything, children first, writing all data out. Open files, paths
// and views have to be given back before; what was forgotten is reported with EBUSY, but its
// file system is closed all the same.
func (ns *Namespace) Close(ctx context.Context) error {
	ns.mu.Lock()
	ns.closed = true
	tree := ns.treeLocked(ns.root)
	ns.mu.Unlock()
	var errs []error
	for _, m := range slices.Backward(tree) {
		if err := ns.closeMount(ctx, m); err != nil {
			errs = append(errs, err)
		}
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more mounts failed)", errs[0], len(errs)-1)
}

func (ns *Namespace) closeMount(ctx context.Context, m *Mount) error {
	err := m.shut(ctx, 1, SafeClose)
	switch {
	case errors.Is(err, unix.EBUSY) && m.refs.Load() > 1:
		users := m.refs.Load() - 1
		err = fmt.Errorf("vfs: mount %d (%s) still has %d users: %s: %w",
			m.id, m.typ, users, strings.Join(m.sb.pinned(), ", "), unix.EBUSY)
		m.refs.Store(deadRefs)
		if cerr := m.sb.close(ctx, ForceClose); cerr != nil {
			ns.log.Error("vfs: close namespace", "mount", m.id, "error", WithoutPath(cerr))
		}
	case err != nil:
		err = fmt.Errorf("vfs: close mount %d (%s): %w", m.id, m.typ, err)
		m.refs.Store(deadRefs)
		_ = m.sb.close(ctx, ForceClose) // never fails; what the driver says is logged
	}
	if m != ns.root {
		ns.mu.Lock()
		at := ns.detachLocked(m)
		ns.mu.Unlock()
		at.put()
	}
	return err
}

// pinned names some of the dentries that have users.
func (sb *superblock) pinned() (names []string) {
	const enough = 8
	var visit func(d *Dentry)
	visit = func(d *Dentry) {
		users := d.refs.Load()
		if d == sb.root {
			users-- // its own
		}
		if d.isDir() {
			for _, c := range d.dir.children.all() {
				users--
				visit(c)
			}
		}
		if users > 0 && len(names) < enough {
			names = append(names, fmt.Sprintf("%q %d", d.pathInside(), users))
		}
	}
	visit(sb.root)
	return names
}
