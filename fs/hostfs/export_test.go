package hostfs

import "golang.org/x/sys/unix"

// Linux returns the Host of the kernel, for tests that put something in front of it.
func Linux() Host { return newLinuxHost() }

// LinuxWithoutOpenat2 is that of a kernel before 5.6.
func LinuxWithoutOpenat2() Host {
	h := newLinuxHost()
	h.openat2 = false
	h.caps &^= CanStatBeneath
	return h
}

// Limits for tests.
const (
	CacheSize   = cacheSize
	MaxEntries  = maxEntries
	MaxDirBytes = maxDirBytes
)

// chmodHost is a restricted host with chmod(2) besides.
type chmodHost struct{ *restrictedHost }

// RestrictedWithChmod returns one.
func RestrictedWithChmod() Host { return chmodHost{NewRestricted().(*restrictedHost)} }

func (h chmodHost) Caps() Caps { return h.restrictedHost.Caps() | CanChmod }

func (h chmodHost) Chmod(fd FD, mode uint32) error {
	n, err := h.real(fd)
	if err != nil {
		return err
	}
	return unix.Fchmod(n, mode)
}

// Names are the names of a restricted host, for tests that stand in for the host.
type Names struct{ n *names }

func NewNames() Names { return Names{newNames()} }

// Dir returns the directory on an absolute path.
func (n Names) Dir(path string) *dentry { return n.n.pinRoot(path) }

func (n Names) Look(dir *dentry, name string, call func(path string) error) error {
	return n.n.look(use{dir: dir, name: name}, call)
}

func (n Names) Make(dir *dentry, name string, call func(path string) error) error {
	return n.n.change(use{dir: dir, name: name, why: gives}, call)
}

func (n Names) Remove(dir *dentry, name string, call func(path string) error) error {
	return n.n.change(use{dir: dir, name: name, why: takes}, call)
}

func (n Names) Rename(oldDir *dentry, oldName string, dir *dentry, name string, call func(from, to string) error) error {
	return n.n.change2(use{dir: oldDir, name: oldName, why: takes}, use{dir: dir, name: name, why: gives}, call)
}

// Unpin gives dir back.
func (n Names) Unpin(dir *dentry) { n.n.unpin(dir) }

// Waiting returns how many calls wait for others.
func (n Names) Waiting() int {
	n.n.mu.Lock()
	defer n.n.mu.Unlock()
	return n.n.waiting
}

// Left returns how many names are kept, and calls under way.
func (n Names) Left() (kept, underWay int) {
	n.n.mu.Lock()
	defer n.n.mu.Unlock()
	var count func(d *dentry) int
	count = func(d *dentry) (c int) {
		for _, child := range d.children {
			c += 1 + count(child)
		}
		return c
	}
	return count(n.n.root), len(n.n.underWay)
}

// NamesOf returns those of a host made by NewRestricted.
func NamesOf(h Host) Names { return Names{h.(*restrictedHost).names} }
