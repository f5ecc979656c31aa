package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Statx fills stx with the attributes of the file at path, as statx(2) does; mask holds
// the STATX_* bits that the caller wants. It may get more, and stx.Mask says
// what it got: the basic attributes, the birth time where the file system keeps one,
// and the mount ID, which is never used again and so is the unique one, too. Of the attribute bits only STATX_ATTR_MOUNT_ROOT is known.
//
// Errors: EINVAL for unknown flags, AT_STATX_FORCE_SYNC together with
// AT_STATX_DONT_SYNC, and the reserved bit of mask; those of a walk.
func (t *Task) Statx(dirfd int, path string, flags int, mask uint32, stx *unix.Statx_t) error {
	const (
		syncType = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC
		known    = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH | syncType
	)
	if mask&unix.STATX__RESERVED != 0 || flags&syncType == syncType {
		return unix.EINVAL
	}
	// Of a descriptor itself, fs/stat.c: do_statx_fd does not look at the other flags.
	byFd := path == "" && flags&unix.AT_EMPTY_PATH != 0 && dirfd >= 0
	if flags&^known != 0 && !byFd {
		return unix.EINVAL
	}
	return t.withPath(dirfd, path, walkFlags(flags), func(_ *vfs.View, p vfs.Path) error {
		return statx(p, mask, stx)
	})
}

func statx(p vfs.Path, mask uint32, stx *unix.Statx_t) error {
	const have = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	a, err := vfs.Getattr(context.Background(), p, have)
	if err != nil {
		return err
	}
	m := p.Mount()
	*stx = unix.Statx_t{
		Mask:            unix.STATX_BASIC_STATS | a.Mask&unix.STATX_BTIME,
		Blksize:         a.Blksize,
		Attributes_mask: unix.STATX_ATTR_MOUNT_ROOT,
		Nlink:           a.Nlink,
		Uid:             a.UID,
		Gid:             a.GID,
		Mode:            uint16(a.Mode),
		Ino:             a.Ino,
		Size:            uint64(a.Size),
		Blocks:          uint64(a.Blocks),
		Atime:           stamp(a.Atime),
		Btime:           stamp(a.Btime),
		Ctime:           stamp(a.Ctime),
		Mtime:           stamp(a.Mtime),
		Rdev_major:      unix.Major(a.Rdev),
		Rdev_minor:      unix.Minor(a.Rdev),
		Dev_major:       unix.Major(m.Dev()),
		Dev_minor:       unix.Minor(m.Dev()),
		Mnt_id:          uint64(m.ID()),
	}
	if a.Mask&unix.STATX_BTIME == 0 {
		stx.Btime = unix.StatxTimestamp{}
	}
	if mask&unix.STATX_MNT_ID_UNIQUE != 0 {
		stx.Mask |= unix.STATX_MNT_ID_UNIQUE
	} else {
		stx.Mask |= unix.STATX_MNT_ID
	}
	if p.IsMountRoot() {
		stx.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
	}
	return nil
}

func stamp(ts unix.Timespec) unix.StatxTimestamp {
	return unix.StatxTimestamp{Sec: ts.Sec, Nsec: uint32(ts.Nsec)}
}
