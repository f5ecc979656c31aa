// Package fuserun runs scripts on a library OS that is reached through FUSE and
// the real kernel. The library OS lives in a child process, for a process must
// not use its own FUSE mounts. Each mount of a script is made there by its
// mount(2), so that options, keys and images are judged by the library OS; it
// is then served through FUSE, and the mount of the kernel is put where the
// script wants it. All other calls go to the kernel. It needs root and
// /dev/fuse.
package fuserun

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/kernelrun"
	"cloister/harness/internal/replay"
)

// System is a kernel whose mounts a child process serves. The zero value is
// ready.
type System struct {
	kernel kernelrun.System

	mu    sync.Mutex
	child *child // nil: not started
}

// Start starts a child with a library OS as id says, and makes an empty ramfs
// of it the root of a first process.
func (s *System) Start(ctx context.Context, id replay.Identity) (replay.Task, error) {
	c, err := startChild(ctx, id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.child = c
	s.mu.Unlock()
	s.kernel.Mounter = c
	t, err := s.kernel.Start(ctx, id)
	if err != nil {
		c.kill()
		return nil, err
	}
	return &task{Task: t, child: c}, nil
}

// Stop waits until the kernel has let go of all mounts, closes the library OS
// and ends the child.
func (s *System) Stop(ctx context.Context) error {
	return errors.Join(s.kernel.Stop(ctx), s.child.stop())
}

// Kill ends the child by SIGKILL.
func (s *System) Kill() { s.Abort() }

// Abort ends the child by SIGKILL while calls are in progress: they fail. It
// may be called from any goroutine.
func (s *System) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child != nil {
		s.child.kill()
	}
	s.kernel.Abort()
}

// task is a process on the kernel. Calls that can take the last hold of a mount
// return when the library OS has unmounted it, too: the kernel does not wait for
// that, but the next line of a script may mount the same image again.
type task struct {
	replay.Task
	child *child
}

// Umount2 is umount2(2); a failure of the library OS at the unmount is returned.
func (t *task) Umount2(target string, flags int) error {
	if err := t.Task.Umount2(target, flags); err != nil {
		return err
	}
	if flags&unix.MNT_DETACH != 0 {
		t.child.lazy = true
	}
	return t.child.settle()
}

// letGo settles after a call that may have closed the last file of a mount that
// is no longer in the tree.
func (t *task) letGo(err error) error {
	if !t.child.lazy {
		return err
	}
	if settleErr := t.child.settle(); err == nil {
		err = settleErr
	}
	return err
}

// Close is close(2).
func (t *task) Close(fd int) error { return t.letGo(t.Task.Close(fd)) }

// CloseRange is close_range(2).
func (t *task) CloseRange(first, last uint, flags uint) error {
	return t.letGo(t.Task.CloseRange(first, last, flags))
}

// Chroot is chroot(2).
func (t *task) Chroot(path string) error { return t.letGo(t.Task.Chroot(path)) }

// Dup2 is dup2(2).
func (t *task) Dup2(oldfd, newfd int) (int, error) {
	n, err := t.Task.Dup2(oldfd, newfd)
	return n, t.letGo(err)
}

// Dup3 is dup3(2).
func (t *task) Dup3(oldfd, newfd, flags int) (int, error) {
	n, err := t.Task.Dup3(oldfd, newfd, flags)
	return n, t.letGo(err)
}

// Chdir is chdir(2).
func (t *task) Chdir(path string) error { return t.letGo(t.Task.Chdir(path)) }

// Fchdir is fchdir(2).
func (t *task) Fchdir(fd int) error { return t.letGo(t.Task.Fchdir(fd)) }

// Fork is fork(2).
func (t *task) Fork() (replay.Task, error) {
	c, err := t.Task.Fork()
	if err != nil {
		return nil, err
	}
	return &task{Task: c, child: t.child}, nil
}

// Exec closes the close-on-exec descriptors.
func (t *task) Exec() {
	t.Task.Exec()
	t.child.noteError(t.letGo(nil))
}

// Exit ends the process.
func (t *task) Exit() {
	t.Task.Exit()
	t.child.noteError(t.letGo(nil))
}
