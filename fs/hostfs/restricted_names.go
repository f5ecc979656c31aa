package hostfs

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// names are the names of a host that is reached by whole paths, as far as somebody uses them, and the calls under
// way that go by such paths.
//
// A rename moves a dentry, and with it the paths of all that is at and below it. A call must not go by a path that a
// rename is just changing. So a call on a name waits, before it is made, for changes of that name and of names on
// the way to it that are under way; and a call that makes a name stand for something new waits for all calls
// under way at and below that name: they mean what was there before, and find that it has gone, which tells them
// to look where it is now. Nobody keeps others waiting while waiting.
type names struct {
	mu       sync.Mutex
	root     *dentry
	moves    uint64 // renames until now
	underWay []use
	waiting  int
	ended    sync.Cond // a call under way has ended; L is &mu
}

// dentry is a name that somebody uses, or that leads to one. It corresponds to struct dentry.
type dentry struct {
	parent   *dentry // nil: the root
	name     string
	children map[string]*dentry
	pins     int    // users and children
	moved    uint64 // names.moves when it was last renamed
	gone     bool   // no longer the name of anything that was known under it
}

// purpose is what a call is about to do with a name.
type purpose uint8

const (
	looks purpose = iota // use what is there
	takes                // take the name away
	gives                // make the name stand for something new
)

// use is a name in a directory, or the directory itself if name is "", and what for.
type use struct {
	dir  *dentry
	name string
	why  purpose

	// While under way:
	path  string
	moved uint64 // when the last of the directories on the path was renamed
	begun uint64 // names.moves at the beginning
}

func newNames() *names {
	n := &names{root: &dentry{pins: 1}}
	n.ended.L = &n.mu
	return n
}

// pinRoot returns the dentry of an absolute path, pinned.
func (n *names) pinRoot(path string) *dentry {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.root
	d.pins++
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			c := d.child(name)
			d.unpin()
			d = c
		}
	}
	return d
}

func (n *names) unpin(d *dentry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d.unpin()
}

// look makes a call on a name that changes nothing.
func (n *names) look(u use, call func(path string) error) error {
	_, err := n.run(u, false, call)
	return err
}

// open makes a call that opens, and returns the dentry of what has been opened, pinned.
func (n *names) open(u use, call func(path string) error) (*dentry, error) {
	return n.run(u, true, call)
}

// change makes a call that changes what a name stands for.
func (n *names) change(u use, call func(path string) error) error {
	_, err := n.run(u, false, call)
	return err
}

func (n *names) run(u use, pin bool, call func(path string) error) (*dentry, error) {
	var err error
	for tries := 0; ; tries++ {
		last := u.begun
		d, berr := n.begin(&u, pin)
		if berr != nil {
			return nil, berr
		}
		if tries > 0 && u.moved <= last {
			n.fail(u, d) // the path was right
			return nil, err
		}
		if err = call(u.path); err == nil {
			return n.succeed(u, d, pin), nil
		}
		n.fail(u, d)
		if !missing(err) || tries == maxTries {
			return nil, err
		}
	}
}

// change2 makes a call that gives the name to to what from stands for, and takes from away, if from says so.
func (n *names) change2(from, to use, call func(from, to string) error) error {
	var err error
	for tries := 0; ; tries++ {
		last := from.begun
		if err := n.begin2(&from, &to); err != nil {
			return err
		}
		if tries > 0 && max(from.moved, to.moved) <= last {
			n.end2(from, to, false)
			return err
		}
		err = call(from.path, to.path)
		n.end2(from, to, err == nil)
		if err == nil || !missing(err) || tries == maxTries {
			return err
		}
	}
}

// begin waits until nothing stands in the way of u and notes it as under way. If it is to be pinned and is not a new
// name, begin returns its dentry: renames during the call move it.
//
// Errors: ENOENT if the directory has been removed.
func (n *names) begin(u *use, pin bool) (*dentry, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if err := u.resolve(); err != nil {
			return nil, err
		}
		if !n.blockedLocked(u) {
			break
		}
		n.waitLocked()
	}
	u.begun = n.moves
	n.underWay = append(n.underWay, *u)
	switch {
	case !pin || u.why == gives:
		return nil, nil
	case u.name == "":
		u.dir.pins++
		return u.dir, nil
	}
	return u.dir.child(u.name), nil
}

func (n *names) begin2(u, v *use) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if err := u.resolve(); err != nil {
			return err
		}
		if err := v.resolve(); err != nil {
			return err
		}
		if !n.blockedLocked(u) && !n.blockedLocked(v) {
			break
		}
		n.waitLocked()
	}
	u.begun, v.begun = n.moves, n.moves
	n.underWay = append(n.underWay, *u, *v)
	return nil
}

// blockedLocked reports whether a call under way stands in the way of u.
func (n *names) blockedLocked(u *use) bool {
	for i := range n.underWay {
		o := &n.underWay[i]
		if o.why != looks && within(u.path, o.path) || u.why == gives && within(o.path, u.path) {
			return true
		}
	}
	return false
}

// within reports whether path is top or below it.
func within(path, top string) bool {
	return strings.HasPrefix(path, top) && (len(path) == len(top) || path[len(top)] == '/')
}

func (n *names) waitLocked() {
	n.waiting++
	n.ended.Wait()
	n.waiting--
}

func (n *names) doneLocked(u use) {
	i := slices.IndexFunc(n.underWay, func(o use) bool { return o.why == u.why && o.path == u.path })
	last := len(n.underWay) - 1
	n.underWay[i] = n.underWay[last]
	n.underWay[last] = use{}
	n.underWay = n.underWay[:last]
	if n.waiting > 0 {
		n.ended.Broadcast()
	}
}

func (n *names) fail(u use, d *dentry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d != nil {
		d.unpin()
	}
	n.doneLocked(u)
}

// succeed notes what the call has done, and returns the dentry if it is to be pinned.
func (n *names) succeed(u use, d *dentry, pin bool) *dentry {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u.why != looks {
		u.dir.detach(u.name).remove()
		if pin {
			d = u.dir.child(u.name)
		}
	}
	n.doneLocked(u)
	return d
}

func (n *names) end2(from, to use, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ok {
		var moved *dentry
		if from.why == takes {
			moved = from.dir.detach(from.name)
		}
		to.dir.detach(to.name).remove()
		if moved != nil {
			n.moves++
			moved.moved = n.moves
			moved.attach(to.dir, to.name)
		}
	}
	n.doneLocked(from)
	n.doneLocked(to)
}

// resolve sets path and moved.
//
// Errors: ENOENT if the directory has been removed.
func (u *use) resolve() error {
	size := len(u.name) + 1
	u.moved = 0
	for d := u.dir; d.parent != nil; d = d.parent {
		u.moved = max(u.moved, d.moved)
		if d.gone {
			return unix.ENOENT
		}
		size += len(d.name) + 1
	}
	buf := make([]byte, size)
	end := size - len(u.name)
	copy(buf[end:], u.name)
	for d := u.dir; ; d = d.parent {
		end--
		buf[end] = '/'
		if d.parent == nil {
			break
		}
		end -= len(d.name)
		copy(buf[end:], d.name)
	}
	if u.name == "" && size > 1 {
		buf = buf[:size-1]
	}
	u.path = string(buf)
	return nil
}

// The methods of dentry need names.mu held.

// child returns the dentry of name, pinned.
func (d *dentry) child(name string) *dentry {
	c := d.children[name]
	if c == nil {
		c = &dentry{}
		c.attach(d, name)
	}
	c.pins++
	return c
}

// attach makes d the dentry of name in parent.
func (d *dentry) attach(parent *dentry, name string) {
	if parent.children == nil {
		parent.children = make(map[string]*dentry)
	}
	d.parent, d.name = parent, name
	parent.children[name] = d
	parent.pins++
}

// detach takes the dentry of name out of d and returns it; nil if there is none.
func (d *dentry) detach(name string) *dentry {
	c := d.children[name]
	if c == nil {
		return nil
	}
	delete(d.children, name)
	d.unpin()
	return c
}

// remove notes that d, which may be nil and has been detached, is no name any more.
func (d *dentry) remove() {
	if d != nil {
		d.gone = true
	}
}

// unpin gives up one use. With the last one the dentry goes.
func (d *dentry) unpin() {
	if d.pins--; d.pins == 0 && d.parent != nil && !d.gone {
		d.parent.detach(d.name)
	}
}
