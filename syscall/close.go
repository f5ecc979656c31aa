package syscall

// Close closes the descriptor fd, as close(2) does. The process
// loses its record locks on the file, whatever other descriptors it has. If releasing the file fails, the error is returned and the descriptor is free all the same.
//
// Errors: EBADF.
func (t *Task) Close(fd int) error {
	f, err := t.fds.remove(fd)
	if err != nil {
		return err
	}
	return t.closeFile(f)
}
