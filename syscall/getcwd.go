package syscall

import "golang.org/x/sys/unix"

// Getcwd puts the path of the working directory with a final NUL into buf and
// returns its length in bytes, NUL included, as the system call getcwd does.
//
// Errors: ENOENT if the directory has been removed; ENAMETOOLONG if the path
// has 4096 bytes or more with the NUL; ERANGE if buf is too small.
func (t *Task) Getcwd(buf []byte) (int, error) {
	fs, err := t.getFs()
	if err != nil {
		return 0, err
	}
	defer fs.put()
	cwd, err := fs.view.Getcwd()
	if err != nil {
		return 0, err
	}
	n := len(cwd) + 1
	switch {
	case n > unix.PathMax:
		return 0, unix.ENAMETOOLONG
	case n > len(buf):
		return 0, unix.ERANGE
	}
	buf[copy(buf, cwd)] = 0
	return n, nil
}
