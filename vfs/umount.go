package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// umountFlags are the flags that umount2(2) knows.
const umountFlags = unix.MNT_FORCE | unix.MNT_DETACH | unix.MNT_EXPIRE | unix.UMOUNT_NOFOLLOW

// Umount2 unmounts what is mounted topmost on target, as umount2(2) does.
//
// Errors, in this order: EINVAL for unknown flags; those of the walk; EPERM without privilege, and for
// the root; EINVAL if target is not the root of a mount, or MNT_EXPIRE comes with
// MNT_FORCE or MNT_DETACH; EBUSY if the mount is in use (except with MNT_DETACH); EAGAIN if MNT_EXPIRE
// found it unused for the first time; the error of the last flush, after which the mount is still in place.
// With MNT_FORCE or MNT_DETACH a failed flush does not keep the mount.
func (v *View) Umount2(ctx context.Context, target string, flags int) error {
	if flags&^umountFlags != 0 {
		return unix.EINVAL
	}
	walk := WalkFollow
	if flags&unix.UMOUNT_NOFOLLOW != 0 {
		walk = 0
	}
	p, err := v.Walk(ctx, Path{}, target, walk)
	if err != nil {
		return err
	}
	p, err = p.descend(ctx)
	if err != nil {
		return err
	}
	m := p.mnt
	isRoot := p.dentry == m.sb.root
	p.dentry.put()
	defer m.unref() // the look at it is no use of it
	switch {
	case !v.cred.privileged():
		return unix.EPERM
	case isRoot && (m == v.ns.root || p.Equal(v.root)):
		return unix.EPERM
	case !isRoot:
		return unix.EINVAL
	}
	switch {
	case flags&unix.MNT_EXPIRE != 0 && flags&(unix.MNT_FORCE|unix.MNT_DETACH) != 0:
		return unix.EINVAL
	case flags&unix.MNT_DETACH != 0:
		return v.ns.detach(m)
	case flags&unix.MNT_EXPIRE != 0 && m.refs.Load() != 2:
		return unix.EBUSY
	case flags&unix.MNT_EXPIRE != 0 && !m.expiring.Swap(true):
		return unix.EAGAIN
	case flags&unix.MNT_FORCE != 0:
		return v.ns.umount(ctx, m, ForceClose)
	}
	return v.ns.umount(ctx, m, SafeClose)
}

// descend replaces p by the root of what is mounted topmost on it. p is given back in any case.
func (p Path) descend(ctx context.Context) (Path, error) {
	w := walker{ctx: ctx, mnt: p.mnt, held: true}
	if err := w.enter(p.dentry); err != nil {
		w.drop()
		return Path{}, err
	}
	return Path{mnt: w.mnt, dentry: w.d}, nil
}

// umount takes an unused mount out of the tree.
//
// Preconditions: the caller has one reference on m, and none on its dentries.
func (ns *Namespace) umount(ctx context.Context, m *Mount, mode CloseMode) error {
	ch := make(chan struct{})
	if !m.closing.CompareAndSwap(nil, &ch) {
		return unix.EBUSY
	}
	defer func() {
		m.closing.Store(nil)
		close(ch)
	}()
	if err := ns.freeze(m); err != nil {
		return err
	}
	if err := m.sb.close(ctx, mode); err != nil {
		m.refs.Add(-deadRefs)
		return err
	}
	ns.mu.Lock()
	var at *attachment
	if m.at.Load() != nil { // else detached with the tree above it meanwhile
		at = ns.detachLocked(m)
	}
	ns.mu.Unlock()
	if at != nil {
		at.put()
	}
	return nil
}

// freeze keeps new users away from m if there are none but the tree and the caller.
func (ns *Namespace) freeze(m *Mount) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if m.at.Load() == nil {
		return unix.EINVAL
	}
	if !m.refs.CompareAndSwap(2, 2+deadRefs) {
		return unix.EBUSY
	}
	return nil
}

// detach takes m and all mounts below it out of the tree at once; each closes its
// file system when its last user has gone (MNT_DETACH).
//
// Preconditions: the caller has a reference on m.
func (ns *Namespace) detach(m *Mount) error {
	ns.mu.Lock()
	if m.at.Load() == nil {
		ns.mu.Unlock()
		return unix.EINVAL
	}
	tree := ns.treeLocked(m)
	held := make([]*attachment, len(tree))
	for i, t := range tree {
		held[i] = ns.detachLocked(t)
	}
	ns.mu.Unlock()
	for i := range tree {
		held[i].put()
		tree[i].unref()
	}
	return nil
}
