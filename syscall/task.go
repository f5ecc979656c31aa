package syscall

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// A Task is one process as the file system calls see it. It corresponds to the
// file part of struct task_struct: files, fs and cred. Its methods are safe for
// concurrent use; after Exit they fail with ESRCH or EBADF.
type Task struct {
	ns    *vfs.Namespace
	fds   fdTable
	locks *vfs.LockOwner
	waits waitSet

	mu sync.Mutex               // held while fs is replaced
	fs atomic.Pointer[fsStruct] // nil after Exit
}

// fsStruct is one state of root, working directory, umask and credentials. It
// corresponds to struct fs_struct, but never changes: chdir(2) and its like
// put another one in its place. So a call in progress sees one state
// throughout, and a walk that takes long blocks nobody.
type fsStruct struct {
	view *vfs.View
	refs atomic.Int64 // the Task's own and one for each call in progress
}

// NewTask makes a process in ns with no open descriptor, whose root and
// working directory are those of ns. It keeps its own copy of cred.
func NewTask(ns *vfs.Namespace, cred *vfs.Cred) *Task {
	t := &Task{ns: ns, locks: ns.NewLockOwner()}
	t.fds.init()
	t.fs.Store(newFsStruct(ns.NewView(copyCred(cred))))
	return t
}

func newFsStruct(v *vfs.View) *fsStruct {
	s := &fsStruct{view: v}
	s.refs.Store(1)
	return s
}

// Fork makes a child process as fork(2) does: it shares the open file
// descriptions, has no record locks and its own copy of everything else. The child of a process
// that has exited has exited, too.
func (t *Task) Fork() *Task {
	child := &Task{ns: t.ns, locks: t.ns.NewLockOwner()}
	if fs, err := t.getFs(); err == nil {
		defer fs.put()
		view := fs.view.Clone()
		view.SetCred(copyCred(view.Cred())) // no descriptor of the parent's has been opened with it; see Linkat
		child.fs.Store(newFsStruct(view))
	}
	t.fds.copyTo(&child.fds)
	return child
}

// Exec closes the close-on-exec descriptors, as execve(2) does.
func (t *Task) Exec() {
	for _, f := range t.fds.takeCloexec() {
		_ = t.closeFile(f) // execve(2) has nobody to tell
	}
}

// Exit closes every descriptor and gives up locks, root and working directory,
// as exit_group(2) does. Calls that wait for a lock fail with EINTR. A second call does nothing.
func (t *Task) Exit() {
	t.waits.close()
	for _, f := range t.fds.takeAll() {
		_ = t.closeFile(f) // exit_group(2) has nobody to tell
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if fs := t.fs.Swap(nil); fs != nil {
		fs.put()
	}
}

// Getpid returns the number of the process, as getpid(2) does. Processes of a namespace have
// numbers from 1 on that are never used again.
func (t *Task) Getpid() int { return t.locks.ID() }

// getFs returns the current state, referenced for one call.
func (t *Task) getFs() (*fsStruct, error) {
	for {
		fs := t.fs.Load()
		if fs == nil {
			return nil, unix.ESRCH
		}
		if fs.tryGet() {
			return fs, nil
		}
	}
}

// setFs replaces the state by a changed copy. If change fails, nothing happens.
func (t *Task) setFs(change func(*vfs.View) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.fs.Load()
	if old == nil {
		return unix.ESRCH
	}
	view := old.view.Clone()
	if err := change(view); err != nil {
		view.Release()
		return err
	}
	t.fs.Store(newFsStruct(view))
	old.put()
	return nil
}

// tryGet fails if the last reference is gone: then another state is in place.
func (s *fsStruct) tryGet() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *fsStruct) put() {
	if s.refs.Add(-1) == 0 {
		s.view.Release()
	}
}
