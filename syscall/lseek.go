package syscall

import "context"

// Lseek moves the file offset, as lseek(2) does, SEEK_DATA and SEEK_HOLE
// included, and returns it in bytes from the start.
//
// Errors: EBADF; EINVAL for an unknown whence or a negative result; ENXIO;
// ESPIPE.
func (t *Task) Lseek(fd int, off int64, whence int) (int64, error) {
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	return f.Seek(context.Background(), off, whence)
}
