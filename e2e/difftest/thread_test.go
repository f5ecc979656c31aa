package difftest

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	hostkernel "cloister/internal/kernel"
)

const (
	maxFD     = 512  // descriptors of a task have numbers below
	hostRoot  = 1000 // descriptor of the machine's root directory
	forkedCwd = 1001 // of the parent's working directory, during a fork
	transfer  = 1002 // passing through
)

// A thread is one process on the real kernel: an OS thread with descriptors,
// working directory, umask and credentials of its own, in the private mount
// namespace of its kernel. Its calls are raw system calls, since the wrappers
// of package unix change ids on all threads, and tell the Go scheduler of each.
type thread struct {
	kernel *kernel
	index  int
	tid    int
	work   chan job
	done   chan struct{}

	// Descriptors that the test process had open already are in the way: the
	// program's descriptor n is number real[n] here.
	real, norm []int
	open       [maxFD]bool
	euid       int
	st         unix.Stat_t
	how        unix.OpenHow
}

// A job is a part of a run: ops from i on, or anything else to do on the thread.
type job struct {
	run  *run
	i    int
	f    func() error
	done chan error
}

// newThread starts a thread and calls prepare on it.
func newThread(k *kernel, index int, prepare func() error) (*thread, error) {
	t := &thread{kernel: k, index: index, work: make(chan job), done: make(chan struct{})}
	ready := make(chan error)
	go hostkernel.OnThread(func() error {
		t.main(prepare, ready)
		return nil
	})
	return t, <-ready
}

func (t *thread) main(prepare func() error, ready chan<- error) {
	defer close(t.done)
	t.tid = unix.Gettid()
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_FILES)
	if err == nil {
		t.numberFDs()
		err = prepare()
	}
	ready <- err
	if err != nil {
		return
	}
	for j := range t.work {
		if j.f != nil {
			j.done <- j.f()
		} else {
			t.perform(j.run, j.i)
		}
	}
}

func (t *thread) numberFDs() {
	t.norm = make([]int, maxFD)
	for fd := range maxFD {
		t.norm[fd] = -1
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			t.norm[fd] = len(t.real)
			t.real = append(t.real, fd)
		}
	}
}

// do runs f on the thread.
func (t *thread) do(f func() error) error {
	done := make(chan error)
	t.work <- job{f: f, done: done}
	return <-done
}

func (t *thread) stop() {
	close(t.work)
	<-t.done
}

// perform makes the calls from op i on, as long as they are its own, and passes
// the rest on.
func (t *thread) perform(r *run, i int) {
	for ; i < len(r.ops); i++ {
		o := &r.ops[i]
		if int(o.task) != t.index {
			t.kernel.threads[o.task].work <- job{run: r, i: i}
			return
		}
		if t.kernel.target.deviation(t, o) != nil {
			r.linux.skip()
			continue
		}
		if o.tick {
			waitForTick()
		}
		r.linux.perform(t, o)
	}
	r.performed <- struct{}{}
}

// waitForTick waits until the coarse clock, which file systems use, goes on. A first tick may lag behind the finer
// clock, which they use for a file whose times have been looked at since they changed.
func waitForTick() {
	now := coarseTime()
	for range 2 {
		for before := now; now == before; {
			now = coarseTime()
		}
	}
}

func coarseTime() (ts unix.Timespec) {
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) // cannot fail
	return ts
}

func sys(nr uintptr, a ...uintptr) (int, unix.Errno) {
	var w [6]uintptr
	copy(w[:], a)
	n, _, e := unix.RawSyscall6(nr, w[0], w[1], w[2], w[3], w[4], w[5])
	if e != 0 {
		return -1, e
	}
	return int(n), 0
}

// firstErr makes steps until one fails.
func firstErr(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// restart makes the thread a fresh process of root's in the directory root.
func (t *thread) restart(root string) error {
	t.become(&cred{})
	t.closeAll(func(int) bool { return true })
	unix.Umask(0o022)
	return firstErr(
		func() error { return unix.Fchdir(hostRoot) },
		func() error { return unix.Chroot(".") },
		func() error { return unix.Chroot(root) },
		func() error { return unix.Chdir("/") },
	)
}

func (t *thread) closeAll(which func(fd int) bool) {
	for fd, open := range t.open {
		if open && which(t.real[fd]) {
			unix.Close(t.real[fd])
			t.open[fd] = false
		}
	}
}

// become sets all ids. The saved user id stays root's, so that the next become
// can do its work.
func (t *thread) become(c *cred) unix.Errno {
	const keep = ^uintptr(0)
	groups := append([]uint32{}, c.groups...)
	groups = append(groups, 0) // never empty, so that it has an address
	for _, step := range []func() (int, unix.Errno){
		func() (int, unix.Errno) { return sys(unix.SYS_SETRESUID, keep, 0, keep) },
		func() (int, unix.Errno) {
			_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
			return 0, e
		},
		func() (int, unix.Errno) {
			return sys(unix.SYS_SETRESGID, uintptr(c.rgid), uintptr(c.egid), uintptr(c.egid))
		},
		func() (int, unix.Errno) { return sys(unix.SYS_SETRESUID, uintptr(c.ruid), uintptr(c.euid), 0) },
	} {
		if _, e := step(); e != 0 {
			return e
		}
	}
	t.euid = c.euid
	return 0
}

// asRoot calls f with root's effective user id.
func (t *thread) asRoot(f func() error) error {
	euid := t.euid
	if _, e := sys(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); e != 0 {
		return e
	}
	err := f()
	if _, e := sys(unix.SYS_SETRESUID, ^uintptr(0), uintptr(euid), ^uintptr(0)); e != 0 {
		return e
	}
	return err
}

// fork makes child what fork(2) would. It runs on the parent's thread.
func (t *thread) fork(child *thread) error {
	umask := unix.Umask(0)
	unix.Umask(umask)
	var c cred
	c.ruid, c.euid, _ = unix.Getresuid()
	c.rgid, c.egid, _ = unix.Getresgid()
	groups, err := unix.Getgroups()
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	fdFlags := map[int]int{}
	for fd, open := range t.open {
		if open {
			fdFlags[fd], _ = sys(unix.SYS_FCNTL, t.fd(fd), unix.F_GETFD)
		}
	}
	for _, g := range groups {
		c.groups = append(c.groups, uint32(g))
	}
	err = t.asRoot(func() error {
		fd, err := unix.Open(".", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(forkedCwd)
		if err := moveFD(fd, forkedCwd, 0); err != nil {
			return err
		}
		return child.do(func() error { return child.inherit(t, fdFlags, umask, &c) })
	})
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	return nil
}

// inherit runs on the child's thread while the parent waits.
func (t *thread) inherit(parent *thread, fdFlags map[int]int, umask int, c *cred) error {
	if err := t.restart(t.kernel.root); err != nil {
		return err
	}
	const pidfdThread = unix.O_EXCL // PIDFD_THREAD, pidfd_open(2), since Linux 6.9
	pidfd, err := unix.PidfdOpen(parent.tid, pidfdThread)
	if err != nil {
		return err
	}
	if err := moveFD(pidfd, transfer, 0); err != nil {
		return err
	}
	defer unix.Close(transfer)
	fetch := func(from, to, flags int) error {
		fd, err := unix.PidfdGetfd(transfer, from, 0)
		if err != nil {
			return err
		}
		if fd == to {
			_, err := unix.FcntlInt(uintptr(to), unix.F_SETFD, flags)
			return err
		}
		return moveFD(fd, to, flags*unix.O_CLOEXEC)
	}
	if err := fetch(forkedCwd, forkedCwd, 0); err != nil {
		return err
	}
	err = unix.Fchdir(forkedCwd)
	unix.Close(forkedCwd)
	if err != nil {
		return err
	}
	for fd, flags := range fdFlags {
		if err := fetch(parent.real[fd], t.real[fd], flags); err != nil {
			return err
		}
		t.open[fd] = true
	}
	unix.Umask(umask)
	if e := t.become(c); e != 0 {
		return e
	}
	return nil
}

// moveFD gives from the number to.
func moveFD(from, to, flags int) error {
	if err := unix.Dup3(from, to, flags); err != nil {
		return err
	}
	return unix.Close(from)
}
