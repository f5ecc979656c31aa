package vfs

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxRW is the most bytes that one read or write moves (MAX_RW_COUNT).
const maxRW = math.MaxInt32 &^ 4095

// setflMask are the flags that fcntl(F_SETFL) changes.
const setflMask = unix.O_APPEND | unix.O_NONBLOCK | unix.O_NOATIME

// File is an open file description. It corresponds to struct file. Functions that make
// one return it with one reference.
type File struct {
	path    Path
	cred    *Cred // of the opener (f_cred)
	created bool  // opening has made the file
	flags   atomic.Int64
	refs    atomic.Int64
	handle  Handle    // of a regular file
	dir     DirHandle // of a directory

	// posMu makes the calls that use the position one after another (f_pos_lock).
	posMu sync.Mutex
	pos   int64 // bytes; for a directory the Pos of the entry last taken
}

func newFile(cred *Cred, p Path, flags int) *File {
	f := &File{path: p.Get(), cred: cred}
	f.flags.Store(int64(flags &^ creationFlags))
	f.refs.Store(1)
	return f
}

// openDriver opens the driver's part; hint is O_TRUNC or 0.
func (f *File) openDriver(ctx context.Context, hint int) (err error) {
	d := f.path.dentry
	switch d.kind {
	case unix.S_IFDIR:
		d.dir.mu.RLock()
		defer d.dir.mu.RUnlock()
		f.dir, err = d.dir.OpenDir(ctx)
		return f.path.blame("open", err)
	case unix.S_IFREG:
		flags := f.Flags()
		if flags&unix.O_ACCMODE == unix.O_ACCMODE {
			flags &^= unix.O_ACCMODE
		}
		f.handle, err = d.inode.(Regular).Open(ctx, flags|hint)
		return f.path.blame("open", err)
	}
	return unix.ENXIO // there is no device or pipe behind it
}

// Ref takes one more reference, as dup(2) does.
func (f *File) Ref() { f.refs.Add(1) }

// Close drops a reference. The last one releases the driver's part, whose error it
// returns, and gives the path back.
func (f *File) Close(ctx context.Context) (err error) {
	switch n := f.refs.Add(-1); {
	case n > 0:
		return nil
	case n < 0:
		panic("vfs: Close of a closed File")
	}
	f.dropOwnLocks()
	switch {
	case f.handle != nil:
		err = f.handle.Release(ctx)
	case f.dir != nil:
		err = f.dir.Release(ctx)
	}
	err = f.path.blame("close", err)
	f.path.Put()
	return err
}

// Cred returns the credentials of the opener (f_cred).
func (f *File) Cred() *Cred { return f.cred }

// Created reports whether opening has made the file (FMODE_CREATED).
func (f *File) Created() bool { return f.created }

// Path returns what is open, borrowed: it is pinned as long as f is.
func (f *File) Path() Path { return f.path }

// Flags returns the access mode and status flags (F_GETFL).
func (f *File) Flags() int { return int(f.flags.Load()) }

// SetFlags sets O_APPEND, O_NONBLOCK and O_NOATIME as flags have them and ignores the rest (F_SETFL).
//
// Errors: EBADF for an O_PATH file; EPERM for O_NOATIME on another's file.
func (f *File) SetFlags(flags int) error { return Use{File: f}.SetFlags(flags) }

func (f *File) isPath() bool { return f.Flags()&unix.O_PATH != 0 }

// Readable reports whether the file was opened for reading (FMODE_READ).
func (f *File) Readable() bool {
	acc := f.Flags() & (unix.O_ACCMODE | unix.O_PATH)
	return acc == unix.O_RDONLY || acc == unix.O_RDWR
}

// Writable reports whether the file was opened for writing (FMODE_WRITE).
func (f *File) Writable() bool {
	acc := f.Flags() & (unix.O_ACCMODE | unix.O_PATH)
	return acc == unix.O_WRONLY || acc == unix.O_RDWR
}

// Read reads at the position and advances it (read(2)); 0 bytes at the end of file.
//
// Errors: EBADF unless open for reading; EISDIR.
func (f *File) Read(ctx context.Context, p []byte) (int, error) {
	f.posMu.Lock()
	defer f.posMu.Unlock()
	n, err := f.ReadAt(ctx, p, f.pos)
	f.pos += int64(n)
	return n, err
}

// ReadAt reads at byte offset off (pread(2)).
//
// Errors: as Read; EINVAL for a negative offset, or one that overflows with len(p).
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !f.Readable() {
		return 0, unix.EBADF
	}
	if f.handle == nil {
		if off < 0 && f.dir == nil {
			return 0, unix.EINVAL
		}
		return 0, unix.EISDIR
	}
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, unix.EINVAL
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.handle.ReadAt(ctx, p[:min(len(p), maxRW)], off)
	if err == nil && f.Flags()&unix.O_NOATIME == 0 {
		touchAtime(ctx, f.path)
	}
	return n, f.path.blame("read", err)
}

// Write writes at the position, or at the end of file with O_APPEND, and advances the
// position (write(2)). n < len(p) if an error ended it early; the next write tells which.
//
// Errors: EBADF unless open for writing; EFBIG, ENOSPC, EIO.
func (f *File) Write(ctx context.Context, p []byte) (n int, err error) {
	return Use{File: f}.Write(ctx, p)
}

// WriteAt writes at byte offset off (pwrite(2)). With O_APPEND it appends all the same, as
// Linux does.
//
// Errors: as Write; EINVAL for a negative offset, or one that overflows with len(p).
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	return Use{File: f}.WriteAt(ctx, p, off)
}

// syncWrite makes a write durable where O_SYNC, O_DSYNC or the mount wants that.
func (f *File) syncWrite(ctx context.Context, flags int) error {
	if flags&unix.O_DSYNC == 0 && f.path.mnt.flags&unix.MS_SYNCHRONOUS == 0 {
		return nil
	}
	return f.path.blame("sync", f.handle.Fsync(ctx, flags&unix.O_SYNC != unix.O_SYNC))
}
