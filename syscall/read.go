package syscall

import (
	"context"

	"golang.org/x/sys/unix"
)

// maxRWCount is the most bytes that one call moves (fs.h: MAX_RW_COUNT); a
// longer request is cut, not refused.
const maxRWCount = 0x7ffff000

// Read reads up to len(p) bytes from the file offset, as read(2) does; 0 at
// the end of file.
//
// Errors: EBADF; EISDIR.
func (t *Task) Read(fd int, p []byte) (int, error) {
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	return moved(f.Read(context.Background(), cut(p)))
}

// Pread64 reads up to len(p) bytes at byte offset off, as pread(2) does.
//
// Errors: EINVAL for a negative offset; EBADF; EISDIR; ESPIPE.
func (t *Task) Pread64(fd int, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	return moved(f.ReadAt(context.Background(), cut(p), off))
}

func cut(p []byte) []byte { return p[:min(len(p), maxRWCount)] }

// moved is the result of a call that has moved n bytes and then met err: what
// has been done counts, the next call will meet the error again.
func moved(n int, err error) (int, error) {
	if n > 0 {
		return n, nil
	}
	return 0, err
}
