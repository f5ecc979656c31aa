package permtest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"cloister/internal/kernel"
)

// content is what every regular file holds at first.
const content = "hello"

// prepare makes the files of all cells below dir, as root. The umask of the
// process must be 0.
func prepare(dir string, cells []*cell) error {
	base, err := openBase(dir)
	if err != nil {
		return err
	}
	defer unix.Close(base)
	return each(len(cells), func(i int) error {
		if err := cells[i].prepare(base, fmt.Sprintf("%d/", i)); err != nil {
			return fmt.Errorf("prepare cell %d: %w", i, err)
		}
		return nil
	})
}

// each calls f for the numbers below n, some at a time, and returns an error if
// there is one.
func each(n int, f func(i int) error) error {
	const workers = 4
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = f(i)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (c *cell) prepare(base int, at string) error {
	if err := unix.Mkdirat(base, at, 0o755); err != nil {
		return err
	}
	for _, d := range []struct {
		dir, file         *spec
		dirName, fileName string
	}{{&c.parent, &c.object, "p", "p/o"}, {&c.dest, &c.target, "q", "q/t"}} {
		if d.dir.kind == 0 {
			continue
		}
		if err := d.dir.make(base, at+d.dirName); err != nil {
			return err
		}
		if err := d.file.make(base, at+d.fileName); err != nil {
			return err
		}
	}
	return nil
}

func openBase(dir string) (int, error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return -1, err
	}
	return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// make makes a file as s says.
func (s *spec) make(base int, path string) error {
	var err error
	switch s.kind {
	case 0:
		return nil
	case unix.S_IFDIR:
		if err = unix.Mkdirat(base, path, s.mode&0o777); err == nil && s.full {
			err = unix.Mkdirat(base, path+"/sub", 0o755)
		}
	case unix.S_IFLNK:
		err = unix.Symlinkat("nowhere", base, path)
	default:
		var fd int
		if fd, err = unix.Openat(base, path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, s.mode&0o777); err == nil {
			_, err = unix.Write(fd, []byte(content))
			unix.Close(fd)
		}
	}
	if err == nil && (s.uid != 0 || s.gid != 0) {
		err = unix.Fchownat(base, path, s.uid, s.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && s.mode&^0o777 != 0 {
		err = unix.Fchmodat(base, path, s.mode, 0)
	}
	return err
}

// perform makes the calls of all cells below dir and returns what they did.
func perform(dir string, cells []*cell) ([]string, error) {
	base, err := openBase(dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(base)
	began := waitForTick()
	errs := make([]error, len(cells))
	for _, a := range actors {
		err := a.do(func() {
			for i, c := range cells {
				if c.actor == a {
					errs[i] = c.call.do(base, fmt.Sprintf("%d/", i))
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("become %s: %w", a.name, err)
		}
	}
	results := make([]string, len(cells))
	err = each(len(cells), func(i int) error {
		results[i] = cells[i].describe(base, fmt.Sprintf("%d/", i), errs[i], began)
		return nil
	})
	return results, err
}

// waitForTick waits until the clock that file systems stamp with goes on, so
// that each change of a time shows, and returns the time. A first tick may lag
// behind what finer clocks have shown already.
func waitForTick() (now unix.Timespec) {
	now = coarseTime()
	for range 2 {
		for before := now; now == before; {
			now = coarseTime()
		}
	}
	return now
}

func coarseTime() (ts unix.Timespec) {
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) // cannot fail
	return ts
}

// do calls f on a thread with the ids of a and the umask 022.
func (a *actor) do(f func()) error {
	return kernel.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		unix.Umask(0o022)
		if err := a.become(); err != nil {
			return err
		}
		f()
		return nil
	})
}

// become changes the ids of this thread only, which the wrappers of package
// unix would not.
func (a *actor) become() error {
	groups := append([]uint32{0}, a.groups...)
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)-1), uintptr(unsafe.Pointer(unsafe.SliceData(groups[1:]))), 0); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(a.gid), uintptr(a.gid), uintptr(a.gid)); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(a.uid), uintptr(a.uid), uintptr(a.uid)); e != 0 {
		return e
	}
	return nil
}

// describe says what a call has returned, and what the files are after it.
func (c *cell) describe(base int, at string, err error, began unix.Timespec) string {
	text := "0"
	if e, ok := err.(unix.Errno); ok {
		text = unix.ErrnoName(e)
	} else if err != nil {
		text = err.Error()
	}
	for _, name := range c.names() {
		var st unix.Stat_t
		if err := unix.Fstatat(base, at+name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			text += fmt.Sprintf("; no %s", name)
			continue
		}
		text += fmt.Sprintf("; %s %s", name, attrText(&st))
		if !earlier(st.Mtim, began) {
			text += " mtime changed"
		}
		if !earlier(st.Ctim, began) {
			text += " ctime changed"
		}
	}
	return text
}

// names are the files that a call can concern.
func (c *cell) names() []string {
	names := []string{"p"}
	if c.object.kind != 0 {
		names = append(names, "p/o")
	}
	if c.dest.kind == 0 {
		return append(names, "p/n")
	}
	names = append(names, "q", "q/n")
	if c.target.kind != 0 {
		return append(names, "q/t")
	}
	return append(names, "p/n")
}

func earlier(a, b unix.Timespec) bool {
	return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec
}

func attrText(st *unix.Stat_t) string {
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	text := fmt.Sprintf("%#o %d:%d nlink=%d size=%d", st.Mode, st.Uid, st.Gid, st.Nlink, size)
	if st.Mtim.Sec < 1e9 {
		text += fmt.Sprintf(" mtime=%d", st.Mtim.Sec) // a call has set it
	}
	return text
}
