package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// fileCalls are the calls that make and use descriptors.
var fileCalls = map[string]entry{
	"open": {args: "path int int?", fd: true, make: func(c *call) (int64, error) {
		return count(c.Openat(unix.AT_FDCWD, c.args[0].str, c.int(1), c.u32(2)))
	}},
	"openat": {args: "fd path int int?", fd: true, make: func(c *call) (int64, error) {
		return count(c.Openat(c.int(0), c.args[1].str, c.int(2), c.u32(3)))
	}},
	"openat2": {args: "fd path raw int", fd: true, make: openat2},
	"creat": {args: "path int", fd: true, make: func(c *call) (int64, error) {
		return count(c.Creat(c.args[0].str, c.u32(1)))
	}},
	"close": {args: "fd", make: func(c *call) (int64, error) {
		err := c.Close(c.int(0))
		c.proc.fds.forget(int(int32(c.number(c.args[0].v))))
		return 0, err
	}},
	"close_range": {args: "int int int", make: closeRange},
	"dup":         {args: "fd", fd: true, make: func(c *call) (int64, error) { return count(c.Dup(c.int(0))) }},
	"dup2":        {args: "fd int", fd: true, make: func(c *call) (int64, error) { return count(c.Dup2(c.int(0), c.newNumber(1))) }},
	"dup3": {args: "fd int int", fd: true, make: func(c *call) (int64, error) {
		return count(c.Dup3(c.int(0), c.newNumber(1), c.int(2)))
	}},

	"read": {args: "fd raw int", make: func(c *call) (int64, error) {
		return c.readInto(func(p []byte) (int, error) { return c.Read(c.int(0), p) }, true)
	}},
	"pread64": {args: "fd raw int int", make: func(c *call) (int64, error) {
		return c.readInto(func(p []byte) (int, error) { return c.Pread64(c.int(0), p, c.args[3].num) }, false)
	}},
	"write": {args: "fd raw int", make: func(c *call) (int64, error) {
		return c.writeFrom(func(p []byte) (int, error) { return c.Write(c.int(0), p) })
	}},
	"pwrite64": {args: "fd raw int int", make: func(c *call) (int64, error) {
		return c.writeFrom(func(p []byte) (int, error) { return c.Pwrite64(c.int(0), p, c.args[3].num) })
	}},
	"readv": {args: "fd raw int", make: func(c *call) (int64, error) {
		return c.readVector(func(iov [][]byte) (int, error) { return c.Readv(c.int(0), iov) })
	}},
	"preadv": {args: "fd raw int int", make: func(c *call) (int64, error) {
		return c.readVector(func(iov [][]byte) (int, error) { return c.Preadv(c.int(0), iov, c.args[3].num) })
	}},
	"writev": {args: "fd raw int", make: func(c *call) (int64, error) {
		return c.writeVector(func(iov [][]byte) (int, error) { return c.Writev(c.int(0), iov) })
	}},
	"pwritev": {args: "fd raw int int", make: func(c *call) (int64, error) {
		return c.writeVector(func(iov [][]byte) (int, error) { return c.Pwritev(c.int(0), iov, c.args[3].num) })
	}},
	"preadv2": {args: "fd raw int int int?", make: func(c *call) (int64, error) {
		return c.readVector(func(iov [][]byte) (int, error) { return c.Preadv2(c.int(0), iov, c.args[3].num, c.int(4)) })
	}},
	"pwritev2": {args: "fd raw int int int?", make: func(c *call) (int64, error) {
		return c.writeVector(func(iov [][]byte) (int, error) { return c.Pwritev2(c.int(0), iov, c.args[3].num, c.int(4)) })
	}},
	"lseek": {args: "fd int int", make: func(c *call) (int64, error) {
		return c.Lseek(c.int(0), c.args[1].num, c.int(2))
	}},
	"ftruncate": {args: "fd int", make: func(c *call) (int64, error) { return done(c.Ftruncate(c.int(0), c.args[1].num)) }},
	"fallocate": {args: "fd int int int", make: func(c *call) (int64, error) {
		return done(c.Fallocate(c.int(0), c.u32(1), c.args[2].num, c.args[3].num))
	}},
	"fsync":     {args: "fd", make: func(c *call) (int64, error) { return done(c.Fsync(c.int(0))) }},
	"fdatasync": {args: "fd", make: func(c *call) (int64, error) { return done(c.Fdatasync(c.int(0))) }},
	"syncfs":    {args: "fd", make: func(c *call) (int64, error) { return done(c.Syncfs(c.int(0))) }},
	"sync":      {args: "", make: func(c *call) (int64, error) { return done(c.Sync()) }},

	"getdents64": {args: "fd raw int", make: func(c *call) (int64, error) { return c.getdents(c.Getdents64, direntAt) }},
	"getdents":   {args: "fd raw int", make: func(c *call) (int64, error) { return c.getdents(c.Getdents, oldDirentAt) }},
	"ioctl":      {args: "fd raw raw?", make: ioctl},
	"fchdir":     {args: "fd", make: func(c *call) (int64, error) { return done(c.Fchdir(c.int(0))) }},
}

func (c *call) int(i int) int    { return int(c.args[i].num) }
func (c *call) u32(i int) uint32 { return uint32(c.args[i].num) }

// newNumber returns the system's number for the one that dup2 is to make.
func (c *call) newNumber(i int) int {
	n := c.int(i)
	if d, open := c.proc.fds.byScript[n]; open && !d.foreign {
		return d.num
	}
	if _, taken := c.proc.fds.holder(n); !taken && (n < 0 || n >= firstSpare) {
		return n
	}
	// On the system the number may be another descriptor of the script, or one of
	// this program.
	for num := firstSpare; ; num++ {
		if _, taken := c.proc.fds.holder(num); !taken {
			return num
		}
	}
}

// firstSpare is the first of the numbers that dup2 makes: far from those that open returns, and below the usual
// RLIMIT_NOFILE of 1024.
const firstSpare = 512

// readInto makes a call that reads into argument 1, whose length is argument
// 2. moves says that it changes the file offset.
func (c *call) readInto(read func([]byte) (int, error), moves bool) (int64, error) {
	p, bad := c.buffer(1, c.args[2].num)
	if c.problem != nil {
		return 0, nil
	}
	n, err := read(p)
	if err != nil {
		return 0, err
	}
	if bad && n > 0 {
		if moves {
			c.Lseek(c.int(0), -int64(n), unix.SEEK_CUR)
		}
		return 0, unix.EFAULT
	}
	c.came(1, script.Text(string(p[:n])))
	return int64(n), nil
}

// writeFrom makes a call that writes argument 1, whose length is argument 2.
func (c *call) writeFrom(write func([]byte) (int, error)) (int64, error) {
	p, bad := c.data(c.args[1].v, c.args[2].num)
	if c.problem != nil {
		return 0, nil
	}
	n, err := write(p) // without data if it cannot be read: the descriptor is checked first
	if err == nil && bad {
		return 0, unix.EFAULT
	}
	return count(n, err)
}

// vector returns the buffers of argument 1, whose number is argument 2.
func (c *call) vector(fill bool) (iov [][]byte, lens script.Array) {
	a, ok := c.args[1].v.(script.Array)
	if _, null := c.args[1].v.(script.Null); !ok && !null {
		c.cannot("an array of buffers expected, not %s", script.Format(c.args[1].v))
		return nil, a
	}
	n := c.args[2].num
	if n < 0 || n > 1<<16 {
		// More than the kernel looks at (UIO_MAXIOV): any larger number is as good.
		return make([][]byte, 1<<16), a
	}
	total := int64(0)
	for _, e := range a.Elems[:min(int(n), len(a.Elems))] {
		s, _ := e.(script.Struct)
		base, size := s.Get("iov_base"), s.Get("iov_len")
		if base == nil || size == nil {
			c.cannot("{iov_base=..., iov_len=...} expected, not %s", script.Format(e))
			return nil, a
		}
		want := c.number(size)
		if total += want; want < 0 || total > maxBuffer {
			c.cannot("at most %d bytes in one call", maxBuffer)
			return nil, a
		}
		if fill {
			p, bad := c.data(base, want)
			if bad {
				c.cannot("buffers that cannot be read are not offered here")
			}
			iov = append(iov, p)
		} else {
			iov = append(iov, make([]byte, want))
		}
	}
	for len(iov) < int(n) {
		iov = append(iov, nil)
	}
	return iov, a
}

func (c *call) readVector(read func([][]byte) (int, error)) (int64, error) {
	iov, a := c.vector(false)
	if c.problem != nil {
		return 0, nil
	}
	n, err := read(iov)
	if err != nil {
		return 0, err
	}
	left := n
	actual := script.Array{}
	for i := range a.Elems {
		if i >= len(iov) {
			break
		}
		m := min(left, len(iov[i]))
		left -= m
		actual.Elems = append(actual.Elems, script.Struct{Fields: []script.Field{
			{Name: "iov_base", Value: script.Text(string(iov[i][:m]))},
			{Name: "iov_len", Value: script.Decimal(int64(len(iov[i])))},
		}})
	}
	if len(actual.Elems) > 0 {
		c.came(1, actual)
	}
	return int64(n), nil
}

func (c *call) writeVector(write func([][]byte) (int, error)) (int64, error) {
	iov, _ := c.vector(true)
	if c.problem != nil {
		return 0, nil
	}
	return count(write(iov))
}
