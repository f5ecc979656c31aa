// Package kernel makes system calls on the real kernel as several processes
// would, so that Linux itself judges what tests expect. Each process is a thread
// of its own, with its own descriptors, working directory and credentials, in a
// private mount namespace whose root is empty. The mounts are the kernel's own, or
// those of a Mounter. It needs root.
package kernel

import (
	"flag"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// thread is an OS thread that does what it is told.
type thread struct {
	tid int
	// own are the descriptors of this program that the thread keeps.
	own  map[int]bool
	work chan func()
	done chan struct{}
}

// inherit keeps a thread from having copies, while it begins, of the descriptors of mounts that the program has
// open meanwhile.
var inherit sync.RWMutex

// startThread makes a thread with descriptors and file system state of its own.
func startThread() (*thread, error) {
	t := &thread{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go onNewThread(func() {
		defer close(t.done)
		t.tid = unix.Gettid()
		inherit.Lock()
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_FILES)
		if err == nil {
			t.own = closeInherited()
		}
		inherit.Unlock()
		ready <- err
		if err != nil {
			return
		}
		for f := range t.work {
			f()
		}
	})
	if err := <-ready; err != nil {
		return nil, err
	}
	return t, nil
}

// closeInherited closes the calling thread's copies of what the program has open: one of a mount or of a locked file
// would keep it busy when the program has closed its own. It returns the descriptors that stay, of
// which any thread may make use: those that the Go runtime polls, standard input, output and error, and
// the file in which the testing package notes which files are opened.
func closeInherited() (own map[int]bool) {
	own = map[int]bool{0: true, 1: true, 2: true}
	keep := []string{"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}
	if f := flag.Lookup("test.testlogfile"); f != nil {
		keep = append(keep, f.Value.String())
	}
	for fd := range openFDs() {
		var name [unix.PathMax]byte
		n, err := unix.Readlink(fmt.Sprintf("/proc/thread-self/fd/%d", fd), name[:])
		switch {
		case own[fd]:
		case err != nil || slices.Contains(keep, string(name[:n])):
			own[fd] = true
		default:
			unix.Close(fd)
		}
	}
	return own
}

// OnThread calls f on a thread of its own, and waits for it. What f changes about the
// thread, such as its namespaces, ends with it.
func OnThread(f func() error) error {
	result := make(chan error)
	go onNewThread(func() { result <- f() })
	return <-result
}

// onNewThread calls f on a thread that ends with it, and with the thread goes
// all that f has changed about it.
func onNewThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f() // never unlocked
		return
	}
	// The first thread of the program does not end before the program does. Held
	// here, it is not the one that the next goroutine gets.
	defer runtime.UnlockOSThread()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		onNewThread(f)
	}()
	<-ended
}

// do runs f on the thread.
func (t *thread) do(f func() error) (err error) {
	finished := make(chan struct{})
	t.work <- func() {
		err = f()
		close(finished)
	}
	<-finished
	return err
}

// stop ends the thread. It leaves its working directory and closes its files
// first, for the kernel lets go of them some time after its end.
func (t *thread) stop() {
	t.do(func() error {
		unix.Fchdir(hostRootFD)
		for fd := range openFDs() {
			if !t.own[fd] {
				unix.Close(fd)
			}
		}
		return nil
	})
	close(t.work)
	<-t.done
}

// highestFD is the highest number that a process can have open.
const highestFD = 1023

// openFDs yields the open descriptors of the calling thread and their flags.
func openFDs() iter.Seq2[int, int] {
	return func(yield func(fd, flags int) bool) {
		for fd := range highestFD + 1 {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil && !yield(fd, flags) {
				return
			}
		}
	}
}
