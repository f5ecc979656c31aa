package syscall

import (
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// CloseRange closes the descriptors from first to last, or with CLOSE_RANGE_CLOEXEC makes
// them close-on-exec, as close_range(2) does. CLOSE_RANGE_UNSHARE changes nothing: no two processes
// share a table. Errors of releasing the files are lost.
//
// Errors: EINVAL for other flags and for first > last.
func (t *Task) CloseRange(first, last uint, flags uint) error {
	if flags&^(unix.CLOSE_RANGE_UNSHARE|unix.CLOSE_RANGE_CLOEXEC) != 0 || uint32(first) > uint32(last) {
		return unix.EINVAL
	}
	if flags&unix.CLOSE_RANGE_CLOEXEC != 0 {
		t.fds.cloexecRange(uint32(first), uint32(last))
		return nil
	}
	for _, f := range t.fds.takeRange(uint32(first), uint32(last)) {
		_ = t.closeFile(f)
	}
	return nil
}

func (t *fdTable) cloexecRange(first, last uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd := int(first); fd < len(t.slots) && fd <= int(last); fd++ {
		if t.slots[fd].file != nil {
			t.slots[fd].cloexec = true
		}
	}
}

// takeRange frees the descriptors from first to last and returns their files.
func (t *fdTable) takeRange(first, last uint32) (files []*vfs.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd := int(first); fd < len(t.slots) && fd <= int(last); fd++ {
		if f := t.slots[fd].file; f != nil {
			files = append(files, f)
			t.freeLocked(fd)
		}
	}
	return files
}
