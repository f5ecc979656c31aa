package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// operationFlags make mount(2) change existing mounts, which is not offered.
const operationFlags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_MOVE |
	unix.MS_SHARED | unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_UNBINDABLE

// Mount makes a file system of type fstype and mounts it on target, as mount(2) does. Attribute
// flags are recorded and honoured, unknown ones ignored. Either all is done, or nothing has happened.
//
// Errors, in this order: those of the walk to target; EINVAL for MS_NOUSER and bits from 1<<32 up; EPERM without privilege, and
// for the root, which this VFS never covers; EINVAL for flags that do not make a new mount; ENODEV for an unknown
// type; ENOTDIR if target is no directory; ENOSPC for too many mounts; those of the driver; ENOENT if target was removed
// meanwhile, or is in a mount that is not in the tree any more.
func (v *View) Mount(ctx context.Context, source, target, fstype string, flags uintptr, data string) error {
	p, err := v.Walk(ctx, Path{}, target, WalkFollow)
	if err != nil {
		return err
	}
	defer p.Put()
	if flags&unix.MS_MGC_MSK == unix.MS_MGC_VAL {
		flags &^= unix.MS_MGC_MSK
	}
	typ := v.ns.types[fstype]
	switch {
	case flags&unix.MS_NOUSER != 0 || uint64(flags)>>32 != 0:
		return unix.EINVAL
	case !v.cred.privileged() || v.isRoot(p):
		return unix.EPERM
	case flags&operationFlags != 0:
		return unix.EINVAL
	case typ == nil:
		return unix.ENODEV
	case !p.dentry.isDir():
		return unix.ENOTDIR
	}
	if source == "" {
		source = "none"
	}
	flags |= typ.Flags()
	return v.ns.mount(ctx, typ, p, MountRequest{Source: source, Flags: flags & attributeFlags, Data: data, Cred: v.cred})
}

// isRoot reports whether p is the root of the view or of the namespace.
func (v *View) isRoot(p Path) bool {
	return p.Equal(v.root) || p.mnt == v.ns.root && p.dentry == v.ns.root.sb.root
}

// mount makes a file system and attaches it on p. The driver is called without locks.
func (ns *Namespace) mount(ctx context.Context, typ FileSystemType, p Path, req MountRequest) (err error) {
	if err := ns.reserve(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			ns.unreserve()
		}
	}()
	fs, err := typ.Mount(ctx, req)
	if err != nil {
		return err
	}
	m := ns.newMount(fs, req.Flags, typ.Name(), req.Source)
	if err := ns.attach(ctx, m, p); err != nil {
		m.abort(ctx)
		return err
	}
	return nil
}

// abort closes the file system of a mount that has never been attached.
func (m *Mount) abort(ctx context.Context) {
	m.refs.Store(deadRefs)
	_ = m.sb.close(context.WithoutCancel(ctx), AbortClose) // never fails; what the driver says is logged
}

// reserve counts a mount that is about to be made.
//
// Errors: ENOSPC at the limit; EINVAL once the namespace is closed.
func (ns *Namespace) reserve() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.closed {
		return unix.EINVAL
	}
	if ns.mounts >= ns.maxMounts {
		return unix.ENOSPC
	}
	ns.mounts++
	return nil
}

func (ns *Namespace) unreserve() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.mounts--
}
