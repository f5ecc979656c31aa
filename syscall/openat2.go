package syscall

import (
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

const (
	openHowSizeVer0 = 24   // openat2.h: OPEN_HOW_SIZE_VER0, bytes
	openHowSizeMax  = 4096 // the most that openat2(2) takes: a page

	resolveCached = 0x20   // openat2.h: RESOLVE_CACHED, which x/sys lacks
	largeFile     = 0x8000 // fcntl.h: O_LARGEFILE, 0 in x/sys; without effect on 64-bit systems
)

// resolveFlags says what the bits of open_how.resolve are to a walk. There are
// no magic links here, so RESOLVE_NO_MAGICLINKS changes nothing.
var resolveFlags = [...]struct {
	resolve uint64
	walk    vfs.WalkFlags
}{
	{unix.RESOLVE_NO_XDEV, vfs.WalkNoXdev},
	{unix.RESOLVE_NO_MAGICLINKS, 0},
	{unix.RESOLVE_NO_SYMLINKS, vfs.WalkNoSymlinks},
	{unix.RESOLVE_BENEATH, vfs.WalkBeneath},
	{unix.RESOLVE_IN_ROOT, vfs.WalkInRoot},
	{resolveCached, vfs.WalkCached},
}

// Openat2 opens path as openat2(2) does. size is the length in bytes of the
// caller's struct open_how; what it has beyond how counts as zero, so a caller
// with bytes there that are not fails with E2BIG itself.
//
// Errors: EINVAL for a size below 24, for unknown flags and resolve bits, for
// mode bits that mean nothing, O_PATH with flags that it would ignore, and
// RESOLVE_BENEATH with RESOLVE_IN_ROOT; E2BIG for a size above 4096; EAGAIN for RESOLVE_CACHED
// where a file system has to be asked; EXDEV and ELOOP as resolve says; those of Openat.
func (t *Task) Openat2(dirfd int, path string, how *unix.OpenHow, size int) (fd int, err error) {
	switch {
	case size < openHowSizeVer0:
		return -1, unix.EINVAL
	case size > openHowSizeMax:
		return -1, unix.E2BIG
	}
	o, err := newOpenHow(how)
	if err != nil {
		return -1, err
	}
	return t.openat(dirfd, path, o)
}

// newOpenHow checks how (fs/open.c: build_open_flags).
func newOpenHow(how *unix.OpenHow) (vfs.OpenHow, error) {
	o := vfs.OpenHow{Flags: int(how.Flags), Mode: uint32(how.Mode)}
	left := how.Resolve
	for _, r := range resolveFlags {
		if how.Resolve&r.resolve != 0 {
			o.Resolve |= r.walk
			left &^= r.resolve
		}
	}
	const scoped = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT
	if how.Flags&^(openFlags|largeFile) != 0 || left != 0 || how.Resolve&scoped == scoped {
		return o, unix.EINVAL
	}
	if o.Flags&(unix.O_CREAT|tmpfileBit) != 0 {
		if how.Mode&^07777 != 0 {
			return o, unix.EINVAL
		}
	} else if how.Mode != 0 {
		return o, unix.EINVAL
	}
	if err := checkOpenFlags(o.Flags); err != nil {
		return o, err
	}
	if o.Flags&unix.O_PATH != 0 && o.Flags&^pathFlags != 0 {
		return o, unix.EINVAL
	}
	if how.Resolve&resolveCached != 0 && o.Flags&(unix.O_TRUNC|unix.O_CREAT|tmpfileBit) != 0 {
		return o, unix.EAGAIN
	}
	o.Flags &= openFlags
	return o, nil
}
