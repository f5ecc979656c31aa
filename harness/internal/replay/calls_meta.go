package replay

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// metaCalls are the calls that ask for and change attributes.
var metaCalls = map[string]entry{
	"stat": {args: "path raw", make: func(c *call) (int64, error) {
		return c.stat(1, func(st *unix.Stat_t) error { return c.Newfstatat(unix.AT_FDCWD, c.args[0].str, st, 0) })
	}},
	"lstat": {args: "path raw", make: func(c *call) (int64, error) {
		return c.stat(1, func(st *unix.Stat_t) error {
			return c.Newfstatat(unix.AT_FDCWD, c.args[0].str, st, unix.AT_SYMLINK_NOFOLLOW)
		})
	}},
	"fstat": {args: "fd raw", make: func(c *call) (int64, error) {
		return c.stat(1, func(st *unix.Stat_t) error { return c.Fstat(c.int(0), st) })
	}},
	"newfstatat": {args: "fd path raw int", make: fstatat},
	"fstatat":    {args: "fd path raw int", make: fstatat},
	"fstatat64":  {args: "fd path raw int", make: fstatat},
	"statfs": {args: "path raw", make: func(c *call) (int64, error) {
		return c.statfs(1, func(st *unix.Statfs_t) error { return c.Statfs(c.args[0].str, st) })
	}},
	"fstatfs": {args: "fd raw", make: func(c *call) (int64, error) {
		return c.statfs(1, func(st *unix.Statfs_t) error { return c.Fstatfs(c.int(0), st) })
	}},
	"access": {args: "path int", make: func(c *call) (int64, error) {
		return done(c.Faccessat2(unix.AT_FDCWD, c.args[0].str, c.u32(1), 0))
	}},
	"faccessat":  {args: "fd path int int?", make: faccessat},
	"faccessat2": {args: "fd path int int", make: faccessat},
	"chmod":      {args: "path int", make: chmodPath},
	"fchmod":     {args: "fd int", make: func(c *call) (int64, error) { return done(c.Fchmod(c.int(0), c.u32(1))) }},
	"fchmodat": {args: "fd path int", make: func(c *call) (int64, error) {
		return done(c.Fchmodat2(c.int(0), c.args[1].str, c.u32(2), 0))
	}},
	"fchmodat2": {args: "fd path int int", make: func(c *call) (int64, error) {
		return done(c.Fchmodat2(c.int(0), c.args[1].str, c.u32(2), c.int(3)))
	}},
	"chown": {args: "path int int", make: func(c *call) (int64, error) {
		return done(c.Fchownat(unix.AT_FDCWD, c.args[0].str, c.int(1), c.int(2), 0))
	}},
	"lchown": {args: "path int int", make: func(c *call) (int64, error) {
		return done(c.Fchownat(unix.AT_FDCWD, c.args[0].str, c.int(1), c.int(2), unix.AT_SYMLINK_NOFOLLOW))
	}},
	"fchown": {args: "fd int int", make: func(c *call) (int64, error) { return done(c.Fchown(c.int(0), c.int(1), c.int(2))) }},
	"fchownat": {args: "fd path int int int", make: func(c *call) (int64, error) {
		return done(c.Fchownat(c.int(0), c.args[1].str, c.int(2), c.int(3), c.int(4)))
	}},
	"statx":     {args: "fd path int int raw", make: statx},
	"utimensat": {args: "fd path raw int", make: utimensat},
	"utime":     {args: "path raw", make: utime},
	"utimes":    {args: "path raw", make: func(c *call) (int64, error) { return c.timevals(unix.AT_FDCWD, 0) }},
	"futimesat": {args: "fd path raw", make: func(c *call) (int64, error) { return c.timevals(c.int(0), 1) }},
	"truncate":  {args: "path int", make: func(c *call) (int64, error) { return done(c.Truncate(c.args[0].str, c.args[1].num)) }},
	"umask": {args: "int", show: octal, make: func(c *call) (int64, error) {
		return int64(c.Umask(c.u32(0))), nil
	}},
}

// faccessat makes faccessat2; strace writes faccessat, which has no flags,
// with three or with four arguments.
func faccessat(c *call) (int64, error) {
	return done(c.Faccessat2(c.int(0), c.args[1].str, c.u32(2), c.int(3)))
}

// chmodPath makes chmod(2). It knows the path by which the C library changes the mode of an O_PATH
// descriptor: what it means needs no /proc.
func chmodPath(c *call) (int64, error) {
	if fd, ok := procFD(c.args[0].str); ok {
		d := c.proc.fds.get(fd)
		c.foreign = d.foreign
		if c.foreign {
			return 0, nil
		}
		return done(c.Fchmodat2(d.num, "", c.u32(1), unix.AT_EMPTY_PATH))
	}
	return done(c.Fchmodat2(unix.AT_FDCWD, c.args[0].str, c.u32(1), 0))
}

// procFD returns the descriptor that a path of the form /proc/self/fd/7 names.
func procFD(path string) (fd int, ok bool) {
	digits, ok := strings.CutPrefix(path, "/proc/self/fd/")
	if !ok {
		return 0, false
	}
	fd, err := strconv.Atoi(digits)
	return fd, err == nil && fd >= 0
}

func fstatat(c *call) (int64, error) {
	return c.stat(2, func(st *unix.Stat_t) error { return c.Newfstatat(c.int(0), c.args[1].str, st, c.int(3)) })
}
