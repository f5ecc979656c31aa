package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// ioctl makes the requests that take nothing, an int, or something that nobody
// looks at: ioctl(3, FIONREAD, [10]).
func ioctl(c *call) (int64, error) {
	request, why := evaluate(c.args[1].v)
	if why != "" {
		request = unknownRequest // of some other kind of file
	}
	var arg *int32
	compare := false
	switch v := c.args[2].v.(type) {
	case script.Null:
	case script.Array:
		arg, compare = new(int32), true
		if len(v.Elems) == 1 {
			*arg = int32(c.number(v.Elems[0]))
		}
	default:
		arg = new(int32)
		if n, ok := v.(script.Int); ok && request == unix.FICLONE {
			*arg = int32(c.proc.fds.get(int(int32(n.Val))).num)
		} else if c.unwritable(2) {
			arg = nil
		}
	}
	if c.problem != nil {
		return 0, nil
	}
	if err := c.Ioctl(c.int(0), uint(uint32(request)), arg); err != nil {
		return 0, err
	}
	switch request {
	case fioclex, fionclex, fionbio, fioasync, unix.FICLONE:
	default:
		if compare {
			c.came(2, script.Array{Elems: []script.Value{script.Decimal(int64(*arg))}})
		}
	}
	return 0, nil
}

// Requests that x/sys lacks (asm-generic/ioctls.h, linux/fs.h).
const (
	fioclex  = 0x5451
	fionclex = 0x5450
	fionbio  = 0x5421
	fioasync = 0x5452
	fionread = 0x541b
	figetbsz = 0x2
	fibmap   = 0x1

	unknownRequest = 0xffffffff // of no file at all
)
