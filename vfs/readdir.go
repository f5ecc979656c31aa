package vfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Positions of a directory's first two entries.
const (
	posDot    = 1
	posDotDot = 2
)

// ReadDir calls emit for the entries after the position, "." and ".." among them, and advances
// the position past each entry taken (getdents64(2)). emit returns false if it does not take the
// entry; that ends the call. emit runs under the directory's lock: it must not call the VFS.
//
// Errors: EBADF for an O_PATH file; ENOTDIR; ENOENT if the directory has been removed.
func (f *File) ReadDir(ctx context.Context, emit func(Dirent) bool) error {
	if f.isPath() {
		return unix.EBADF
	}
	if f.dir == nil {
		return unix.ENOTDIR
	}
	f.posMu.Lock()
	defer f.posMu.Unlock()
	if err := f.readDir(ctx, emit); err != nil {
		return err
	}
	if f.Flags()&unix.O_NOATIME == 0 {
		touchAtime(ctx, f.path)
	}
	return nil
}

func (f *File) readDir(ctx context.Context, emit func(Dirent) bool) error {
	d := f.path.dentry
	d.dir.mu.RLock()
	defer d.dir.mu.RUnlock()
	if d.dir.removed.Load() {
		return unix.ENOENT
	}
	if f.pos < posDot {
		if more, err := f.emitDot(ctx, d, ".", posDot, emit); !more {
			return err
		}
	}
	if f.pos < posDotDot {
		up := d.parent()
		if up == nil {
			up = d
		}
		if more, err := f.emitDot(ctx, up, "..", posDotDot, emit); !more {
			return err
		}
	}
	pos := uint64(f.pos)
	if pos <= posDotDot {
		pos = 0
	}
	err := f.dir.ReadDir(ctx, pos, func(e Dirent) bool {
		if !emit(e) {
			return false
		}
		f.pos = int64(e.Pos)
		return true
	})
	return f.path.blame("readdir", err)
}

// emitDot emits "." or "..". more is false if that ends the call.
func (f *File) emitDot(ctx context.Context, d *Dentry, name string, pos int64, emit func(Dirent) bool) (more bool, err error) {
	a, err := d.inode.Getattr(ctx, unix.STATX_INO)
	if err != nil {
		return false, err
	}
	if !emit(Dirent{Name: name, Ino: a.Ino, Type: unix.DT_DIR, Pos: uint64(pos)}) {
		return false, nil
	}
	f.pos = pos
	return true, nil
}
