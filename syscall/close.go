package syscall

import "context"

// Close closes the descriptor fd, as close(2) does. If releasing the file
// fails, the error is returned and the descriptor is free all the same.
//
// Errors: EBADF.
func (t *Task) Close(fd int) error {
	f, err := t.fds.remove(fd)
	if err != nil {
		return err
	}
	return f.Close(context.Background())
}
