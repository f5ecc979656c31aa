package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// lockCalls are flock(2) and, as a part of fcntl(2), record locks.
var lockCalls = map[string]entry{
	"flock": {args: "fd int", make: func(c *call) (int64, error) { return done(c.Flock(c.int(0), c.int(1))) }},
}

// isLock reports whether a command of fcntl(2) takes a struct flock.
func isLock(cmd int) bool {
	switch cmd {
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return true
	}
	return false
}

// lock makes the commands of fcntl(2) on record locks. What F_GETLK returns is
// compared without the number of the process.
func (c *call) lock(cmd int) (int64, error) {
	s, ok := c.args[2].v.(script.Struct)
	if !ok {
		if _, isNull := c.args[2].v.(script.Null); isNull || c.unwritable(2) {
			return 0, unix.EFAULT
		}
		c.cannot("{l_type=..., l_whence=..., l_start=..., l_len=...} expected, not %s", script.Format(c.args[2].v))
		return 0, nil
	}
	var lk unix.Flock_t
	for _, f := range s.Fields {
		if known := flockFields[f.Name]; !known {
			c.cannot("no member %q in this structure", f.Name)
			return 0, nil
		}
		n := c.number(f.Value)
		switch f.Name {
		case "l_type":
			lk.Type = int16(n)
		case "l_whence":
			lk.Whence = int16(n)
		case "l_start":
			lk.Start = n
		case "l_len":
			lk.Len = n
		}
	}
	if c.problem != nil {
		return 0, nil
	}
	asks := cmd == unix.F_GETLK || cmd == unix.F_OFD_GETLK
	if _, both := c.src.Args[2].(script.Becomes); asks && !both && lk.Type == unix.F_UNLCK {
		// strace shows only the answer. It was that nothing is in the way, at most of
		// a write lock.
		lk.Type = unix.F_WRLCK
	}
	if err := c.FcntlFlock(c.int(0), cmd, &lk); err != nil {
		return 0, err
	}
	if asks {
		c.came(2, flockStruct(&lk))
	}
	return 0, nil
}

var flockFields = set("l_type", "l_whence", "l_start", "l_len", "l_pid")

func flockStruct(lk *unix.Flock_t) script.Struct {
	typ := script.Value(script.Decimal(int64(lk.Type)))
	for _, name := range []string{"F_RDLCK", "F_WRLCK", "F_UNLCK"} {
		if constants[name] == uint64(lk.Type) {
			typ = script.Const{Name: name}
		}
	}
	s := script.Struct{Fields: []script.Field{{Name: "l_type", Value: typ}}}
	if lk.Type == unix.F_UNLCK {
		s.More = true // the rest is what went in
		return s
	}
	s.Fields = append(s.Fields, script.Field{Name: "l_whence", Value: script.Decimal(int64(lk.Whence))},
		script.Field{Name: "l_start", Value: script.Decimal(lk.Start)},
		script.Field{Name: "l_len", Value: script.Decimal(lk.Len)})
	return s
}
