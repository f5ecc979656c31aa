package difftest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/fs/ramfs"
	"cloister/syscall"
	"cloister/vfs"
)

// libOS is the library OS with the same processes as the kernel.
type libOS struct {
	ns     *vfs.Namespace
	tasks  []*task
	images *images // those that the file system lies in; nil: none
	clock  atomic.Int64
}

// task is one process.
type task struct {
	*syscall.Task
	os    *libOS
	index int
}

// newLibOS starts a world, with an empty directory below dir if it needs one.
func newLibOS(target *target, dir string, world int) (*libOS, error) {
	l := new(libOS)
	l.clock.Store(time.Now().UnixNano())
	for i := range numTasks + 1 {
		l.tasks = append(l.tasks, &task{os: l, index: i})
	}
	ctx := context.Background()
	switch {
	case target.is(ramFS):
		return l, l.boot(ramfs.New(ramfs.Config{Now: l.now}), "ramfs")
	case target.is(hostFS):
		host := filepath.Join(dir, "host")
		if err := emptyDir(host, 0o755); err != nil {
			return nil, err
		}
		root, err := hostfs.NewType(hostfs.Config{}).Mount(ctx, vfs.MountRequest{Data: "dir=" + host})
		if err != nil {
			return nil, err
		}
		return l, l.boot(root, "hostfs")
	}
	var err error
	if l.images, err = newImages(filepath.Join(dir, "images"), world, l.now); err != nil {
		return nil, err
	}
	return l, l.bootImages()
}

// boot makes root the root, and all tasks as they begin.
func (l *libOS) boot(root vfs.FileSystem, typ string) (err error) {
	cfg := vfs.Config{Types: []vfs.FileSystemType{ramfs.Type{}}, Root: root, RootType: typ, Now: l.now}
	if l.images != nil {
		cfg.Types = append(cfg.Types, l.images.sefs)
	}
	if l.ns, err = vfs.New(cfg); err != nil {
		return err
	}
	for _, t := range l.tasks {
		t.Task = syscall.NewTask(l.ns, vfs.RootCred())
	}
	return nil
}

// emptyDir makes dir anew.
func emptyDir(dir string, mode os.FileMode) error {
	return firstErr(
		func() error { return os.RemoveAll(dir) },
		func() error { return os.Mkdir(dir, mode) },
		func() error { return os.Chmod(dir, mode) },
	)
}

// now is a clock that never shows the same time twice, so that each change of a
// time is seen.
func (l *libOS) now() time.Time { return time.Unix(0, l.clock.Add(int64(time.Microsecond))) }

// close ends all processes and checks that nothing is left in use.
func (l *libOS) close() error {
	l.exitAll()
	if err := l.ns.Close(context.Background()); err != nil {
		return fmt.Errorf("after the last exit: %w", err)
	}
	if l.images != nil && l.images.checked {
		return l.images.check()
	}
	return nil
}

func (l *libOS) exitAll() {
	for _, t := range l.tasks {
		t.Exit()
	}
}

// result separates number and errno.
func result[N int | int64](s *scratch, n N, err error) (int, unix.Errno) {
	if s.err = err; err != nil {
		return -1, vfs.Errno(err)
	}
	return int(n), 0
}

func (t *task) call(o *op, s *scratch) (int, unix.Errno) {
	done := func(err error) (int, unix.Errno) { return result(s, 0, err) }
	num := func(n int, err error) (int, unix.Errno) { return result(s, n, err) }
	path, path2 := "", ""
	if o.path != nil {
		path = o.path.s
	}
	if o.path2 != nil {
		path2 = o.path2.s
	}
	switch o.call {
	case callOpenat:
		return num(t.Openat(o.fd, path, o.flags, o.mode))
	case callClose:
		return done(t.Close(o.fd))
	case callDup:
		return num(t.Dup(o.fd))
	case callDup3:
		return num(t.Dup3(o.fd, o.fd2, o.flags))
	case callFcntl:
		return num(t.Fcntl(o.fd, o.flags, int(o.n)))
	case callRead:
		return num(t.Read(o.fd, s.buf[:o.n]))
	case callPread:
		return num(t.Pread64(o.fd, s.buf[:o.n], o.off))
	case callReadv:
		s.iovecs(o)
		return num(t.Readv(o.fd, s.iov))
	case callWrite:
		return num(t.Write(o.fd, pattern[o.flags:][:o.n]))
	case callPwrite:
		return num(t.Pwrite64(o.fd, pattern[o.flags:][:o.n], o.off))
	case callWritev:
		s.iovecs(o)
		return num(t.Writev(o.fd, s.iov))
	case callLseek:
		n, err := t.Lseek(o.fd, o.off, o.flags)
		return result(s, n, err)
	case callTruncate:
		return done(t.Truncate(path, o.off))
	case callFtruncate:
		return done(t.Ftruncate(o.fd, o.off))
	case callFallocate:
		return done(t.Fallocate(o.fd, uint32(o.flags), o.off, o.n))
	case callFsync:
		return done(t.Fsync(o.fd))
	case callFdatasync:
		return done(t.Fdatasync(o.fd))
	case callFstat:
		return done(t.Fstat(o.fd, &s.st))
	case callFstatat:
		return done(t.Newfstatat(o.fd, path, &s.st, o.flags))
	case callMkdirat:
		return done(t.Mkdirat(o.fd, path, o.mode))
	case callMknodat:
		return done(t.Mknodat(o.fd, path, o.mode, uint64(o.n)))
	case callUnlinkat:
		return done(t.Unlinkat(o.fd, path, o.flags))
	case callRenameat2:
		return done(t.Renameat2(o.fd, path, o.fd2, path2, uint32(o.flags)))
	case callLinkat:
		return done(t.Linkat(o.fd, path, o.fd2, path2, o.flags))
	case callSymlinkat:
		return done(t.Symlinkat(path2, o.fd, path))
	case callReadlinkat:
		return num(t.Readlinkat(o.fd, path, s.buf[:o.n]))
	case callFchmodat2:
		return done(t.Fchmodat2(o.fd, path, o.mode, o.flags))
	case callFchmod:
		return done(t.Fchmod(o.fd, o.mode))
	case callFchownat:
		return done(t.Fchownat(o.fd, path, int(o.n), int(o.off), o.flags))
	case callFchown:
		return done(t.Fchown(o.fd, int(o.n), int(o.off)))
	case callUtimensat:
		return done(t.Utimensat(o.fd, path, o.ts, o.flags))
	case callFaccessat2:
		return done(t.Faccessat2(o.fd, path, o.mode, o.flags))
	case callUmask:
		return int(t.Umask(o.mode)), 0
	case callGetdents64:
		return num(t.Getdents64(o.fd, s.buf[:o.n]))
	case callGetcwd:
		return num(t.Getcwd(s.buf[:o.n]))
	case callChdir:
		return done(t.Chdir(path))
	case callFchdir:
		return done(t.Fchdir(o.fd))
	case callMount:
		fstype, data := o.text, ""
		if fstype == "ramfs" && t.os.images != nil {
			fstype, data = "sefs", t.os.images.forMount()
		}
		return done(t.Mount("none", path, fstype, uintptr(o.flags), data))
	case callUmount2:
		return done(t.Umount2(path, o.flags))
	case callBecome:
		return done(t.become(o.cred))
	}
	if n, err, ok := t.more(o, s, path); ok {
		return num(n, err)
	}
	return done(t.lifeCycle(o))
}

func (t *task) become(c *cred) error {
	groups := make([]int, len(c.groups))
	for i, g := range c.groups {
		groups[i] = int(g)
	}
	return firstErr(
		func() error { return t.Setresuid(-1, 0, -1) },
		func() error { return t.Setgroups(groups) },
		func() error { return t.Setresgid(c.rgid, c.egid, c.egid) },
		func() error { return t.Setresuid(c.ruid, c.euid, 0) },
	)
}

func (t *task) lifeCycle(o *op) error {
	switch o.call {
	case callFork:
		child := t.os.tasks[o.n]
		child.Exit()
		child.Task = t.Fork()
	case callExec:
		t.Exec()
	case callExit:
		t.Exit()
		t.Task = syscall.NewTask(t.os.ns, vfs.RootCred())
	case callSync:
		return t.Sync()
	case callSyncfs:
		return t.Syncfs(o.fd)
	case callRemount, callCrash:
		return t.os.remount(o.call == callCrash)
	case callLayer:
		return t.os.nextLayer()
	case callStack:
		return t.os.stack()
	}
	return nil
}
