package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// copyCalls copy between descriptors, and advise.
var copyCalls = map[string]entry{
	"copy_file_range": {args: "fd raw fd raw int int", make: func(c *call) (int64, error) {
		in, out := c.offset(1), c.offset(3)
		if c.problem != nil {
			return 0, nil
		}
		n, err := c.CopyFileRange(c.int(0), in, c.int(2), out, c.int(4), c.int(5))
		if err != nil {
			return 0, err
		}
		c.moved(1, in)
		c.moved(3, out)
		return int64(n), nil
	}},
	"sendfile":   {args: "fd fd raw int", make: sendfile},
	"sendfile64": {args: "fd fd raw int", make: sendfile},
	"fadvise64": {args: "fd int int int", make: func(c *call) (int64, error) {
		return done(c.Fadvise64(c.int(0), c.args[1].num, c.args[2].num, c.int(3)))
	}},
	"readahead": {args: "fd int int", make: func(c *call) (int64, error) {
		return done(c.Readahead(c.int(0), c.args[1].num, c.int(2)))
	}},
	"sync_file_range": {args: "fd int int int", make: func(c *call) (int64, error) {
		return done(c.SyncFileRange(c.int(0), c.args[1].num, c.args[2].num, c.int(3)))
	}},
}

func sendfile(c *call) (int64, error) {
	off := c.offset(2)
	if c.problem != nil {
		return 0, nil
	}
	n, err := c.Sendfile(c.int(0), c.int(1), off, c.int(3))
	if err != nil {
		return 0, err
	}
	c.moved(2, off)
	return int64(n), nil
}

// offset reads an offset that a call moves on: NULL, [10], or [10] => [20].
func (c *call) offset(i int) *int64 {
	switch v := c.args[i].v.(type) {
	case script.Null:
		return nil
	case script.Array:
		if len(v.Elems) == 1 {
			n := c.number(v.Elems[0])
			return &n
		}
	}
	c.cannot("NULL or [offset] expected, not %s", script.Format(c.args[i].v))
	return nil
}

// moved compares an offset after the call with the one behind "=>".
func (c *call) moved(i int, off *int64) {
	if _, ok := c.src.Args[i].(script.Becomes); ok && off != nil {
		c.came(i, script.Array{Elems: []script.Value{script.Decimal(*off)}})
	}
}

// closeRange makes close_range. The numbers of the script are not the system's,
// so each descriptor is a range of its own; what is wrong with the range itself is for the
// system to say.
func closeRange(c *call) (int64, error) {
	first, last, flags := uint(uint32(c.args[0].num)), uint(uint32(c.args[1].num)), uint(uint32(c.args[2].num))
	if first > last {
		return done(c.CloseRange(first, last, flags))
	}
	if err := c.CloseRange(closedFD, closedFD, flags); err != nil {
		return 0, err
	}
	for n, d := range c.proc.fds.byScript {
		if n < 0 || uint(n) < first || uint(n) > last {
			continue
		}
		if !d.foreign {
			if err := c.CloseRange(uint(d.num), uint(d.num), flags); err != nil {
				return 0, err
			}
		}
		if flags&unix.CLOSE_RANGE_CLOEXEC == 0 {
			c.proc.fds.forget(n)
		}
	}
	return 0, nil
}
