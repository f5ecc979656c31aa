package replay

import (
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// xattrCalls are the twelve calls of xattr(7).
var xattrCalls = map[string]entry{
	"getxattr": {args: "path text raw int", make: func(c *call) (int64, error) {
		return c.getxattr(func(attr string, p []byte) (int, error) { return c.Getxattr(c.args[0].str, attr, p) })
	}},
	"lgetxattr": {args: "path text raw int", make: func(c *call) (int64, error) {
		return c.getxattr(func(attr string, p []byte) (int, error) { return c.Lgetxattr(c.args[0].str, attr, p) })
	}},
	"fgetxattr": {args: "fd text raw int", make: func(c *call) (int64, error) {
		return c.getxattr(func(attr string, p []byte) (int, error) { return c.Fgetxattr(c.int(0), attr, p) })
	}},
	"setxattr": {args: "path text raw int int", make: func(c *call) (int64, error) {
		return c.setxattr(func(attr string, p []byte, flags int) error { return c.Setxattr(c.args[0].str, attr, p, flags) })
	}},
	"lsetxattr": {args: "path text raw int int", make: func(c *call) (int64, error) {
		return c.setxattr(func(attr string, p []byte, flags int) error { return c.Lsetxattr(c.args[0].str, attr, p, flags) })
	}},
	"fsetxattr": {args: "fd text raw int int", make: func(c *call) (int64, error) {
		return c.setxattr(func(attr string, p []byte, flags int) error { return c.Fsetxattr(c.int(0), attr, p, flags) })
	}},
	"listxattr": {args: "path raw int", make: func(c *call) (int64, error) {
		return c.listxattr(func(p []byte) (int, error) { return c.Listxattr(c.args[0].str, p) })
	}},
	"llistxattr": {args: "path raw int", make: func(c *call) (int64, error) {
		return c.listxattr(func(p []byte) (int, error) { return c.Llistxattr(c.args[0].str, p) })
	}},
	"flistxattr": {args: "fd raw int", make: func(c *call) (int64, error) {
		return c.listxattr(func(p []byte) (int, error) { return c.Flistxattr(c.int(0), p) })
	}},
	"removexattr": {args: "path text", make: func(c *call) (int64, error) {
		return c.removexattr(func(attr string) error { return c.Removexattr(c.args[0].str, attr) })
	}},
	"lremovexattr": {args: "path text", make: func(c *call) (int64, error) {
		return c.removexattr(func(attr string) error { return c.Lremovexattr(c.args[0].str, attr) })
	}},
	"fremovexattr": {args: "fd text", make: func(c *call) (int64, error) {
		return c.removexattr(func(attr string) error { return c.Fremovexattr(c.int(0), attr) })
	}},
}

// getxattr reads the attribute that argument 1 names into argument 2, whose size is
// argument 3; with the size 0 only the length is asked for.
func (c *call) getxattr(get func(attr string, p []byte) (int, error)) (int64, error) {
	p, bad := c.buffer(2, c.args[3].num)
	switch {
	case c.problem != nil:
		return 0, nil
	case c.args[1].bad:
		return 0, unix.EFAULT // the name is copied before the path (fs/xattr.c)
	}
	n, err := get(c.args[1].str, p)
	if want := c.src.Result; c.run.cfg.Below != "" && want.Kind == script.Fails && noXattr[want.Errno] && noXattr[script.ErrnoName(errno(err))] {
		for _, space := range []string{"system.", "security."} {
			if strings.HasPrefix(c.args[1].str, space) {
				err = unix.ENODATA
				if want.Errno == "EOPNOTSUPP" {
					err = unix.EOPNOTSUPP
				}
			}
		}
	}
	switch {
	case err != nil:
		return 0, err
	case len(p) == 0:
		return int64(n), nil
	case bad:
		return 0, unix.EFAULT
	}
	c.came(2, script.Text(string(p[:n])))
	return int64(n), nil
}

// noXattr are the two ways to say that a file has no such attribute. Of those that
// belong to the system, the file system that a program was recorded on may have
// had others to offer.
var noXattr = map[string]bool{"ENODATA": true, "EOPNOTSUPP": true}

// setxattr sets the attribute that argument 1 names to argument 2, whose size is
// argument 3; argument 4 holds the flags.
func (c *call) setxattr(set func(attr string, p []byte, flags int) error) (int64, error) {
	size := c.args[3].num
	if size > maxBuffer {
		size = maxBuffer // larger than every system takes, whatever it is
	}
	var p []byte
	bad := false
	if s, isText := c.args[2].v.(script.String); isText && size > int64(len(s.Text)) && size > xattrSizeMax {
		p = make([]byte, size) // E2BIG comes before the value is looked at
	} else {
		p, bad = c.data(c.args[2].v, size)
	}
	switch {
	case c.problem != nil:
		return 0, nil
	case c.args[1].bad || bad && size <= xattrSizeMax:
		return 0, unix.EFAULT
	}
	return done(set(c.args[1].str, p, c.int(4)))
}

// xattrSizeMax is the longest value in bytes (include/uapi/linux/limits.h).
const xattrSizeMax = 65536

// listxattr reads the names into argument out, whose size is the argument behind
// it. They are compared as a set: "a\0b\0" or ["a", "b"].
func (c *call) listxattr(list func(p []byte) (int, error)) (int64, error) {
	p, bad := c.buffer(1, c.args[2].num)
	if c.problem != nil {
		return 0, nil
	}
	n, err := list(p)
	switch {
	case err != nil:
		return 0, err
	case len(p) == 0:
		return int64(n), nil
	case bad && n > 0:
		return 0, unix.EFAULT
	}
	var want []string
	more := false
	switch v := c.src.Args[1].(type) {
	case script.String:
		text, _ := c.run.vars.expand(v)
		want = terminated(text)
	case script.Array:
		more = v.More
		for _, e := range v.Elems {
			s, ok := e.(script.String)
			if !ok {
				c.cannot("a name expected, not %s", script.Format(e))
				return 0, nil
			}
			text, _ := c.run.vars.expand(s)
			want = append(want, text)
		}
	default:
		c.came(1, script.Text(string(p[:n])))
		return int64(n), nil
	}
	if got := terminated(string(p[:n])); !matchNames(want, more, got) {
		c.shown[1] = script.Text(string(p[:n]))
		c.differ(1, c.src.Args[1], c.shown[1])
	}
	return int64(n), nil
}

// terminated takes strings apart that each end in a NUL.
func terminated(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\x00"), "\x00")
}

func (c *call) removexattr(remove func(attr string) error) (int64, error) {
	if c.args[1].bad {
		return 0, unix.EFAULT
	}
	return done(remove(c.args[1].str))
}
