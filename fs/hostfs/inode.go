package hostfs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// inode is the part that all types of files share. It corresponds to struct inode. What it
// stands for on the host is reached by one of its descriptors, or by the name it was
// last seen under.
type inode struct {
	vfs.InodeState
	fs     *FS
	id     hostID
	ino    uint64 // as shown
	serial uint64

	place  atomic.Pointer[place] // where it was last seen; nil: removed, as far as we know
	cached atomic.Pointer[desc]  // see cache
	held   atomic.Pointer[desc]  // kept until the inode goes: of the root, and of what has no name left

	// moveMu is held for writing while the host renames or removes the file.
	moveMu sync.RWMutex

	mu   sync.Mutex
	open []*desc // of a regular file that is open
}

// place is a name in a directory, and the head of a list of where a file of several
// names was seen before. It does not change.
type place struct {
	dir   *dir
	name  string
	older *place
}

// maxPlaces bounds the list.
const maxPlaces = 8

// is reports whether p is name in d.
func (p *place) is(d *dir, name string) bool { return p.dir == d && p.name == name }

// without returns the list, which can be nil, without name in d, and at most n of it.
func (p *place) without(d *dir, name string, n int) *place {
	switch {
	case p == nil || n == 0:
		return nil
	case p.is(d, name):
		return p.older.without(d, name, n)
	}
	older := p.older.without(d, name, n-1)
	if older == p.older {
		return p
	}
	return &place{p.dir, p.name, older}
}

// seen puts name in d first in the list of places. A directory has only that one.
func (i *inode) seen(d *dir, name string) {
	i.places(func(list *place) *place {
		if i.id.typ == unix.S_IFDIR {
			list = nil
		}
		return &place{d, name, list.without(d, name, maxPlaces-1)}
	})
}

// gone takes name in d out of the list of places.
func (i *inode) gone(d *dir, name string) {
	i.places(func(list *place) *place { return list.without(d, name, maxPlaces) })
}

// places replaces the list of places.
func (i *inode) places(change func(*place) *place) {
	for {
		old := i.place.Load()
		if i.place.CompareAndSwap(old, change(old)) {
			return
		}
	}
}

// special is a FIFO, a socket or a device. It can be seen, but not opened.
type special struct{ inode }

func (i *inode) base() *inode { return i }

// maxDepth bounds how many directories are opened to reach one.
const maxDepth = 1 << 16

// acquire returns a descriptor of the inode, opened from its parent if there is none, and checked
// to be that of the same file. The caller puts it.
//
// Errors: ESTALE if the file is not at its place any more.
func (i *inode) acquire() (*desc, error) { return i.acquireAt(0) }

func (i *inode) acquireAt(depth int) (*desc, error) {
	if d := i.descriptor(); d != nil {
		return d, nil
	}
	if depth == maxDepth {
		return nil, unix.ELOOP
	}
	var d *desc
	err := i.atPlace(depth, func(dir FD, name string) error {
		fd, err := i.fs.opened(func() (FD, error) { return i.fs.gate.openPath(dir, name) })
		if err != nil {
			return err
		}
		d = newDesc(i.fs.gate, fd)
		if err := i.verify(d); err != nil {
			_ = d.put() // refers to a file, wrote nothing
			return err
		}
		return nil
	})
	if err != nil {
		return i.last(err)
	}
	return i.fs.cache.add(i, d), nil
}

// last returns the descriptor that is left of a file that had a place when the caller looked, but
// has been removed since, as err says.
//
// Errors: ESTALE if there is none; err if it says something else.
func (i *inode) last(err error) (*desc, error) {
	if !missing(err) {
		return nil, err
	}
	if d := i.descriptor(); d != nil {
		return d, nil
	}
	return nil, unix.ESTALE
}

// descriptor returns one of the descriptors that the inode has, nil if it has none. The
// caller puts it.
func (i *inode) descriptor() *desc {
	if d := i.held.Load(); d != nil && d.get() {
		return d
	}
	if d := i.cached.Load(); d != nil && d.get() {
		if !d.used.Load() {
			d.used.Store(true)
		}
		return d
	}
	if i.id.typ == unix.S_IFREG {
		return i.openDesc(func(*desc) bool { return true })
	}
	return nil
}

// openDesc returns the first descriptor of the open files that suits. The caller puts it.
func (i *inode) openDesc(suits func(*desc) bool) *desc {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, d := range i.open {
		if suits(d) && d.get() {
			return d
		}
	}
	return nil
}

// verify checks that d is of this inode. Errors: ESTALE.
func (i *inode) verify(d *desc) error {
	_, id, err := i.fs.gate.stat(d.fd, "")
	if err != nil {
		return err
	}
	if id != i.id {
		return unix.ESTALE
	}
	return nil
}

// atPlace calls f with the place of the inode. If that fails because nothing, or
// something else, is there, and the inode has been moved meanwhile, f is called again.
func (i *inode) atPlace(depth int, f func(dir FD, name string) error) error {
	p := i.place.Load()
	for tries := 0; ; tries++ {
		if p == nil {
			return unix.ESTALE
		}
		err := p.in(depth, f)
		if !missing(err) || tries == maxTries {
			return err
		}
		// A rename that is under way has moved the file, but not its place yet.
		i.moveMu.RLock()
		q := i.place.Load()
		i.moveMu.RUnlock()
		if p == q {
			return err
		}
		p = q
	}
}

func (p *place) in(depth int, f func(dir FD, name string) error) error {
	d, err := p.dir.acquireAt(depth + 1)
	if err != nil {
		return err
	}
	defer d.put()
	return f(d.fd, p.name)
}

// missing reports whether err says that a name does not stand for what it stood for.
func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EISDIR)
}

// Getattr implements vfs.Inode. The host is asked each time.
//
// Errors: ESTALE if the file is not where it was any more.
func (i *inode) Getattr(ctx context.Context, mask uint32) (vfs.Attr, error) {
	a, err := i.stat()
	if err != nil {
		return vfs.Attr{}, err
	}
	a.Ino = i.ino
	return a, nil
}

// stat asks by descriptor if there is one, else by name, so that walking over many files
// opens none of them.
func (i *inode) stat() (a vfs.Attr, err error) {
	if d := i.descriptor(); d != nil {
		defer d.put()
		return i.statAt(d.fd, "")
	}
	if i.id.typ == unix.S_IFDIR {
		d, err := i.acquire() // it is going to be used
		if err != nil {
			return vfs.Attr{}, err
		}
		defer d.put()
		return i.statAt(d.fd, "")
	}
	err = i.atPlace(0, func(dir FD, name string) (err error) {
		a, err = i.statAt(dir, name)
		return err
	})
	if err == nil {
		return a, nil
	}
	d, err := i.last(err)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer d.put()
	return i.statAt(d.fd, "")
}

func (i *inode) statAt(fd FD, name string) (vfs.Attr, error) {
	a, id, err := i.fs.gate.stat(fd, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	if id != i.id {
		return vfs.Attr{}, unix.ESTALE
	}
	return a, nil
}

// Xattrs implements vfs.Inode for files that have none.
func (i *inode) Xattrs() vfs.Xattrs { return nil }

// Evict implements vfs.Inode. The host frees what has no name when the descriptor is closed.
func (i *inode) Evict(ctx context.Context) error {
	i.fs.table.remove(i)
	var err error
	if d := i.fs.cache.take(i); d != nil {
		err = d.put()
	}
	if d := i.fs.letGo(i); d != nil {
		err = cmp.Or(err, d.put())
	}
	return err
}

// opened makes d, of an open file, one of the inode's descriptors.
func (i *inode) opened(d *desc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open = append(i.open, d)
}

// closing undoes opened.
func (i *inode) closing(d *desc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if k := slices.Index(i.open, d); k >= 0 {
		i.open = slices.Delete(i.open, k, k+1)
	}
}

// removed notes that name in d is gone. keep, if not nil, is a descriptor of the inode, which
// takes it over.
//
// Preconditions: i.moveMu is held for writing.
func (i *inode) removed(d *dir, name string, keep *desc) {
	if keep != nil && !(i.nameless(keep) && i.fs.hold(i, keep)) {
		_ = keep.put() // others use it, or it refers to a file and wrote nothing
	}
	// Last, so that who finds no place finds the descriptor.
	i.gone(d, name)
}

// nameless reports whether d, of this inode, has lost its last name. A directory has but one.
func (i *inode) nameless(d *desc) bool {
	if i.id.typ == unix.S_IFDIR {
		return true
	}
	a, err := i.statAt(d.fd, "")
	return err == nil && a.Nlink == 0
}
