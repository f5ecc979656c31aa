package syscall_test

import (
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
)

// wlk and rlk are a write and a read lock on n bytes from start, 0 for all.
func wlk(start, n int64) *unix.Flock_t {
	return &unix.Flock_t{Type: unix.F_WRLCK, Start: start, Len: n}
}
func rlk(start, n int64) *unix.Flock_t {
	return &unix.Flock_t{Type: unix.F_RDLCK, Start: start, Len: n}
}
func unlk(start, n int64) *unix.Flock_t {
	return &unix.Flock_t{Type: unix.F_UNLCK, Start: start, Len: n}
}

func TestFlockErrors(t *testing.T) {
	flock := func(how int) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Flock(fd, how) }
	}
	bad := func(how int) func(c caller) error { return func(c caller) error { return c.Flock(-1, how) } }
	// twice locks one file by two open file descriptions.
	twice := func(first, second int) func(c caller) error {
		return both("f", unix.O_RDONLY, "f", unix.O_RDONLY, func(c caller, fd1, fd2 int) error {
			if err := c.Flock(fd1, first); err != nil {
				return err
			}
			return c.Flock(fd2, second)
		})
	}
	const sh, ex, un, nb = unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN, unix.LOCK_NB
	runRows(t, []row{
		{"shared", with("f", unix.O_RDONLY, flock(sh)), 0},
		{"exclusive for reading", with("f", unix.O_RDONLY, flock(ex)), 0},
		{"directory", with("d", unix.O_RDONLY, flock(ex)), 0},
		{"unlock nothing", with("f", unix.O_RDONLY, flock(un)), 0},
		{"shared and exclusive", with("f", unix.O_RDONLY, flock(sh|ex)), unix.EINVAL},
		{"shared and unlock", with("f", unix.O_RDONLY, flock(sh|un)), unix.EINVAL},
		{"only nonblocking", with("f", unix.O_RDONLY, flock(nb)), unix.EINVAL},
		{"nothing", with("f", unix.O_RDONLY, flock(0)), unix.EINVAL},
		{"unknown bit", with("f", unix.O_RDONLY, flock(sh|16)), unix.EINVAL},
		{"mandatory", with("f", unix.O_RDONLY, flock(32)), 0},
		{"mandatory, bad", bad(32), 0},
		{"bad", bad(sh), unix.EBADF},
		{"bad, unknown bit", bad(16), unix.EINVAL},
		{"access mode 3", with("f", unix.O_ACCMODE, flock(sh)), unix.EBADF},
		{"unlock with access mode 3", with("f", unix.O_ACCMODE, flock(un)), 0},
		{"shared twice", twice(sh|nb, sh|nb), 0},
		{"exclusive against shared", twice(sh, ex|nb), unix.EAGAIN},
		{"shared against exclusive", twice(ex, sh|nb), unix.EAGAIN},
		{"exclusive twice", twice(ex, ex|nb), unix.EAGAIN},
		{"duplicate has the lock, too", with("f", unix.O_RDONLY, func(c caller, fd int) error {
			if err := c.Flock(fd, ex); err != nil {
				return err
			}
			fd2, err := c.Dup(fd)
			if err != nil {
				return err
			}
			defer c.Close(fd2)
			return c.Flock(fd2, sh|nb)
		}), 0},
		{"other name of the file", after(func(c caller) error { return c.Linkat(cwd, "f", cwd, "h", 0) },
			both("f", unix.O_RDONLY, "h", unix.O_RDONLY, func(c caller, fd1, fd2 int) error {
				if err := c.Flock(fd1, ex); err != nil {
					return err
				}
				return c.Flock(fd2, ex|nb)
			})), unix.EAGAIN},
		{"failed change loses the lock", both("f", unix.O_RDONLY, "f", unix.O_RDONLY, func(c caller, fd1, fd2 int) error {
			if err := errors.Join(c.Flock(fd1, sh), c.Flock(fd2, sh)); err != nil {
				return err
			}
			if !errors.Is(c.Flock(fd1, ex|nb), unix.EAGAIN) {
				return unix.ENOTRECOVERABLE
			}
			return c.Flock(fd2, ex|nb)
		}), 0},
	})
}

func TestRecordLockErrors(t *testing.T) {
	const rw = unix.O_RDWR
	lock := func(cmd int, lk unix.Flock_t) func(c caller, fd int) error {
		return func(c caller, fd int) error { lk := lk; return c.FcntlFlock(fd, cmd, &lk) }
	}
	set := func(lk *unix.Flock_t) func(c caller, fd int) error { return lock(unix.F_SETLK, *lk) }
	ofd := func(lk *unix.Flock_t) func(c caller, fd int) error { return lock(unix.F_OFD_SETLK, *lk) }
	withPid := wlk(0, 0)
	withPid.Pid = 1
	runRows(t, []row{
		{"write", with("f", rw, set(wlk(0, 0))), 0},
		{"write for reading", with("f", unix.O_RDONLY, set(wlk(0, 0))), unix.EBADF},
		{"read for writing", with("f", unix.O_WRONLY, set(rlk(0, 0))), unix.EBADF},
		{"unlock for reading", with("f", unix.O_RDONLY, set(unlk(0, 0))), 0},
		{"read directory", with("d", unix.O_RDONLY, set(rlk(0, 0))), 0},
		{"access mode 3", with("f", unix.O_ACCMODE, set(rlk(0, 0))), unix.EBADF},
		{"path descriptor", with("f", unix.O_PATH, set(rlk(0, 0))), unix.EBADF},
		{"bad", func(c caller) error { return set(rlk(0, 0))(c, -1) }, unix.EBADF},
		{"unknown type", with("f", rw, set(&unix.Flock_t{Type: 7})), unix.EINVAL},
		{"unknown type for reading", with("f", unix.O_RDONLY, set(&unix.Flock_t{Type: 7})), unix.EINVAL},
		{"unknown whence", with("f", rw, set(&unix.Flock_t{Whence: 9})), unix.EINVAL},
		{"negative start", with("f", rw, set(wlk(-1, 5))), unix.EINVAL},
		{"negative start for reading", with("f", unix.O_RDONLY, set(wlk(-1, 5))), unix.EINVAL},
		{"negative length", with("f", rw, set(wlk(5, -5))), 0},
		{"too negative length", with("f", rw, set(wlk(5, -6))), unix.EINVAL},
		{"last byte", with("f", rw, set(wlk(math.MaxInt64, 1))), 0},
		{"beyond the last byte", with("f", rw, set(wlk(math.MaxInt64, 2))), unix.EOVERFLOW},
		{"start beyond from the end", with("f", rw, set(&unix.Flock_t{Whence: unix.SEEK_END, Start: math.MaxInt64})), unix.EOVERFLOW},
		{"before start from the end", with("f", rw, set(&unix.Flock_t{Whence: unix.SEEK_END, Start: -2})), unix.EINVAL},
		{"pid", with("f", rw, set(withPid)), 0},
		{"pid for open file description", with("f", rw, ofd(withPid)), unix.EINVAL},
		{"pid for open file description, wrong mode", with("f", unix.O_RDONLY, ofd(withPid)), unix.EBADF},
		{"get unlock", with("f", rw, lock(unix.F_GETLK, *unlk(0, 0))), unix.EINVAL},
		{"get unlock, bad whence", with("f", rw, lock(unix.F_GETLK, unix.Flock_t{Type: unix.F_UNLCK, Whence: 9})), unix.EINVAL},
		{"get own for open file description", with("f", rw, lock(unix.F_OFD_GETLK, *unlk(0, 0))), 0},
		{"get pid for open file description", with("f", rw, lock(unix.F_OFD_GETLK, *withPid)), unix.EINVAL},
		{"get for reading", with("f", unix.O_RDONLY, lock(unix.F_GETLK, *wlk(0, 0))), 0},
		{"open file descriptions conflict", both("f", rw, "f", rw, func(c caller, fd1, fd2 int) error {
			if err := ofd(wlk(0, 5))(c, fd1); err != nil {
				return err
			}
			return ofd(rlk(4, 1))(c, fd2)
		}), unix.EAGAIN},
		{"process and open file description conflict", with("f", rw, func(c caller, fd int) error {
			if err := ofd(wlk(0, 5))(c, fd); err != nil {
				return err
			}
			return set(wlk(4, 1))(c, fd)
		}), unix.EAGAIN},
	})
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
	require.ErrorIs(t, task.FcntlFlock(fd, unix.F_GETFL, wlk(0, 0)), unix.EINVAL, "no command on locks")
}

// TestGetlk: who has the lock.
func TestGetlk(t *testing.T) {
	parent := newTask(t)
	fd := mustOpen(t, parent, "f", unix.O_CREAT|unix.O_RDWR)
	child := parent.Fork()
	defer child.Exit()
	require.NotEqual(t, parent.Getpid(), child.Getpid())
	require.NoError(t, parent.FcntlFlock(fd, unix.F_SETLK, wlk(10, 5)))
	got := rlk(12, 0)
	require.NoError(t, child.FcntlFlock(fd, unix.F_GETLK, got))
	require.Equal(t, unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5, Pid: int32(parent.Getpid())}, *got)
	require.ErrorIs(t, child.FcntlFlock(fd, unix.F_SETLK, rlk(0, 11)), unix.EAGAIN, "locks are not inherited")
	got = wlk(0, 0)
	require.NoError(t, parent.FcntlFlock(fd, unix.F_GETLK, got))
	require.EqualValues(t, unix.F_UNLCK, got.Type, "nothing is in the way of its owner")
}

// TestLocksGo: which calls drop the locks of a process.
func TestLocksGo(t *testing.T) {
	for name, drop := range map[string]func(t *testing.T, p *syscall.Task, fd, other int){
		"close":            func(t *testing.T, p *syscall.Task, fd, other int) { require.NoError(t, p.Close(fd)) },
		"close of another": func(t *testing.T, p *syscall.Task, fd, other int) { require.NoError(t, p.Close(other)) },
		"dup2 over another": func(t *testing.T, p *syscall.Task, fd, other int) {
			_, err := p.Dup2(fd, other)
			require.NoError(t, err)
		},
		"close_range":           func(t *testing.T, p *syscall.Task, fd, other int) { require.NoError(t, p.CloseRange(1, 1, 0)) },
		"execve closes another": func(t *testing.T, p *syscall.Task, fd, other int) { p.Exec() },
		"exit":                  func(t *testing.T, p *syscall.Task, fd, other int) { p.Exit() },
		"unlock": func(t *testing.T, p *syscall.Task, fd, other int) {
			require.NoError(t, p.FcntlFlock(fd, unix.F_SETLK, unlk(0, 0)))
		},
		"unlock through another": func(t *testing.T, p *syscall.Task, fd, other int) {
			require.NoError(t, p.FcntlFlock(other, unix.F_SETLK, unlk(0, 0)))
		},
		"weaker lock lets readers": func(t *testing.T, p *syscall.Task, fd, other int) {
			require.NoError(t, p.FcntlFlock(fd, unix.F_SETLK, rlk(0, 0)))
		},
		"unlock of the middle only": func(t *testing.T, p *syscall.Task, fd, other int) {
			require.NoError(t, p.FcntlFlock(fd, unix.F_SETLK, unlk(100, 1)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			task := newTask(t)
			mine := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
			p := task.Fork()
			defer p.Exit()
			other := mustOpen(t, p, "f", unix.O_RDONLY|unix.O_CLOEXEC)
			fd := mustOpen(t, p, "f", unix.O_RDWR)
			require.Equal(t, 1, other)
			require.NoError(t, p.FcntlFlock(fd, unix.F_SETLK, wlk(0, 0)))
			require.ErrorIs(t, task.FcntlFlock(mine, unix.F_SETLK, rlk(100, 1)), unix.EAGAIN)
			waited := make(chan error)
			go func() { waited <- task.FcntlFlock(mine, unix.F_SETLKW, rlk(100, 1)) }()
			drop(t, p, fd, other)
			require.NoError(t, <-waited, "who waits gets the lock")
		})
	}
}

// TestDescriptionLocksStay: locks of an open file description live as long as any
// descriptor of it, in any process.
func TestDescriptionLocksStay(t *testing.T) {
	for name, l := range map[string]struct {
		lock, try func(p *syscall.Task, fd int) error
	}{
		"flock": {
			func(p *syscall.Task, fd int) error { return p.Flock(fd, unix.LOCK_EX) },
			func(p *syscall.Task, fd int) error { return p.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) },
		},
		"open file description lock": {
			func(p *syscall.Task, fd int) error { return p.FcntlFlock(fd, unix.F_OFD_SETLKW, wlk(0, 0)) },
			func(p *syscall.Task, fd int) error { return p.FcntlFlock(fd, unix.F_OFD_SETLK, wlk(0, 0)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			task := newTask(t)
			fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
			other := mustOpen(t, task, "f", unix.O_RDWR)
			require.NoError(t, l.lock(task, fd))
			child := task.Fork()
			require.NoError(t, task.Close(fd))
			require.ErrorIs(t, l.try(task, other), unix.EAGAIN, "the child has the description open")
			child.Exit()
			require.NoError(t, l.try(task, other))
		})
	}
}

// TestWaitEnds: Interrupt and Exit end waits for locks, and leave no trace of them.
func TestWaitEnds(t *testing.T) {
	for name, wait := range map[string]func(p *syscall.Task, fd int) error{
		"flock":    func(p *syscall.Task, fd int) error { return p.Flock(fd, unix.LOCK_SH) },
		"F_SETLKW": func(p *syscall.Task, fd int) error { return p.FcntlFlock(fd, unix.F_SETLKW, rlk(0, 1)) },
		"F_OFD_SETLKW": func(p *syscall.Task, fd int) error {
			return p.FcntlFlock(fd, unix.F_OFD_SETLKW, rlk(0, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			task := newTask(t)
			fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
			require.NoError(t, task.Flock(fd, unix.LOCK_EX))
			require.NoError(t, task.FcntlFlock(fd, unix.F_OFD_SETLK, wlk(0, 0)))
			p := task.Fork()
			defer p.Exit()
			own := mustOpen(t, p, "f", unix.O_RDWR)

			result := make(chan error)
			go func() { result <- wait(p, own) }()
			require.ErrorIs(t, interrupted(p, result), unix.EINTR)
			go func() { result <- wait(p, own) }()
			p.Exit()
			require.Contains(t, []error{unix.EINTR, unix.EBADF}, <-result, "the process has gone, before or after the call began")

			require.NoError(t, task.FcntlFlock(fd, unix.F_OFD_SETLK, unlk(0, 0)))
			require.NoError(t, task.Flock(fd, unix.LOCK_UN))
			require.NoError(t, task.FcntlFlock(fd, unix.F_SETLK, wlk(0, 0)), "nothing is left of the waits")
		})
	}
}

// interrupted interrupts p until its call ends, for nobody can see when it
// begins to wait.
func interrupted(p *syscall.Task, result chan error) error {
	for {
		select {
		case err := <-result:
			return err
		default:
			p.Interrupt()
		}
	}
}

// TestDeadlock: of processes that wait for each other in a circle, one is told.
func TestDeadlock(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		task := newTask(t)
		fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
		results := make(chan error, n)
		var all sync.WaitGroup
		procs := make([]*syscall.Task, n)
		for i := range procs {
			procs[i] = task.Fork()
			require.NoError(t, procs[i].FcntlFlock(fd, unix.F_SETLK, wlk(int64(i), 1)))
		}
		for i, p := range procs {
			all.Go(func() {
				results <- p.FcntlFlock(fd, unix.F_SETLKW, wlk(int64((i+1)%n), 1))
				p.Exit() // which gives the lock to the one that waits for it
			})
		}
		all.Wait()
		close(results)
		told := 0
		for err := range results {
			if err != nil {
				require.ErrorIs(t, err, unix.EDEADLK)
				told++
			}
		}
		require.Equal(t, 1, told, "%d processes in a circle", n)
	}
}

// TestNoFalseDeadlock: two processes that hand a lock to each other all the time never wait in a circle.
func TestNoFalseDeadlock(t *testing.T) {
	task := newTask(t)
	fd := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
	var all sync.WaitGroup
	for range 4 {
		p := task.Fork()
		all.Go(func() {
			defer p.Exit()
			for i := range 200 {
				err := p.FcntlFlock(fd, unix.F_SETLKW, wlk(0, 2))
				if err == nil && i%2 == 0 {
					err = p.FcntlFlock(fd, unix.F_SETLK, rlk(0, 1))
				}
				if err := errors.Join(err, p.FcntlFlock(fd, unix.F_SETLK, unlk(0, 0))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestExclusion: what the locks protect is touched by one at a time; the race
// detector watches.
func TestExclusion(t *testing.T) {
	for name, cmd := range map[string]int{"flock": 0, "process": unix.F_SETLKW, "description": unix.F_OFD_SETLKW} {
		t.Run(name, func(t *testing.T) {
			task := newTask(t)
			tree(t, task, "f")
			counter := 0
			var all sync.WaitGroup
			for range 4 {
				p := task.Fork()
				fd := mustOpen(t, p, "f", unix.O_RDWR)
				all.Go(func() {
					defer p.Exit()
					for range 100 {
						lock, unlock := func() error { return p.FcntlFlock(fd, cmd, wlk(0, 0)) }, func() error { return p.FcntlFlock(fd, cmd, unlk(0, 0)) }
						if cmd == 0 {
							lock, unlock = func() error { return p.Flock(fd, unix.LOCK_EX) }, func() error { return p.Flock(fd, unix.LOCK_UN) }
						}
						if err := lock(); err != nil {
							t.Error(err)
							return
						}
						counter++
						if err := unlock(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			require.Equal(t, 400, counter)
		})
	}
}

// TestLockCloseRace: a lock that is set while another thread closes the descriptor does not stay behind.
func TestLockCloseRace(t *testing.T) {
	task := newTask(t)
	watch := mustOpen(t, task, "f", unix.O_CREAT|unix.O_RDWR)
	p := task.Fork()
	defer p.Exit()
	require.NoError(t, p.Close(watch))
	for range 300 {
		fd := mustOpen(t, p, "f", unix.O_RDWR)
		var all sync.WaitGroup
		all.Go(func() {
			if err := p.FcntlFlock(fd, unix.F_SETLK, wlk(0, 0)); err != nil && !errors.Is(err, unix.EBADF) {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := p.Close(fd); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		lk := wlk(0, 0)
		require.NoError(t, task.FcntlFlock(watch, unix.F_GETLK, lk))
		require.EqualValues(t, unix.F_UNLCK, lk.Type)
	}
}
