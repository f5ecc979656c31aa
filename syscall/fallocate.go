package syscall

import (
	"context"

	"cloister/vfs"
)

// Fallocate reserves, frees or zeroes n bytes at byte offset off, as
// fallocate(2) does; mode holds FALLOC_FL_* bits.
//
// Errors: EBADF; EINVAL for off < 0 or n <= 0; EOPNOTSUPP for modes that the
// file system lacks; EISDIR, ESPIPE, ENODEV by file type; EFBIG; ENOSPC.
func (t *Task) Fallocate(fd int, mode uint32, off, n int64) error {
	return t.withFile(fd, func(f *vfs.File) error {
		return t.use(f).Fallocate(context.Background(), mode, off, n)
	})
}
