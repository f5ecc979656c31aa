package syscall

import (
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Dup gives the open file of fd the lowest free descriptor, too, as dup(2) does.
//
// Errors: EBADF; EMFILE.
func (t *Task) Dup(fd int) (int, error) { return t.fds.dup(fd, 0, false) }

// Dup2 makes newfd stand for the open file of oldfd, as dup2(2) does, closing
// what newfd stood for before. Equal descriptors are left alone.
//
// Errors: EBADF, also for newfd at or above RLIMIT_NOFILE; EBUSY if another
// thread is just opening newfd.
func (t *Task) Dup2(oldfd, newfd int) (int, error) {
	if oldfd == newfd {
		f, err := t.fds.getRaw(oldfd)
		if err != nil {
			return -1, err
		}
		putFile(f)
		return newfd, nil
	}
	return t.Dup3(oldfd, newfd, 0)
}

// Dup3 is dup3(2): Dup2 with O_CLOEXEC in flags or without.
//
// Errors: EINVAL for other flags and for equal descriptors; those of Dup2.
func (t *Task) Dup3(oldfd, newfd, flags int) (int, error) {
	if flags&^unix.O_CLOEXEC != 0 || oldfd == newfd {
		return -1, unix.EINVAL
	}
	closed, err := t.fds.replace(oldfd, newfd, flags&unix.O_CLOEXEC != 0)
	if err != nil {
		return -1, err
	}
	if closed != nil {
		_ = t.closeFile(closed) // dup2(2): errors of this close are lost
	}
	return newfd, nil
}

// dup installs the file of fd at the lowest free descriptor from least on.
func (t *fdTable) dup(fd, least int, cloexec bool) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.fileLocked(fd)
	if f == nil {
		return -1, unix.EBADF
	}
	newfd, err := t.reserveLocked(least)
	if err != nil {
		return -1, err
	}
	f.Ref()
	t.slots[newfd] = fdSlot{file: f, taken: true, cloexec: cloexec}
	return newfd, nil
}

// replace installs the file of oldfd at newfd and returns the file that was
// there, if any, with its reference (fs/file.c: do_dup2).
func (t *fdTable) replace(oldfd, newfd int, cloexec bool) (*vfs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.fileLocked(oldfd)
	if f == nil || newfd < 0 || uint64(newfd) >= t.nofile.Cur {
		return nil, unix.EBADF
	}
	t.growLocked(newfd)
	was := t.slots[newfd]
	if was.taken && was.file == nil {
		return nil, unix.EBUSY
	}
	f.Ref()
	t.slots[newfd] = fdSlot{file: f, taken: true, cloexec: cloexec}
	return was.file, nil
}
