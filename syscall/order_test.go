package syscall_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestOrder: of several errors the one that Linux finds first.
func TestOrder(t *testing.T) {
	chmod := func(path string, mode uint32) func(c caller) error {
		return func(c caller) error { return c.Fchmodat2(cwd, path, mode, 0) }
	}
	link := func(from, to string) func(c caller) error {
		return func(c caller) error { return c.Linkat(cwd, from, cwd, to, 0) }
	}
	// In a directory that has been removed.
	dead := func(call func(c caller) error) func(c caller) error {
		return after(func(c caller) error { return c.Chdir("empty") }, func(c caller) error { return c.Unlinkat(cwd, "/empty", unix.AT_REMOVEDIR) }, call)
	}
	// In a read-only mount.
	readOnly := func(call func(c caller) error) func(c caller) error {
		return after(func(c caller) error { return c.Mount("none", "/empty", "ramfs", unix.MS_RDONLY, "") }, call)
	}
	symlink := func(c caller) error { return c.Symlinkat("x", cwd, "d/x") }
	socket := func(c caller) error { return c.Mknodat(cwd, "d/x", unix.S_IFSOCK|0o666, 0) }
	createOver := open("d/x", unix.O_CREAT|unix.O_RDWR|unix.O_NOFOLLOW)
	chownNothing := func(path string) func(c caller) error {
		return func(c caller) error { return c.Fchownat(cwd, path, -1, -1, 0) }
	}
	long := func(dir string) string { return dir + name256 }
	runRows(t, []row{
		{"removed directory before long name: open", dead(open(long(""), unix.O_RDONLY)), unix.ENOENT},
		{"removed directory before long name: create", dead(open(long(""), unix.O_CREAT)), unix.ENOENT},
		{"removed directory before long name: link", dead(link("/f", long(""))), unix.ENOENT},
		{"removed directory before long name: mkdir", dead(func(c caller) error { return c.Mkdirat(cwd, long(""), 0o755) }), unix.ENOENT},
		{"removed directory before long name: mknod", dead(func(c caller) error { return c.Mknodat(cwd, long(""), unix.S_IFREG, 0) }), unix.ENOENT},
		{"removed directory before long name: symlink", dead(func(c caller) error { return c.Symlinkat("x", cwd, long("")) }), unix.ENOENT},
		{"removed directory before long name: unlink", dead(func(c caller) error { return c.Unlinkat(cwd, long(""), 0) }), unix.ENOENT},
		{"removed directory before long name: rename", dead(func(c caller) error { return c.Renameat2(cwd, "/f", cwd, long(""), 0) }), unix.ENOENT},
		{"unnamed file in a removed directory", dead(open(".", unix.O_TMPFILE|unix.O_RDWR)), 0},

		{"long name before read-only: mkdir", readOnly(func(c caller) error { return c.Mkdirat(cwd, long("empty/"), 0o755) }), unix.ENAMETOOLONG},
		{"read-only before long name: unlink", readOnly(func(c caller) error { return c.Unlinkat(cwd, long("empty/"), 0) }), unix.EROFS},
		{"read-only before long name: rename", readOnly(func(c caller) error {
			return c.Renameat2(cwd, "empty/x", cwd, long("empty/"), 0)
		}), unix.EROFS},

		{"place of a link before directory", after(func(c caller) error { return c.Fchownat(cwd, "empty", 1000, 1000, 0) }, as(1000, link("empty", "d/new"))), unix.EACCES},
		{"another's directory before place of a link", as(1000, link("empty", "d/new")), unix.EPERM},

		{"create over another's link in a sticky directory", after(chmod("d", 0o1777), as(1000, symlink), createOver), unix.EACCES},
		{"create over the directory owner's link in a sticky directory", after(chmod("d", 0o1777), symlink, as(1000, createOver)), unix.ELOOP},
		{"create exclusively over another's socket in a sticky directory", after(chmod("d", 0o1777), as(1000, socket), open("d/x", unix.O_CREAT|unix.O_EXCL)), unix.EEXIST},
		{"create over another's socket in a sticky directory", after(chmod("d", 0o1777), as(1000, socket), createOver), unix.EACCES},
		{"create over another's socket in a group's sticky directory", after(chmod("d", 0o777), as(1000, socket), chmod("d", 0o1775), createOver), unix.ENXIO},
		{"open another's socket in a sticky directory", after(chmod("d", 0o1777), as(1000, socket), open("d/x", unix.O_RDWR)), unix.ENXIO},

		{"chown of nothing of another's file", as(1000, chownNothing("f")), 0},
		{"chown of nothing of another's set-id file", after(chmod("f", 0o4755), as(1000, chownNothing("f"))), unix.EPERM},
		{"chown of nothing of another's set-group-ID directory", after(chmod("d", 0o2755), as(1000, chownNothing("d"))), 0},

		{"the set-group-ID bit is lost before the umask", after(func(c caller) error { return c.Fchownat(cwd, "d", -1, 2000, 0) }, chmod("d", 0o2777), func(c caller) error {
			c.Umask(0o010)
			if err := as(1000, func(c caller) error { return c.Mknodat(cwd, "d/new", 0o2777, 0) })(c); err != nil {
				return err
			}
			return hasMode(c, "d/new", 0o767)
		}), 0},
	})
}

func hasMode(c caller, path string, want uint32) error {
	var st unix.Stat_t
	if err := c.Newfstatat(cwd, path, &st, 0); err != nil {
		return err
	}
	if st.Mode&0o7777 != want {
		return unix.ENOTRECOVERABLE
	}
	return nil
}
