package kernel

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Task is one process. Its methods carry the system call's name and argument
// order, and return the kernel's errno.
type Task struct {
	*thread
	system *System
}

// state is what a child inherits.
type state struct {
	tid        int
	fds        map[int]int // number -> FD_CLOEXEC flag
	umask      int
	uids, gids [3]int
	groups     []int
}

// Do runs f as this process: calls that f makes have its credentials, its
// directories and descriptors, and its mounts. f must not use x/sys functions that
// change all threads, such as unix.Setuid.
func (t *Task) Do(f func() error) error { return t.thread.do(f) }

// do makes one call. An ELOOP is believed only when it stays: a walk that a change of some mount or some name interrupts
// begins again, but goes on counting symbolic links (fs/namei.c: total_link_count). Nothing has happened then, so the call can be repeated.
func (t *Task) do(call func() error) error {
	err := t.thread.do(call)
	for tries := 0; err == unix.ELOOP && tries < 20; tries++ {
		err = t.thread.do(call)
	}
	return err
}

// Fork makes a child: a thread in the same mount namespace that gets the
// parent's descriptors by pidfd_getfd(2).
func (t *Task) Fork() (*Task, error) {
	var s state
	if err := t.thread.do(func() error { return s.collect(t.own) }); err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	s.tid = t.tid
	child, err := startThread()
	if err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	if err := child.do(s.assume); err != nil {
		child.stop()
		return nil, fmt.Errorf("fork: %w", err)
	}
	return &Task{thread: child, system: t.system}, t.do(func() error {
		unix.Close(rootFD)
		return unix.Close(cwdFD)
	})
}

// collect runs on the parent.
func (s *state) collect(own map[int]bool) error {
	if err := openAs(".", cwdFD); err != nil {
		return err
	}
	if err := openAs("/", rootFD); err != nil {
		return err
	}
	s.fds = map[int]int{}
	for fd, flags := range openFDs() {
		if !own[fd] {
			s.fds[fd] = flags
		}
	}
	s.umask = unix.Umask(0)
	unix.Umask(s.umask)
	s.uids[0], s.uids[1], s.uids[2] = unix.Getresuid()
	s.gids[0], s.gids[1], s.gids[2] = unix.Getresgid()
	var err error
	s.groups, err = unix.Getgroups()
	return err
}

// assume runs on the child.
func (s *state) assume() error {
	const pidfdThread = unix.O_EXCL // PIDFD_THREAD, pidfd_open(2)
	pidfd, err := unix.PidfdOpen(s.tid, pidfdThread)
	if err != nil {
		return err
	}
	if err := unix.Dup3(pidfd, highestFD+1, unix.O_CLOEXEC); err != nil {
		return err
	}
	if err := unix.Setns(highestFD+1, unix.CLONE_NEWNS); err != nil {
		return err
	}
	for fd, flags := range s.fds {
		got, err := unix.PidfdGetfd(highestFD+1, fd, 0)
		if err != nil {
			return err
		}
		if err := unix.Dup3(got, highestFD+2, 0); err != nil { // out of the way of those to come
			return err
		}
		unix.Close(got)
		if err := unix.Dup3(highestFD+2, fd, flags*unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		func() error { return unix.CloseRange(highestFD+1, ^uint(0)>>1, 0) },
		func() error { return unix.Fchdir(rootFD) },
		func() error { return unix.Chroot(".") },
		func() error { return unix.Fchdir(cwdFD) },
		func() error { return unix.Close(cwdFD) },
		func() error { return unix.Close(rootFD) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	unix.Umask(s.umask)
	if err := setgroups(s.groups); err != nil {
		return err
	}
	if err := raw(unix.SYS_SETRESGID, s.gids[0], s.gids[1], s.gids[2]); err != nil {
		return err
	}
	return raw(unix.SYS_SETRESUID, s.uids[0], s.uids[1], s.uids[2])
}

// Exec closes what close-on-exec descriptors there are.
func (t *Task) Exec() {
	t.do(func() error {
		for fd, flags := range openFDs() {
			if flags&unix.FD_CLOEXEC != 0 && fd < hostRootFD && !t.own[fd] {
				unix.Close(fd)
			}
		}
		return nil
	})
}

// Exit ends the process.
func (t *Task) Exit() { t.stop() }

// raw makes a system call on numbers that x/sys would make on all threads or
// not at all.
func raw(nr uintptr, a ...int) error {
	var w [6]uintptr
	for i, n := range a {
		w[i] = uintptr(n)
	}
	_, _, e := unix.RawSyscall6(nr, w[0], w[1], w[2], w[3], w[4], w[5])
	if e != 0 {
		return e
	}
	return nil
}

// rawPath is raw for calls of the form f(dirfd, path, a, b, ...).
func rawPath(nr uintptr, dirfd int, path string, a ...int) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	var w [3]uintptr
	for i, n := range a {
		w[i] = uintptr(n)
	}
	_, _, e := unix.Syscall6(nr, uintptr(dirfd), uintptr(unsafe.Pointer(p)), w[0], w[1], w[2], 0)
	if e != 0 {
		return e
	}
	return nil
}

func setgroups(groups []int) error {
	ids := make([]uint32, len(groups)+1)
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[0])), 0)
	if e != 0 {
		return e
	}
	return nil
}

// rawTimes is utimensat(2) with and without a path.
func rawTimes(dirfd int, path *string, ts *[2]unix.Timespec, flags int) error {
	var p *byte
	if path != nil {
		var err error
		if p, err = unix.BytePtrFromString(*path); err != nil {
			return err
		}
	}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(ts)), uintptr(flags), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// syncRoot stands for sync(2), which would write out the whole machine.
func syncRoot() error {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Syncfs(fd)
}
