package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// taskCalls are the calls on the process itself. Those that make and end
// processes are in tasks.go.
var taskCalls = map[string]entry{
	"fcntl": {args: "fd int raw?", make: fcntl, same: sameFlags},
	"execve": {args: "raw raw raw", make: func(c *call) (int64, error) {
		c.Exec()
		for n, d := range c.proc.fds.byScript {
			if d.foreign {
				continue
			}
			if _, err := c.Fcntl(d.num, unix.F_GETFD, 0); err != nil {
				c.proc.fds.forget(n) // close-on-exec
			}
		}
		return 0, nil
	}},
	"chroot": {args: "path", make: func(c *call) (int64, error) { return done(c.Chroot(c.args[0].str)) }},
	"setuid": {args: "int", make: func(c *call) (int64, error) { return done(c.Setuid(c.id(0))) }},
	"setgid": {args: "int", make: func(c *call) (int64, error) { return done(c.Setgid(c.id(0))) }},
	"setresuid": {args: "int int int", make: func(c *call) (int64, error) {
		return done(c.Setresuid(c.id(0), c.id(1), c.id(2)))
	}},
	"setresgid": {args: "int int int", make: func(c *call) (int64, error) {
		return done(c.Setresgid(c.id(0), c.id(1), c.id(2)))
	}},
	"setgroups": {args: "int raw", make: func(c *call) (int64, error) {
		a, ok := c.args[1].v.(script.Array)
		if _, null := c.args[1].v.(script.Null); !ok && !null {
			c.cannot("an array of groups expected, not %s", script.Format(c.args[1].v))
			return 0, nil
		}
		if c.int(0) != len(a.Elems) {
			c.cannot("%d groups are announced, here are %d", c.int(0), len(a.Elems))
			return 0, nil
		}
		groups := make([]int, len(a.Elems))
		for i, e := range a.Elems {
			groups[i] = int(c.number(e))
		}
		if c.problem != nil {
			return 0, nil
		}
		return done(c.Setgroups(groups))
	}},
}

// id returns a user or group number; strace writes -1 or 4294967295 for none.
func (c *call) id(i int) int { return int(int32(c.args[i].num)) }

// fcntl makes the commands that take a number; those on locks have a structure.
func fcntl(c *call) (int64, error) {
	cmd := c.int(1)
	if isLock(cmd) {
		return c.lock(cmd)
	}
	arg := c.number(c.args[2].v)
	if c.problem != nil {
		return 0, nil
	}
	n, err := c.Fcntl(c.int(0), cmd, int(arg))
	if err == nil && (cmd == unix.F_DUPFD || cmd == unix.F_DUPFD_CLOEXEC) {
		n = c.newFD(n, c.src.Result)
	}
	return count(n, err)
}

// sameFlags lets F_GETFL answers differ in O_LARGEFILE, which Linux adds on
// 64-bit systems and the LibOS does not.
func sameFlags(want, got int64) bool { return want&^kernelLargefile == got&^kernelLargefile }
