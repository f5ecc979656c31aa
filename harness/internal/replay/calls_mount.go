package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// mountCalls are mount(2) and its like.
var mountCalls = map[string]entry{
	"mount": {args: "raw raw raw int raw", make: mount},
	// The C library's umount(t) is umount2(t, 0).
	"umount": {args: "path int?", make: func(c *call) (int64, error) {
		return done(c.Umount2(c.args[0].str, c.int(1)))
	}},
	"umount2": {args: "path int", make: func(c *call) (int64, error) {
		return done(c.Umount2(c.args[0].str, c.int(1)))
	}},
}

// mount puts EFAULT where fs/namespace.c: mount has it: the strings type,
// source and data are copied first, then the target.
func mount(c *call) (int64, error) {
	var s [5]string
	var null, bad [5]bool
	for _, i := range []int{0, 1, 2, 4} {
		c.at = i
		s[i], bad[i] = c.text(c.args[i].v)
		_, null[i] = c.args[i].v.(script.Null)
		c.mustBeSet(c.args[i].v)
	}
	if c.problem != nil {
		return 0, nil
	}
	for _, i := range []int{2, 0, 4} {
		switch {
		case bad[i] && !null[i]:
			return 0, unix.EFAULT
		case len(s[i]) >= unix.PathMax && bad[1]:
			return 0, unix.EINVAL
		}
	}
	if bad[1] {
		return 0, unix.EFAULT
	}
	if null[0] {
		s[0] = "none"
	}
	err := c.Mount(s[0], s[1], s[2], uintptr(c.args[3].num), s[4])
	if null[2] && errno(err) == unix.ENODEV {
		err = unix.EINVAL // where "" is an unknown type, NULL is a bad argument
	}
	return 0, err
}

// mustBeSet refuses variables without a value: in a mount they are a slip.
func (c *call) mustBeSet(v script.Value) {
	if s, ok := v.(script.String); ok {
		if _, unset := c.run.vars.expand(s); unset != "" {
			c.cannot("$%s has no value: give --set %s=value, or write \\044 for a dollar sign", unset, unset)
		}
	}
}
