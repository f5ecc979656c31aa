package syscall_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinks(t *testing.T) {
	link := func(from, to string, flags int) func(c caller) error {
		return func(c caller) error { return c.Linkat(cwd, from, cwd, to, flags) }
	}
	symlink := func(target, path string) func(c caller) error {
		return func(c caller) error { return c.Symlinkat(target, cwd, path) }
	}
	readlink := func(path string, n int) func(c caller) error {
		return func(c caller) error { _, err := c.Readlinkat(cwd, path, make([]byte, n)); return err }
	}
	runRows(t, []row{
		{"link directory", link("d", "new", 0), unix.EPERM},
		{"link onto existing", link("f", "g", 0), unix.EEXIST},
		{"link of link", link("dang", "new", 0), 0},
		{"link of followed dangling link", link("dang", "new", unix.AT_SYMLINK_FOLLOW), unix.ENOENT},
		{"link to name with slash", link("f", "new/", 0), unix.ENOENT},
		{"link of file with slash", link("f/", "new", 0), unix.ENOTDIR},
		{"link of empty", link("", "new", 0), unix.ENOENT},
		{"link bad flag", link("f", "new", 1), unix.EINVAL},
		{"link of descriptor", with("f", unix.O_RDONLY, func(c caller, fd int) error {
			return c.Linkat(fd, "", cwd, "new", unix.AT_EMPTY_PATH)
		}), 0},
		{"link of unlinked file", with("f", unix.O_RDONLY, func(c caller, fd int) error {
			if err := c.Unlinkat(cwd, "f", 0); err != nil {
				return err
			}
			return c.Linkat(fd, "", cwd, "new", unix.AT_EMPTY_PATH)
		}), unix.ENOENT},
		{"link of temporary file", with("d", unix.O_TMPFILE|unix.O_RDWR, func(c caller, fd int) error {
			return c.Linkat(fd, "", cwd, "new", unix.AT_EMPTY_PATH)
		}), 0},
		{"link old walk before new descriptor", func(c caller) error { return c.Linkat(cwd, "missing", -1, "y", 0) }, unix.ENOENT},
		{"link new descriptor", func(c caller) error { return c.Linkat(cwd, "f", -1, "y", 0) }, unix.EBADF},
		{"symlink to nothing", symlink("", "new"), unix.ENOENT},
		{"symlink longest", symlink(path4095, "new"), 0},
		{"symlink too long", symlink(path4096, "new"), unix.ENAMETOOLONG},
		{"symlink existing", symlink("x", "f"), unix.EEXIST},
		{"symlink with slash", symlink("x", "new/"), unix.ENOENT},
		{"readlink of file", readlink("f", 10), unix.EINVAL},
		{"readlink into nothing", readlink("ln", 0), unix.EINVAL},
		{"readlink into nothing, missing", readlink("missing", 0), unix.EINVAL},
		{"readlink of empty path", readlink("", 10), unix.ENOENT},
		{"readlink of path descriptor", with("ln", unix.O_PATH|unix.O_NOFOLLOW, func(c caller, fd int) error {
			_, err := c.Readlinkat(fd, "", make([]byte, 1))
			return err
		}), 0},
		{"readlink of file descriptor", with("f", unix.O_RDONLY, func(c caller, fd int) error {
			_, err := c.Readlinkat(fd, "", make([]byte, 1))
			return err
		}), unix.ENOENT},
	})
}

func TestAttributes(t *testing.T) {
	stat := func(dirfd int, path string, flags int) func(c caller) error {
		return func(c caller) error { return c.Newfstatat(dirfd, path, new(unix.Stat_t), flags) }
	}
	access := func(path string, mode uint32, flags int) func(c caller) error {
		return func(c caller) error { return c.Faccessat2(cwd, path, mode, flags) }
	}
	chmod := func(path string, flags int) func(c caller) error {
		return func(c caller) error { return c.Fchmodat2(cwd, path, 0o600, flags) }
	}
	chown := func(path string, uid, flags int) func(c caller) error {
		return func(c caller) error { return c.Fchownat(cwd, path, uid, -1, flags) }
	}
	utimens := func(path string, ts *[2]unix.Timespec, flags int) func(c caller) error {
		return func(c caller) error { return c.Utimensat(cwd, path, ts, flags) }
	}
	set := &[2]unix.Timespec{{Sec: 1}, {Sec: 2}}
	omit := &[2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	bad := &[2]unix.Timespec{{Nsec: 1e9}, {}}
	runRows(t, []row{
		{"stat file with slash", stat(cwd, "f/", 0), unix.ENOTDIR},
		{"stat link to file with slash", stat(cwd, "ln/", 0), unix.ENOTDIR},
		{"lstat dangling", stat(cwd, "dang", unix.AT_SYMLINK_NOFOLLOW), 0},
		{"stat dangling", stat(cwd, "dang", 0), unix.ENOENT},
		{"stat unknown flag", stat(cwd, "missing", 1), unix.EINVAL},
		{"stat unknown flag, long path", stat(cwd, path4096, 1), unix.EINVAL},
		{"stat empty path", stat(cwd, "", 0), unix.ENOENT},
		{"stat empty path allowed", stat(cwd, "", unix.AT_EMPTY_PATH), 0},
		{"stat empty path, bad descriptor", stat(-1, "", unix.AT_EMPTY_PATH), unix.EBADF},
		{"access unknown bits", access("missing", 8, 0), unix.EINVAL},
		{"access unknown flag", access("missing", 0, 1), unix.EINVAL},
		{"access execute for root", access("f", unix.X_OK, 0), unix.EACCES},
		{"access write for root", access("f", unix.W_OK, 0), 0},
		{"access search for root", access("d", unix.X_OK, 0), 0},
		{"access by real user", as(1000, access("f", unix.W_OK, 0)), 0},
		{"access by effective user", as(1000, access("f", unix.W_OK, unix.AT_EACCESS)), unix.EACCES},
		{"chmod link itself", chmod("ln", unix.AT_SYMLINK_NOFOLLOW), unix.EOPNOTSUPP},
		{"chmod bad flag", chmod("missing", 1), unix.EINVAL},
		{"chmod another's", as(1000, chmod("f", 0)), unix.EPERM},
		{"chmod path descriptor", with("f", unix.O_PATH, func(c caller, fd int) error { return c.Fchmod(fd, 0) }), unix.EBADF},
		{"chmod reading descriptor", with("f", unix.O_RDONLY, func(c caller, fd int) error { return c.Fchmod(fd, 0) }), 0},
		{"chown by user", as(1000, chown("f", 1000, 0)), unix.EPERM},
		{"chown dangling link itself", chown("dang", 5, unix.AT_SYMLINK_NOFOLLOW), 0},
		{"chown to id below -1", chown("f", -100, 0), 0},
		{"chown empty path", chown("", 5, 0), unix.ENOENT},
		{"chown path descriptor", with("f", unix.O_PATH, func(c caller, fd int) error { return c.Fchown(fd, 1, 1) }), unix.EBADF},
		{"utimens omit both", utimens("missing", omit, 1), 0},
		{"utimens bad nanoseconds", utimens("f", bad, 0), unix.EINVAL},
		{"utimens bad nanoseconds, missing", utimens("missing", bad, 0), unix.ENOENT},
		{"utimens bad flag", utimens("missing", set, 1), unix.EINVAL},
		{"utimens another's, set", as(1000, utimens("f", set, 0)), unix.EPERM},
		{"utimens another's, now", as(1000, utimens("f", nil, 0)), unix.EACCES},
		{"utimens link itself", utimens("dang", set, unix.AT_SYMLINK_NOFOLLOW), 0},
	})
}

func TestDescriptors(t *testing.T) {
	getdents := func(n int) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Getdents64(fd, make([]byte, n)); return err }
	}
	fcntl := func(cmd, arg int) func(c caller, fd int) error {
		return func(c caller, fd int) error {
			n, err := c.Fcntl(fd, cmd, arg)
			if err == nil && (cmd == unix.F_DUPFD || cmd == unix.F_DUPFD_CLOEXEC) {
				return c.Close(n)
			}
			return err
		}
	}
	removed := func(call func(c caller, fd int) error) func(c caller) error {
		return with("empty", unix.O_RDONLY, func(c caller, fd int) error {
			if err := c.Unlinkat(cwd, "empty", unix.AT_REMOVEDIR); err != nil {
				return err
			}
			return call(c, fd)
		})
	}
	runRows(t, []row{
		{"getdents small", with("d", unix.O_RDONLY, getdents(4)), unix.EINVAL},
		{"getdents of file", with("f", unix.O_RDONLY, getdents(400)), unix.ENOTDIR},
		{"getdents of removed directory", removed(getdents(400)), unix.ENOENT},
		{"getdents path descriptor", with("d", unix.O_PATH, getdents(400)), unix.EBADF},
		{"fstat removed directory", removed(func(c caller, fd int) error { return c.Fstat(fd, new(unix.Stat_t)) }), 0},
		{"fchdir to file", with("f", unix.O_RDONLY, func(c caller, fd int) error { return c.Fchdir(fd) }), unix.ENOTDIR},
		{"fchdir to path descriptor", with("d", unix.O_PATH, func(c caller, fd int) error { return c.Fchdir(fd) }), 0},
		{"fsync file for reading", with("f", unix.O_RDONLY, func(c caller, fd int) error { return c.Fsync(fd) }), 0},
		{"fsync directory", with("d", unix.O_RDONLY, func(c caller, fd int) error { return c.Fsync(fd) }), 0},
		{"fsync path descriptor", with("f", unix.O_PATH, func(c caller, fd int) error { return c.Fsync(fd) }), unix.EBADF},
		{"close bad", func(c caller) error { return c.Close(-1) }, unix.EBADF},
		{"dup bad", func(c caller) error { _, err := c.Dup(-1); return err }, unix.EBADF},
		{"dupfd negative", with("f", unix.O_RDONLY, fcntl(unix.F_DUPFD, -1)), unix.EINVAL},
		{"dupfd past limit", with("f", unix.O_RDONLY, fcntl(unix.F_DUPFD, 1<<30)), unix.EINVAL},
		{"dupfd path descriptor", with("f", unix.O_PATH, fcntl(unix.F_DUPFD, 0)), 0},
		{"fcntl unknown", with("f", unix.O_RDONLY, fcntl(9999, 0)), unix.EINVAL},
		{"setfl path descriptor", with("f", unix.O_PATH, fcntl(unix.F_SETFL, 0)), unix.EBADF},
		{"chdir to file", func(c caller) error { return c.Chdir("f") }, unix.ENOTDIR},
		{"chdir without permission", func(c caller) error {
			if err := c.Fchmodat2(cwd, "d", 0o600, 0); err != nil {
				return err
			}
			return as(1000, func(c caller) error { return c.Chdir("d") })(c)
		}, unix.EACCES},
		{"getcwd small", func(c caller) error { _, err := c.Getcwd(make([]byte, 1)); return err }, unix.ERANGE},
		{"getcwd no buffer", func(c caller) error { _, err := c.Getcwd(nil); return err }, unix.ERANGE},
		{"getcwd removed", removed(func(c caller, fd int) error {
			if err := c.Fchdir(fd); err != nil {
				return err
			}
			_, err := c.Getcwd(make([]byte, 100))
			return err
		}), unix.ENOENT},
		{"stat removed working directory", removed(func(c caller, fd int) error {
			if err := c.Fchdir(fd); err != nil {
				return err
			}
			return c.Newfstatat(cwd, ".", new(unix.Stat_t), 0)
		}), 0},
	})
}

func TestMknod(t *testing.T) {
	mknod := func(path string, mode uint32, dev uint64) func(c caller) error {
		return func(c caller) error { return c.Mknodat(cwd, path, mode|0o644, dev) }
	}
	runRows(t, []row{
		{"regular", mknod("new", 0, 0), 0},
		{"fifo", mknod("new", unix.S_IFIFO, 0), 0},
		{"directory", mknod("new", unix.S_IFDIR, 0), unix.EPERM},
		{"directory, bad path", mknod("", unix.S_IFDIR, 0), unix.EPERM},
		{"link", mknod("new", unix.S_IFLNK, 0), unix.EINVAL},
		{"device by user", as(1000, mknod("new", unix.S_IFBLK, unix.Mkdev(8, 1))), unix.EACCES},
		{"existing", mknod("f", 0, 0), unix.EEXIST},
		{"fifo with slash", mknod("new/", unix.S_IFIFO, 0), unix.ENOENT},
	})
}
