package syscall_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/vfs"
)

// fork returns a thread with a copy of k's descriptors: another owner of record locks. It has
// the root of the test process, so it opens files by descriptor.
func (k *kernel) fork() (*kernel, error) {
	return newThread(func() error { return unix.Unshare(unix.CLONE_FILES | unix.CLONE_FS) })
}

// exit ends a thread that fork made.
func (k *kernel) exit() {
	clear(k.fds)
	k.close()
}

// lockProcess is one process on both sides.
type lockProcess struct {
	task, linux caller
	fds         []fdPair
}

// TestLocksLikeLinux makes the same random lock calls, in three processes, to Tasks
// and to the real kernel.
func TestLocksLikeLinux(t *testing.T) {
	newKernel(t) // skips where there is none
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		task, end, err := startTask()
		require.NoError(t, err)
		linux, err := startKernel(dir)
		require.NoError(t, err)
		defer linux.close()
		w := &lockWorld{}
		first := &lockProcess{task: task, linux: linux}
		w.processes = []*lockProcess{first}
		for _, name := range []string{"a", "b"} {
			w.open(t, first, cwdPair, name, unix.O_CREAT|unix.O_RDWR)
			w.open(t, first, cwdPair, name, unix.O_RDWR)
		}
		w.open(t, first, cwdPair, "a", unix.O_RDONLY)
		w.dir = w.open(t, first, cwdPair, ".", unix.O_RDONLY)
		first.fds = slices.DeleteFunc(first.fds, func(p fdPair) bool { return p == w.dir })
		for range 2 {
			child, err := linux.fork()
			require.NoError(t, err)
			defer child.exit()
			p := task.Fork()
			defer p.Exit()
			w.processes = append(w.processes, &lockProcess{task: p, linux: child, fds: slices.Clone(first.fds)})
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": w.doSet, "set2": w.doSet, "set3": w.doSet, "get": w.doGet, "get2": w.doGet, "flock": w.doFlock,
			"open": w.doOpen, "dup": w.doDup, "close": w.doClose, "seek": w.doSeek,
		})
		for _, p := range w.processes[1:] {
			p.task.(interface{ Exit() }).Exit()
		}
		require.NoError(t, end(), "everything is released at the end")
	})
}

var cwdPair = fdPair{unix.AT_FDCWD, unix.AT_FDCWD}

type lockWorld struct {
	processes []*lockProcess
	dir       fdPair
}

func (w *lockWorld) process(t *rapid.T) *lockProcess {
	return rapid.SampledFrom(w.processes).Draw(t, "process")
}

func (p *lockProcess) drawFd(t *rapid.T) fdPair {
	if len(p.fds) == 0 {
		return badFd
	}
	return rapid.SampledFrom(p.fds).Draw(t, "fd")
}

func (p *lockProcess) both(t *rapid.T, call string, do func(c caller, fd func(fdPair) int) (any, error)) {
	t.Helper()
	want, wantErr := do(p.linux, func(p fdPair) int { return p.linux })
	got, gotErr := do(p.task, func(p fdPair) int { return p.task })
	t.Log(call, "=", want, wantErr)
	require.Equal(t, vfs.Errno(wantErr), vfs.Errno(gotErr), "%s (error: %v, Linux: %v)", call, gotErr, wantErr)
	if wantErr == nil {
		require.Equal(t, want, got, call)
	}
}

func (w *lockWorld) open(t *rapid.T, p *lockProcess, at fdPair, name string, flags int) (opened fdPair) {
	p.both(t, fmt.Sprintf("open(%q, %#x)", name, flags), func(c caller, fd func(fdPair) int) (any, error) {
		n, err := c.Openat(fd(at), name, flags, 0o644)
		if c == p.task {
			opened.task = n
		} else {
			opened.linux = n
		}
		return nil, err
	})
	p.fds = append(p.fds, opened)
	return opened
}

func (w *lockWorld) doOpen(t *rapid.T) {
	p := w.process(t)
	if len(p.fds) < 8 {
		w.open(t, p, w.dir, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
			rapid.SampledFrom([]int{unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY}).Draw(t, "flags"))
	}
}

func (w *lockWorld) doDup(t *rapid.T) {
	p := w.process(t)
	f := p.drawFd(t)
	if f == badFd || len(p.fds) >= 8 {
		return
	}
	var opened fdPair
	p.both(t, fmt.Sprintf("dup(%v)", f), func(c caller, fd func(fdPair) int) (any, error) {
		n, err := c.Dup(fd(f))
		if c == p.task {
			opened.task = n
		} else {
			opened.linux = n
		}
		return nil, err
	})
	p.fds = append(p.fds, opened)
}

func (w *lockWorld) doClose(t *rapid.T) {
	p := w.process(t)
	f := p.drawFd(t)
	p.both(t, fmt.Sprintf("close(%v)", f), func(c caller, fd func(fdPair) int) (any, error) { return nil, c.Close(fd(f)) })
	p.fds = slices.DeleteFunc(p.fds, func(q fdPair) bool { return q == f })
}

func (w *lockWorld) doSeek(t *rapid.T) {
	p := w.process(t)
	f, off := p.drawFd(t), rapid.Int64Range(0, 6).Draw(t, "off")
	p.both(t, fmt.Sprintf("lseek(%v, %d)", f, off), func(c caller, fd func(fdPair) int) (any, error) {
		return c.Lseek(fd(f), off, unix.SEEK_SET)
	})
	p.both(t, fmt.Sprintf("ftruncate(%v, %d)", f, off), func(c caller, fd func(fdPair) int) (any, error) {
		return nil, c.Ftruncate(fd(f), off)
	})
}

func drawLock(t *rapid.T) unix.Flock_t {
	return unix.Flock_t{
		Type:   rapid.SampledFrom([]int16{unix.F_RDLCK, unix.F_WRLCK, unix.F_WRLCK, unix.F_UNLCK, unix.F_UNLCK, 9}).Draw(t, "type"),
		Whence: rapid.SampledFrom([]int16{unix.SEEK_SET, unix.SEEK_SET, unix.SEEK_SET, unix.SEEK_CUR, unix.SEEK_END, 9}).Draw(t, "whence"),
		Start:  rapid.SampledFrom([]int64{0, 1, 2, 3, 4, 5, 6, 8, -1, 1<<63 - 1}).Draw(t, "start"),
		Len:    rapid.SampledFrom([]int64{0, 1, 2, 3, 4, 9, -1, -2, 1<<63 - 1}).Draw(t, "len"),
		Pid:    rapid.SampledFrom([]int32{0, 0, 0, 0, 0, 0, 0, 0, 0, 7}).Draw(t, "pid"),
	}
}

func (w *lockWorld) doSet(t *rapid.T) {
	p := w.process(t)
	f, lk := p.drawFd(t), drawLock(t)
	cmd := rapid.SampledFrom([]int{unix.F_SETLK, unix.F_SETLK, unix.F_OFD_SETLK}).Draw(t, "cmd")
	p.both(t, fmt.Sprintf("fcntl(%v, %d, %+v)", f, cmd, lk), func(c caller, fd func(fdPair) int) (any, error) {
		l := lk
		return nil, c.FcntlFlock(fd(f), cmd, &l)
	})
}

func (w *lockWorld) doGet(t *rapid.T) {
	p := w.process(t)
	f, lk := p.drawFd(t), drawLock(t)
	cmd := rapid.SampledFrom([]int{unix.F_GETLK, unix.F_GETLK, unix.F_OFD_GETLK}).Draw(t, "cmd")
	p.both(t, fmt.Sprintf("fcntl(%v, %d, %+v)", f, cmd, lk), func(c caller, fd func(fdPair) int) (any, error) {
		l := lk
		err := c.FcntlFlock(fd(f), cmd, &l)
		l.Pid = min(l.Pid, 1) // the threads of the kernel's side have one number
		return l, err
	})
}

func (w *lockWorld) doFlock(t *rapid.T) {
	p := w.process(t)
	f := p.drawFd(t)
	how := rapid.SampledFrom([]int{unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN, 3, 16}).Draw(t, "how") | unix.LOCK_NB
	p.both(t, fmt.Sprintf("flock(%v, %#x)", f, how), func(c caller, fd func(fdPair) int) (any, error) {
		return nil, c.Flock(fd(f), how)
	})
}
