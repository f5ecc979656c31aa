package vfs

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Mount is one mounted file system in its place. It corresponds to struct mount;
// as there are no bind mounts, each has a file system of its own.
type Mount struct {
	id     int
	ns     *Namespace // nil for a private mount
	sb     *superblock
	flags  uintptr // MS_* attribute flags
	typ    string
	source string

	// refs counts the users: paths, open files, child mounts, and 1 for being
	// attached. It is far below zero while and after the mount is unmounted.
	refs atomic.Int64

	// at is where the mount is attached; nil for the root of a namespace, for
	// private mounts and once detached. Written under Namespace.mu.
	at       atomic.Pointer[attachment]
	children []*Mount // guarded by Namespace.mu

	expiring atomic.Bool                   // unused since umount2(MNT_EXPIRE)
	closing  atomic.Pointer[chan struct{}] // closed when the unmounting has ended
}

// attachment is a place in the mount tree. It holds a reference on both.
type attachment struct {
	parent *Mount
	point  *Dentry
}

// attributeFlags are the flags of mount(2) that describe the mount.
const attributeFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
	unix.MS_SYNCHRONOUS | unix.MS_MANDLOCK | unix.MS_DIRSYNC | unix.MS_NOSYMFOLLOW |
	unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME | unix.MS_LAZYTIME

// settleFlags keeps the attributes among flags and settles the access-time policy:
// relatime unless noatime or strictatime is asked for (fs/namespace.c: path_mount).
func settleFlags(flags uintptr) uintptr {
	flags &= attributeFlags
	switch {
	case flags&unix.MS_STRICTATIME != 0:
		flags &^= unix.MS_RELATIME | unix.MS_NOATIME
	case flags&unix.MS_NOATIME != 0:
		flags &^= unix.MS_RELATIME
	default:
		flags |= unix.MS_RELATIME
	}
	return flags
}

// ID returns the number that identifies the mount in mountinfo; 0 for a private mount.
func (m *Mount) ID() int { return m.id }

// Flags returns the MS_* attribute flags.
func (m *Mount) Flags() uintptr { return m.flags }

// FileSystem returns what is mounted.
func (m *Mount) FileSystem() FileSystem { return m.sb.fs }

// Dev returns the anonymous device number for st_dev; 0 for a private mount.
func (m *Mount) Dev() uint64 { return m.sb.dev }

// Type returns the name of the file-system type.
func (m *Mount) Type() string { return m.typ }

func (m *Mount) readOnly() bool { return m.flags&unix.MS_RDONLY != 0 }

// writable returns EROFS for a read-only mount (mnt_want_write).
func (m *Mount) writable() error {
	if m.readOnly() {
		return unix.EROFS
	}
	return nil
}

// tryGet takes a reference; false means that the mount is being, or has been, unmounted.
func (m *Mount) tryGet() bool {
	if m.refs.Add(1) > 0 {
		return true
	}
	m.refs.Add(-1)
	return false
}

// put drops a reference. A detached mount closes its file system with the last.
//
// Preconditions: the caller's references on dentries of the mount are given back.
func (m *Mount) put() {
	if m.expiring.Load() {
		m.expiring.Store(false)
	}
	m.unref()
}

// unref is put for what does not count as use of an expiring mount.
func (m *Mount) unref() {
	if m.refs.Add(-1) == 0 && m.refs.CompareAndSwap(0, deadRefs) {
		_ = m.sb.close(context.Background(), ForceClose) // logged; nobody is left to be told
	}
}

// await waits until an unmounting that is under way has ended.
func (m *Mount) await(ctx context.Context) error {
	ch := m.closing.Load()
	if ch == nil {
		return nil
	}
	select {
	case <-*ch:
		return nil
	case <-ctx.Done():
		return unix.EINTR
	}
}

// topmost returns the root of the last mount stacked on p, as borrowed pointers.
func topmost(m *Mount, d *Dentry) (*Mount, *Dentry) {
	for over := d.mounted.Load(); over != nil; over = d.mounted.Load() {
		m, d = over, over.sb.root
	}
	return m, d
}

// PrivateConfig configures a private mount.
type PrivateConfig struct {
	Now         func() time.Time // nil: time.Now
	MaxDentries int              // cached dentries without users; 0: DefaultMaxDentries
}

// NewPrivateMount mounts fs outside any namespace, as kern_mount does: for the
// layers of a union and for tools. flags are MS_* attributes. root is pinned for the caller.
//
// close unmounts; the caller gives back root and every other Path before. Errors of close:
// EBUSY if some are left and mode is SafeClose; those of FileSystem.Close. With ForceClose the file
// system is closed as soon as the last one is given back.
func NewPrivateMount(fs FileSystem, flags uintptr, cfg PrivateConfig) (root Path, close func(ctx context.Context, mode CloseMode) error) {
	m := &Mount{
		sb:    newSuperblock(fs, 0, newDcache(cfg.MaxDentries), cfg.Now, nil),
		flags: settleFlags(flags),
	}
	m.refs.Store(2)
	return Path{mnt: m, dentry: m.sb.root.get()}, func(ctx context.Context, mode CloseMode) error {
		if err := m.shut(ctx, 1, mode); err != unix.EBUSY || mode == SafeClose {
			return err
		}
		m.unref()
		return nil
	}
}

// shut closes the file system of a mount that nobody uses but the holders of refs
// references. New users wait meanwhile. If the driver refuses, all is as before.
//
// Errors: EBUSY if there are other users.
func (m *Mount) shut(ctx context.Context, refs int64, mode CloseMode) error {
	ch := make(chan struct{})
	m.closing.Store(&ch)
	defer close(ch)
	if !m.refs.CompareAndSwap(refs, refs+deadRefs) {
		return unix.EBUSY
	}
	if err := m.sb.close(ctx, mode); err != nil {
		m.refs.Add(-deadRefs)
		return err
	}
	return nil
}
