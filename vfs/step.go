package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// step walks into name, or, if that is a symlink and follow is set, makes its
// target what is walked next.
func (w *walker) step(name string, follow bool) (followed bool, err error) {
	c, err := w.child(name)
	if err != nil {
		return false, err
	}
	if follow && c.kind == unix.S_IFLNK {
		return true, w.followLink(c)
	}
	return false, w.enter(c)
}

// child finds name where the walk is. The dentry comes with a reference if w.held is set on return.
func (w *walker) child(name string) (*Dentry, error) {
	if !w.held && w.d.dir.reval == nil {
		if c := w.d.child(name); c != nil {
			if c.negative() {
				c.lru.touch()
				return nil, unix.ENOENT
			}
			return c, nil
		}
	}
	if strings.IndexByte(name, 0) >= 0 {
		return nil, unix.EINVAL
	}
	if w.flags&WalkCached != 0 {
		return nil, unix.EAGAIN
	}
	if err := w.hold(); err != nil {
		return nil, err
	}
	c, err := w.d.lookup(w.ctx, w.mnt, name, &w.seen)
	return c, Path{mnt: w.mnt, dentry: w.d}.blameName("lookup", name, err)
}

// hold takes the references from here on.
//
// Errors: errRestart.
func (w *walker) hold() error {
	if w.held {
		return nil
	}
	if !w.mnt.tryGet() {
		return errRestart
	}
	if !w.d.tryGet() {
		w.mnt.unref()
		return errRestart
	}
	w.held = true
	return nil
}

// enter moves the walk to c, a child of where it is, and on to what is mounted there. If
// the walk holds references, the caller's on c passes to it.
func (w *walker) enter(c *Dentry) error {
	old := w.d
	w.d = c
	if w.held && old != nil {
		old.put()
	}
	return w.cross()
}

// cross moves the walk on to what is mounted where it is.
func (w *walker) cross() error {
	for {
		over := w.d.mounted.Load()
		if over == nil {
			return nil
		}
		if w.flags&WalkNoXdev != 0 {
			return unix.EXDEV
		}
		if !w.held {
			w.mnt, w.d = over, over.sb.root
			continue
		}
		if !over.tryGet() {
			if err := over.await(w.ctx); err != nil {
				return err
			}
			continue
		}
		w.moveHeld(over, over.sb.root.get())
	}
}

// moveHeld moves a walk that holds references to another mount. The references on m and d pass to it.
func (w *walker) moveHeld(m *Mount, d *Dentry) {
	w.d.put()
	w.mnt.put()
	w.mnt, w.d = m, d
}

// dotdot moves the walk to the parent directory, through the roots of mounts but not above the
// root (fs/namei.c: handle_dots).
func (w *walker) dotdot() error {
	w.rooted = true
	if err := w.ascend(); err != nil {
		return err
	}
	if err := w.cross(); err != nil {
		return err
	}
	if w.flags&(WalkBeneath|WalkInRoot) != 0 && w.base.mnt.sb.cache.renames.Load() != w.renames {
		return unix.EAGAIN // ".." may have led out of the scope
	}
	return nil
}

// ascend is dotdot without what is mounted on the parent (follow_dotdot). There is nothing above the root, nor above the
// root of a detached mount: then the walk stays.
func (w *walker) ascend() error {
	for {
		m, d := w.mnt, w.d
		for d == m.sb.root && (m != w.root.mnt || d != w.root.dentry) {
			at := m.at.Load()
			if at == nil {
				break
			}
			m, d = at.parent, at.point
		}
		if d == m.sb.root || m == w.root.mnt && d == w.root.dentry {
			if w.flags&WalkBeneath != 0 {
				return unix.EXDEV
			}
			return nil
		}
		if m != w.mnt && w.flags&WalkNoXdev != 0 {
			return unix.EXDEV
		}
		if w.moveUp(m, d.parent()) {
			return nil
		}
	}
}

// moveUp moves the walk to up on m. If the walk holds references it fails if either has gone meanwhile.
func (w *walker) moveUp(m *Mount, up *Dentry) bool {
	if !w.held {
		w.mnt, w.d = m, up
		return true
	}
	crossed := m != w.mnt
	if crossed && !m.tryGet() {
		return false
	}
	switch {
	case !up.tryGet():
		if crossed {
			m.unref()
		}
		return false
	case crossed:
		w.moveHeld(m, up)
	default:
		w.d.put()
		w.d = up
	}
	return true
}

// jumpRoot moves the walk to the root, for an absolute symlink. With WalkNoXdev it must be in the mount of the root,
// and have found that out: by beginning there or by meeting ".." (fs/namei.c: nd_jump_root).
func (w *walker) jumpRoot() error {
	if w.flags&WalkBeneath != 0 || w.flags&WalkNoXdev != 0 && (!w.rooted || w.mnt != w.root.mnt) {
		return unix.EXDEV
	}
	w.root.Get() // the walk holds references once it has read a symlink
	w.moveHeld(w.root.mnt, w.root.dentry)
	return nil
}

// followLink makes the target of the symlink c what is walked next
// (fs/namei.c: pick_link).
func (w *walker) followLink(c *Dentry) error {
	if !w.held {
		if w.flags&WalkCached != 0 {
			return unix.EAGAIN
		}
		if err := w.hold(); err != nil {
			return err
		}
		if !c.tryGet() {
			return errRestart
		}
	}
	defer c.put()
	if w.links++; w.links > maxSymlinks || w.flags&WalkNoSymlinks != 0 || w.mnt.flags&unix.MS_NOSYMFOLLOW != 0 {
		return unix.ELOOP
	}
	target, err := readlink(w.ctx, Path{mnt: w.mnt, dentry: c})
	if err != nil {
		return err
	}
	if w.rest != "" {
		w.outer = append(w.outer, w.rest)
	}
	w.rest = target
	if target[0] == '/' {
		return w.jumpRoot()
	}
	return nil
}
