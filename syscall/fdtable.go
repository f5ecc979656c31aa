package syscall

import (
	"sync"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

const (
	nofileDefault = 1024    // RLIMIT_NOFILE of a new process, soft and hard
	nrOpen        = 1 << 20 // fs.nr_open: the most that RLIMIT_NOFILE can be
)

// fdTable maps descriptors to open file descriptions. It corresponds to
// struct files_struct.
type fdTable struct {
	mu     sync.RWMutex
	slots  []fdSlot    // index: descriptor
	next   int         // every descriptor below is taken
	nofile unix.Rlimit // RLIMIT_NOFILE
	dead   bool        // after Exit: nothing can be installed
}

// fdSlot is one descriptor. A taken slot without file is reserved by a call
// that is still opening.
type fdSlot struct {
	file    *vfs.File
	taken   bool
	cloexec bool
}

func (t *fdTable) init() {
	t.nofile = unix.Rlimit{Cur: nofileDefault, Max: nofileDefault}
}

// get returns the file of fd, referenced, for calls that work on the file: it
// fails with EBADF for O_PATH descriptors (fdget).
func (t *fdTable) get(fd int) (*vfs.File, error) {
	f, err := t.getRaw(fd)
	if err != nil {
		return nil, err
	}
	if f.Flags()&unix.O_PATH != 0 {
		putFile(f)
		return nil, unix.EBADF
	}
	return f, nil
}

// getRaw returns the file of fd, referenced, O_PATH or not (fdget_raw).
func (t *fdTable) getRaw(fd int) (*vfs.File, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if f := t.fileLocked(fd); f != nil {
		f.Ref()
		return f, nil
	}
	return nil, unix.EBADF
}

// fileLocked returns the file of fd, nil if it is not open.
//
// Preconditions:
//   - t.mu is held.
func (t *fdTable) fileLocked(fd int) *vfs.File {
	if fd < 0 || fd >= len(t.slots) {
		return nil
	}
	return t.slots[fd].file
}

// reserve takes the lowest free descriptor that is not below least. install or
// unreserve must follow.
//
// Errors: EMFILE at the limit; ESRCH after Exit.
func (t *fdTable) reserve(least int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reserveLocked(least)
}

func (t *fdTable) reserveLocked(least int) (int, error) {
	if t.dead {
		return -1, unix.ESRCH
	}
	fd := max(least, t.next)
	for fd < len(t.slots) && t.slots[fd].taken {
		fd++
	}
	if uint64(fd) >= t.nofile.Cur {
		return -1, unix.EMFILE
	}
	t.growLocked(fd)
	t.slots[fd].taken = true
	if least <= t.next {
		t.next = fd + 1
	}
	return fd, nil
}

func (t *fdTable) growLocked(fd int) {
	if n := fd + 1 - len(t.slots); n > 0 {
		t.slots = append(t.slots, make([]fdSlot, n)...)
	}
}

func (t *fdTable) unreserve(fd int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.freeLocked(fd)
}

func (t *fdTable) freeLocked(fd int) {
	if t.dead {
		return
	}
	t.slots[fd] = fdSlot{}
	t.next = min(t.next, fd)
}

// install puts f, whose reference it takes over, into a reserved descriptor.
//
// Errors: ESRCH if the process has exited meanwhile; f is the caller's again.
func (t *fdTable) install(fd int, f *vfs.File, cloexec bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return unix.ESRCH
	}
	t.slots[fd] = fdSlot{file: f, taken: true, cloexec: cloexec}
	return nil
}

// remove frees fd and returns its file with the table's reference.
func (t *fdTable) remove(fd int) (*vfs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.fileLocked(fd)
	if f == nil {
		return nil, unix.EBADF
	}
	t.freeLocked(fd)
	return f, nil
}

// copyTo makes child a copy of t (dup_fd). Reserved descriptors are free in
// the copy.
func (t *fdTable) copyTo(child *fdTable) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	child.nofile, child.dead = t.nofile, t.dead
	child.slots = make([]fdSlot, len(t.slots))
	for fd, s := range t.slots {
		if s.file == nil {
			continue
		}
		s.file.Ref()
		child.slots[fd] = s
	}
}

// takeCloexec empties the close-on-exec descriptors and returns their files.
func (t *fdTable) takeCloexec() (files []*vfs.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd, s := range t.slots {
		if s.file != nil && s.cloexec {
			files = append(files, s.file)
			t.freeLocked(fd)
		}
	}
	return files
}

// takeAll empties the table for ever and returns its files.
func (t *fdTable) takeAll() (files []*vfs.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.slots {
		if s.file != nil {
			files = append(files, s.file)
		}
	}
	t.slots, t.dead = nil, true
	return files
}
