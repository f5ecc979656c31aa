package replay

import (
	"golang.org/x/sys/unix"
)

// memoryCalls are the calls on memory that concern files.
//
// No file is mapped in a replay: programs read and change mapped memory without
// calls, so a trace does not show what they do there. Maps through which no file
// can change are skipped and counted; the others are not offered. munmap is
// skipped, too, and msync, for what it would write out has not been offered.
var memoryCalls = map[string]entry{
	"mmap": {args: "raw int int int fd int", make: func(c *call) (int64, error) {
		shared := c.int(3)&unix.MAP_TYPE != unix.MAP_PRIVATE
		switch {
		case c.int(3)&unix.MAP_ANONYMOUS != 0:
			c.foreign = true
		case shared && c.int(2)&unix.PROT_WRITE != 0:
			c.missing = true
		default:
			c.foreign = true
		}
		return 0, nil
	}},
	"msync": {args: "raw raw raw", make: func(c *call) (int64, error) {
		c.foreign = true
		return 0, nil
	}},
}
