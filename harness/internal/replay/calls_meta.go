package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
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
	"chmod": {args: "path int", make: func(c *call) (int64, error) {
		return done(c.Fchmodat2(unix.AT_FDCWD, c.args[0].str, c.u32(1), 0))
	}},
	"fchmod": {args: "fd int", make: func(c *call) (int64, error) { return done(c.Fchmod(c.int(0), c.u32(1))) }},
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
	"utimensat": {args: "fd path raw int", make: utimensat},
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

func fstatat(c *call) (int64, error) {
	return c.stat(2, func(st *unix.Stat_t) error { return c.Newfstatat(c.int(0), c.args[1].str, st, c.int(3)) })
}

// utimensat remembers the times it sets: later stats may compare them.
func utimensat(c *call) (int64, error) {
	ts := c.times(c.args[2].v)
	if c.problem != "" {
		return 0, nil
	}
	null := c.args[1].bad
	dirfd, flags := c.int(0), c.int(3)
	var err error
	switch {
	case null && dirfd != unix.AT_FDCWD && flags != 0: // fs/utimes.c: do_utimes_fd
		err = unix.EINVAL
	case null && dirfd != unix.AT_FDCWD:
		err = c.Futimens(dirfd, ts)
	default:
		err = c.Utimensat(dirfd, c.args[1].str, ts, flags)
	}
	if err == nil && ts != nil {
		for _, t := range ts {
			c.run.timesSet[t] = true
		}
	}
	return 0, err
}

// times reads NULL, [UTIME_NOW, UTIME_OMIT] or [{tv_sec=1, tv_nsec=2}, ...].
func (c *call) times(v script.Value) *[2]unix.Timespec {
	if _, null := v.(script.Null); null {
		return nil
	}
	a, ok := v.(script.Array)
	if !ok || len(a.Elems) != 2 {
		c.cannot("two times or NULL expected, not %s", script.Format(v))
		return nil
	}
	var ts [2]unix.Timespec
	for i, e := range a.Elems {
		switch x := e.(type) {
		case script.Const:
			ts[i].Nsec = c.number(x)
		case script.Struct:
			sec, nsec := x.Get("tv_sec"), x.Get("tv_nsec")
			if sec == nil || nsec == nil {
				c.cannot("{tv_sec=..., tv_nsec=...} expected, not %s", script.Format(e))
				return nil
			}
			ts[i] = unix.Timespec{Sec: c.number(sec), Nsec: c.number(nsec)}
		default:
			c.cannot("a time expected, not %s", script.Format(e))
			return nil
		}
	}
	return &ts
}
