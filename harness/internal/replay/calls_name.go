package replay

import (
	"bytes"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// nameCalls are the calls that make, remove and change names.
var nameCalls = map[string]entry{
	"mkdir": {args: "path int", make: func(c *call) (int64, error) {
		return done(c.Mkdirat(unix.AT_FDCWD, c.args[0].str, c.u32(1)))
	}},
	"mkdirat": {args: "fd path int", make: func(c *call) (int64, error) {
		return done(c.Mkdirat(c.int(0), c.args[1].str, c.u32(2)))
	}},
	"mknod": {args: "path int int?", make: func(c *call) (int64, error) {
		return done(c.Mknodat(unix.AT_FDCWD, c.args[0].str, c.u32(1), uint64(c.args[2].num)))
	}},
	"mknodat": {args: "fd path int int?", make: func(c *call) (int64, error) {
		return done(c.Mknodat(c.int(0), c.args[1].str, c.u32(2), uint64(c.args[3].num)))
	}},
	"rmdir":  {args: "path", make: func(c *call) (int64, error) { return done(c.Rmdir(c.args[0].str)) }},
	"unlink": {args: "path", make: func(c *call) (int64, error) { return done(c.Unlinkat(unix.AT_FDCWD, c.args[0].str, 0)) }},
	"unlinkat": {args: "fd path int", make: func(c *call) (int64, error) {
		return done(c.Unlinkat(c.int(0), c.args[1].str, c.int(2)))
	}},
	"rename": {args: "path path", make: func(c *call) (int64, error) {
		return done(c.Renameat2(unix.AT_FDCWD, c.args[0].str, unix.AT_FDCWD, c.args[1].str, 0))
	}},
	"renameat": {args: "fd path fd path", make: func(c *call) (int64, error) {
		return done(c.Renameat2(c.int(0), c.args[1].str, c.int(2), c.args[3].str, 0))
	}},
	"renameat2": {args: "fd path fd path int", make: func(c *call) (int64, error) {
		return done(c.Renameat2(c.int(0), c.args[1].str, c.int(2), c.args[3].str, c.u32(4)))
	}},
	"link": {args: "path path", make: func(c *call) (int64, error) {
		return done(c.Linkat(unix.AT_FDCWD, c.args[0].str, unix.AT_FDCWD, c.args[1].str, 0))
	}},
	"linkat": {args: "fd path fd path int", make: func(c *call) (int64, error) {
		return done(c.Linkat(c.int(0), c.args[1].str, c.int(2), c.args[3].str, c.int(4)))
	}},
	"symlink": {args: "path path", make: func(c *call) (int64, error) {
		return done(c.Symlinkat(c.args[0].str, unix.AT_FDCWD, c.args[1].str))
	}},
	"symlinkat": {args: "path fd path", make: func(c *call) (int64, error) {
		return done(c.Symlinkat(c.args[0].str, c.int(1), c.args[2].str))
	}},
	"readlink": {args: "path raw int", make: func(c *call) (int64, error) {
		return readlink(c, unix.AT_FDCWD, c.args[0].str, 1)
	}},
	"readlinkat": {args: "fd path raw int", make: func(c *call) (int64, error) {
		return readlink(c, c.int(0), c.args[1].str, 2)
	}},
	"chdir": {args: "path", make: func(c *call) (int64, error) { return done(c.Chdir(c.args[0].str)) }},
	"getcwd": {args: "raw int", make: func(c *call) (int64, error) {
		p, bad := c.buffer(0, c.args[1].num)
		if c.problem != nil {
			return 0, nil
		}
		n, err := c.Getcwd(p)
		if err != nil {
			return 0, err
		}
		if bad {
			return 0, unix.EFAULT
		}
		path, _, _ := bytes.Cut(p[:min(n, len(p))], []byte{0})
		c.came(0, script.Text(string(path)))
		return int64(n), nil
	}},
}

// readlink makes readlink and readlinkat; argument out is the buffer, the one
// behind it its size.
func readlink(c *call, dirfd int, path string, out int) (int64, error) {
	p, bad := c.buffer(out, c.args[out+1].num)
	if c.problem != nil {
		return 0, nil
	}
	n, err := c.Readlinkat(dirfd, path, p)
	if err != nil {
		return 0, err
	}
	if bad {
		return 0, unix.EFAULT
	}
	c.came(out, script.Text(string(p[:n])))
	return int64(n), nil
}
