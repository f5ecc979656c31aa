package syscall_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestOldTimes(t *testing.T) {
	utimes := func(path string, usec int64) func(c caller) error {
		return func(c caller) error { return c.Utimes(path, &[2]unix.Timeval{{Sec: 1}, {Sec: 2, Usec: usec}}) }
	}
	futimes := func(c caller, fd int) error { return c.Futimes(fd, &[2]unix.Timeval{{Sec: 1}, {Sec: 2, Usec: 5}}) }
	check := func(call func(c caller) error, atime, mtime unix.Timespec) func(c caller) error {
		return func(c caller) error {
			if err := call(c); err != nil {
				return err
			}
			var st unix.Stat_t
			if err := c.Newfstatat(cwd, "f", &st, 0); err != nil || st.Atim != atime || st.Mtim != mtime {
				return unix.ENOTRECOVERABLE
			}
			return nil
		}
	}
	one, two := unix.Timespec{Sec: 1}, unix.Timespec{Sec: 2, Nsec: 5000}
	runRows(t, []row{
		{"utime", check(func(c caller) error { return c.Utime("f", &unix.Utimbuf{Actime: 1, Modtime: 2}) }, one, unix.Timespec{Sec: 2}), 0},
		{"utime now", func(c caller) error { return c.Utime("f", nil) }, 0},
		{"utime missing", func(c caller) error { return c.Utime("missing", nil) }, unix.ENOENT},
		{"utime another's", as(1000, func(c caller) error { return c.Utime("f", &unix.Utimbuf{}) }), unix.EPERM},
		{"utime another's, now", as(1000, func(c caller) error { return c.Utime("f", nil) }), unix.EACCES},
		{"utimes", check(utimes("f", 5), one, two), 0},
		{"utimes through link", check(utimes("ln", 5), one, two), 0},
		{"utimes too many microseconds, missing", utimes("missing", 1e6), unix.EINVAL},
		{"utimes negative microseconds", utimes("f", -1), unix.EINVAL},
		{"utimes now", func(c caller) error { return c.Utimes("f", nil) }, 0},
		{"futimesat", check(with(".", unix.O_RDONLY, func(c caller, fd int) error {
			return c.Futimesat(fd, "f", &[2]unix.Timeval{{Sec: 1}, {Sec: 2, Usec: 5}})
		}), one, two), 0},
		{"futimesat bad descriptor", func(c caller) error { return c.Futimesat(-1, "f", nil) }, unix.EBADF},
		{"futimesat empty path", with("f", unix.O_RDONLY, func(c caller, fd int) error { return c.Futimesat(fd, "", nil) }), unix.ENOENT},
		{"futimes", check(with("f", unix.O_RDONLY, futimes), one, two), 0},
		{"futimes path descriptor", with("f", unix.O_PATH, futimes), unix.EBADF},
		{"futimes too many microseconds, bad descriptor", func(c caller) error {
			return c.Futimes(-1, &[2]unix.Timeval{{Usec: 1e6}, {}})
		}, unix.EINVAL},
	})
}
