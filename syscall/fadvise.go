package syscall

import (
	"math"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Fadvise64 checks its arguments as posix_fadvise(2) does; the advice itself is
// not taken.
//
// Errors: EBADF, also for O_PATH descriptors; ESPIPE for a FIFO; EINVAL for a
// negative length and an unknown advice.
func (t *Task) Fadvise64(fd int, off, n int64, advice int) error {
	return t.withFile(fd, func(f *vfs.File) error {
		switch {
		case f.Path().Kind() == unix.S_IFIFO:
			return unix.ESPIPE
		case n < 0 || advice < unix.FADV_NORMAL || advice > unix.FADV_NOREUSE:
			return unix.EINVAL
		}
		return nil
	})
}

// Readahead checks its arguments as readahead(2) does; nothing is read.
//
// Errors: EBADF unless open for reading; EINVAL for a file that is not regular and a
// negative length.
func (t *Task) Readahead(fd int, off int64, n int) error {
	return t.withFile(fd, func(f *vfs.File) error {
		switch {
		case !f.Readable():
			return unix.EBADF
		case f.Path().Kind() != unix.S_IFREG || n < 0:
			return unix.EINVAL
		}
		return nil
	})
}

// SyncFileRange checks its arguments as sync_file_range(2) does. Like the real one it
// promises nothing about what survives a crash, and so writes nothing: that is for
// fsync(2) and fdatasync(2).
//
// Errors: EBADF, also for O_PATH descriptors; EINVAL for unknown flags, a
// negative offset or length, and a range past every limit; ESPIPE for special files.
func (t *Task) SyncFileRange(fd int, off, n int64, flags int) error {
	return t.withFile(fd, func(f *vfs.File) error {
		const known = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		if flags&^known != 0 || off < 0 || n < 0 || off > math.MaxInt64-n {
			return unix.EINVAL
		}
		switch f.Path().Kind() {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
			return nil
		}
		return unix.ESPIPE
	})
}
