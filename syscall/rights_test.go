package syscall_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWriterRights: set-id bits and O_NOATIME go by the rights of the caller, not of the opener.
func TestWriterRights(t *testing.T) {
	change := func(euid int, call func(c caller, fd int) error, want uint32) func(c caller) error {
		return func(c caller) error {
			if err := c.Fchmodat2(cwd, "f", 0o6777, 0); err != nil {
				return err
			}
			var fd int
			err := as(1000-euid, func(c caller) (err error) { fd, err = c.Openat(cwd, "f", unix.O_RDWR, 0); return err })(c)
			if err != nil {
				return err
			}
			defer c.Close(fd)
			if err := as(euid, func(c caller) error { return call(c, fd) })(c); err != nil {
				return err
			}
			var st unix.Stat_t
			if err := c.Fstat(fd, &st); err != nil || st.Mode&0o7777 != want {
				return unix.ENOTRECOVERABLE
			}
			return nil
		}
	}
	write := func(c caller, fd int) error { _, err := c.Write(fd, []byte("x")); return err }
	pwritev := func(c caller, fd int) error { _, err := c.Pwritev2(fd, [][]byte{[]byte("x")}, 0, 0); return err }
	truncate := func(c caller, fd int) error { return c.Ftruncate(fd, 5) }
	allocate := func(c caller, fd int) error { return c.Fallocate(fd, 0, 0, 100) }
	copyOver := func(c caller, fd int) error {
		if _, err := c.Pwrite64(fd, []byte("ab"), 0); err != nil {
			return err
		}
		_, err := c.CopyFileRange(fd, ptr(0), fd, ptr(1), 1, 0)
		return err
	}
	noatime := func(c caller, fd int) error { _, err := c.Fcntl(fd, unix.F_SETFL, unix.O_NOATIME); return err }
	runRows(t, []row{
		{"root writes", change(0, write, 0o6777), 0},
		{"user writes", change(1000, write, 0o777), 0},
		{"root writes segments", change(0, pwritev, 0o6777), 0},
		{"user writes segments", change(1000, pwritev, 0o777), 0},
		{"root truncates", change(0, truncate, 0o6777), 0},
		{"user truncates", change(1000, truncate, 0o777), 0},
		{"root allocates", change(0, allocate, 0o6777), 0},
		{"user allocates", change(1000, allocate, 0o777), 0},
		{"root copies", change(0, copyOver, 0o6777), 0},
		{"user copies", change(1000, copyOver, 0o777), 0},
		{"root leaves the access time", change(0, noatime, 0o6777), 0},
		{"user leaves the access time", change(1000, noatime, 0o6777), unix.EPERM},
	})
}

// TestLinkDescriptor: who may give a name to what a descriptor stands for.
func TestLinkDescriptor(t *testing.T) {
	link := func(path string, flags int) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Linkat(fd, path, cwd, "d/new", flags) }
	}
	user := func(path string, flags int, do func(c caller, fd int) error) func(c caller) error {
		return func(c caller) error {
			if err := c.Fchmodat2(cwd, "d", 0o777, 0); err != nil {
				return err
			}
			if err := c.Fchmodat2(cwd, "f", 0o666, 0); err != nil {
				return err
			}
			return as(1000, with(path, flags, do))(c)
		}
	}
	const empty = unix.AT_EMPTY_PATH
	runRows(t, []row{
		{"opener", user("f", unix.O_RDONLY, link("", empty)), 0},
		{"opener of path", user("f", unix.O_PATH, link("", empty)), 0},
		{"opener of temporary file", user("d", unix.O_TMPFILE|unix.O_RDWR, link("", empty)), 0},
		{"opener of temporary file that stays one", user("d", unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL, link("", empty)), unix.ENOENT},
		{"opener, name in directory", user(".", unix.O_RDONLY, link("f", empty)), 0},
		{"another", func(c caller) error {
			return with("f", unix.O_RDWR, func(c caller, fd int) error {
				return user("f", unix.O_RDONLY, func(c caller, _ int) error { return link("", empty)(c, fd) })(c)
			})(c)
		}, unix.ENOENT},
		{"another, name in directory", func(c caller) error {
			return with(".", unix.O_RDONLY, func(c caller, fd int) error {
				return user("f", unix.O_RDONLY, func(c caller, _ int) error { return link("f", empty)(c, fd) })(c)
			})(c)
		}, unix.ENOENT},
		{"another, name in directory without flag", func(c caller) error {
			return with(".", unix.O_RDONLY, func(c caller, fd int) error {
				return user("f", unix.O_RDONLY, func(c caller, _ int) error { return link("f", 0)(c, fd) })(c)
			})(c)
		}, 0},
		{"opener, after a change of user and back", user("f", unix.O_RDONLY, func(c caller, fd int) error {
			if err := as(0, func(caller) error { return nil })(c); err != nil {
				return err
			}
			if err := c.Setresuid(-1, 1000, -1); err != nil {
				return err
			}
			return link("", empty)(c, fd)
		}), unix.ENOENT},
		{"opener, after a change to the same", user("f", unix.O_RDONLY, func(c caller, fd int) error {
			if err := c.Setresuid(-1, 1000, -1); err != nil {
				return err
			}
			return link("", empty)(c, fd)
		}), 0},
		{"root", user("f", unix.O_RDONLY, func(c caller, fd int) error {
			return as(0, func(c caller) error { return link("", empty)(c, fd) })(c)
		}), 0},
	})

	parent := newTask(t)
	require.NoError(t, parent.Chmod("/", 0o777))
	require.NoError(t, parent.Setresuid(1000, 1000, 1000))
	fd := mustOpen(t, parent, "f", unix.O_CREAT|unix.O_RDWR)
	child := parent.Fork()
	require.ErrorIs(t, child.Linkat(fd, "", cwd, "new", empty), unix.ENOENT, "a child is another process")
	child.Exit()
	require.NoError(t, parent.Linkat(fd, "", cwd, "new", empty))
}

// TestPathDescriptors: what an O_PATH descriptor is good for and what not.
func TestPathDescriptors(t *testing.T) {
	path := func(do func(c caller, fd int) error) func(c caller) error { return with("f", unix.O_PATH, do) }
	runRows(t, []row{
		{"fstat", path(func(c caller, fd int) error { return c.Fstat(fd, new(unix.Stat_t)) }), 0},
		{"dup", path(func(c caller, fd int) error {
			fd2, err := c.Dup(fd)
			if err != nil {
				return err
			}
			return c.Close(fd2)
		}), 0},
		{"chown by empty path", path(func(c caller, fd int) error { return c.Fchownat(fd, "", 1, 1, unix.AT_EMPTY_PATH) }), 0},
		{"chmod by empty path", path(func(c caller, fd int) error { return c.Fchmodat2(fd, "", 0o600, unix.AT_EMPTY_PATH) }), 0},
		{"access by empty path", path(func(c caller, fd int) error { return c.Faccessat2(fd, "", unix.R_OK, unix.AT_EMPTY_PATH) }), 0},
		{"times by empty path", path(func(c caller, fd int) error { return c.Utimensat(fd, "", nil, unix.AT_EMPTY_PATH) }), 0},
		{"truncate", path(func(c caller, fd int) error { return c.Ftruncate(fd, 0) }), unix.EBADF},
		{"allocate", path(func(c caller, fd int) error { return c.Fallocate(fd, 0, 0, 1) }), unix.EBADF},
		{"syncfs", path(func(c caller, fd int) error { return c.Syncfs(fd) }), unix.EBADF},
		{"flock", path(func(c caller, fd int) error { return c.Flock(fd, unix.LOCK_SH) }), unix.EBADF},
		{"record lock", path(func(c caller, fd int) error { return c.FcntlFlock(fd, unix.F_GETLK, &unix.Flock_t{}) }), unix.EBADF},
		{"segments", path(func(c caller, fd int) error { _, err := c.Preadv2(fd, nil, 0, 0); return err }), unix.EBADF},
	})
}
