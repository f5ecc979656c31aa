package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// MkdirAt makes a directory, less the umask (mkdirat(2)).
//
// Errors: those of the walk; EEXIST if anything is there, a dangling symlink too; EROFS, EACCES,
// ENOENT.
func (v *View) MkdirAt(ctx context.Context, at Path, path string, mode uint32) error {
	return v.createAt(ctx, at, path, creation{kind: unix.S_IFDIR, mode: mode, umask: v.umask})
}

// MknodAt makes a regular or special file (mknodat(2)); the type is in mode.
//
// Errors: as MkdirAt; EPERM, EINVAL for the type; ENOENT if path ends in a slash.
func (v *View) MknodAt(ctx context.Context, at Path, path string, mode uint32, rdev uint64) error {
	if err := mayMknod(mode); err != nil {
		return err
	}
	kind := mode & unix.S_IFMT
	if kind == 0 {
		kind = unix.S_IFREG
	}
	return v.createAt(ctx, at, path, creation{kind: kind, mode: mode & 0o7777, umask: v.umask, rdev: rdev})
}

// SymlinkAt makes a symlink to target (symlinkat(2)).
//
// Errors: as MknodAt; ENOENT for an empty target, ENAMETOOLONG for one of 4096 bytes.
func (v *View) SymlinkAt(ctx context.Context, target string, at Path, path string) error {
	if err := checkTarget(target); err != nil {
		return err
	}
	return v.createAt(ctx, at, path, creation{kind: unix.S_IFLNK, mode: 0o777, target: target})
}

// createAt makes what c says at path.
func (v *View) createAt(ctx context.Context, at Path, path string, c creation) error {
	return retryStale(func(walk WalkFlags) error { return v.tryCreateAt(ctx, at, path, c, walk) })
}

func (v *View) tryCreateAt(ctx context.Context, at Path, path string, c creation, walk WalkFlags) error {
	dir, last, err := v.WalkParent(ctx, at, path, walk)
	if err != nil {
		return err
	}
	defer dir.Put()
	if last.Kind != LastNorm {
		return unix.EEXIST
	}
	c.name, c.slash = last.Name, last.TrailingSlash
	p, err := dir.create(ctx, v.cred, c)
	if err != nil {
		return err
	}
	p.Put()
	return nil
}

// LinkAt makes newPath one more name of oldPath (linkat(2)); oldFlags are WalkFollow
// (AT_SYMLINK_FOLLOW) and WalkEmpty (AT_EMPTY_PATH).
//
// Errors: those of the walks; EEXIST, EROFS, EXDEV, EPERM, EACCES, ENOENT, EMLINK; see Link.
func (v *View) LinkAt(ctx context.Context, oldAt Path, oldPath string, newAt Path, newPath string, oldFlags WalkFlags) error {
	return retryStale(func(walk WalkFlags) error {
		return v.tryLinkAt(ctx, oldAt, oldPath, newAt, newPath, oldFlags|walk, walk)
	})
}

func (v *View) tryLinkAt(ctx context.Context, oldAt Path, oldPath string, newAt Path, newPath string, oldWalk, newWalk WalkFlags) error {
	target, err := v.Walk(ctx, oldAt, oldPath, oldWalk)
	if err != nil {
		return err
	}
	defer target.Put()
	dir, last, err := v.WalkParent(ctx, newAt, newPath, newWalk)
	if err != nil {
		return err
	}
	defer dir.Put()
	if last.Kind != LastNorm {
		return unix.EEXIST
	}
	p, err := dir.link(ctx, v.cred, target, creation{name: last.Name, slash: last.TrailingSlash})
	if err != nil {
		return err
	}
	p.Put()
	return nil
}

// UnlinkAt removes a name that is no directory (unlinkat(2)).
//
// Errors: those of the walk; EISDIR, also for "." and "/"; ENOTDIR for a file with a trailing slash; EROFS,
// ENOENT, EACCES, EPERM, EBUSY.
func (v *View) UnlinkAt(ctx context.Context, at Path, path string) error {
	return retryStale(func(walk WalkFlags) error { return v.tryUnlinkAt(ctx, at, path, walk) })
}

func (v *View) tryUnlinkAt(ctx context.Context, at Path, path string, walk WalkFlags) error {
	dir, last, err := v.WalkParent(ctx, at, path, walk)
	if err != nil {
		return err
	}
	defer dir.Put()
	if last.Kind != LastNorm {
		return unix.EISDIR
	}
	return dir.remove(ctx, v.cred, removal{name: last.Name, slash: last.TrailingSlash})
}

// RmdirAt removes an empty directory (unlinkat(2) with AT_REMOVEDIR).
//
// Errors: those of the walk; EINVAL for ".", ENOTEMPTY for "..", EBUSY for "/" and a mount point; ENOTDIR,
// EROFS, ENOENT, EACCES, EPERM, ENOTEMPTY.
func (v *View) RmdirAt(ctx context.Context, at Path, path string) error {
	return retryStale(func(walk WalkFlags) error { return v.tryRmdirAt(ctx, at, path, walk) })
}

func (v *View) tryRmdirAt(ctx context.Context, at Path, path string, walk WalkFlags) error {
	dir, last, err := v.WalkParent(ctx, at, path, walk)
	if err != nil {
		return err
	}
	defer dir.Put()
	switch last.Kind {
	case LastDotDot:
		return unix.ENOTEMPTY
	case LastDot:
		return unix.EINVAL
	case LastRoot:
		return unix.EBUSY
	}
	return dir.remove(ctx, v.cred, removal{name: last.Name, isDir: true, slash: last.TrailingSlash})
}

// RenameAt moves oldPath to newPath (renameat2(2)); flags hold RENAME_* bits.
//
// Errors: EINVAL for flags; those of the walks; EXDEV; EBUSY for "." and ".."; see Renameat.
func (v *View) RenameAt(ctx context.Context, oldAt Path, oldPath string, newAt Path, newPath string, flags uint32) error {
	if err := checkRenameFlags(flags); err != nil {
		return err
	}
	return retryStale(func(walk WalkFlags) error {
		return v.tryRenameAt(ctx, oldAt, oldPath, newAt, newPath, flags, walk)
	})
}

func (v *View) tryRenameAt(ctx context.Context, oldAt Path, oldPath string, newAt Path, newPath string, flags uint32, walk WalkFlags) error {
	from, oldLast, err := v.WalkParent(ctx, oldAt, oldPath, walk)
	if err != nil {
		return err
	}
	defer from.Put()
	to, newLast, err := v.WalkParent(ctx, newAt, newPath, walk)
	if err != nil {
		return err
	}
	defer to.Put()
	switch {
	case from.mnt != to.mnt:
		return unix.EXDEV
	case oldLast.Kind != LastNorm:
		return unix.EBUSY
	case newLast.Kind != LastNorm && flags&unix.RENAME_NOREPLACE != 0:
		return unix.EEXIST
	case newLast.Kind != LastNorm:
		return unix.EBUSY
	}
	r := renaming{
		from: from, oldName: oldLast.Name, oldSlash: oldLast.TrailingSlash,
		to: to, newName: newLast.Name, newSlash: newLast.TrailingSlash,
		flags: flags,
	}
	return r.run(ctx, v.cred)
}
