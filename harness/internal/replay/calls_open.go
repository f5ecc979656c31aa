package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// openat2 makes openat2(2): {flags=O_RDWR, mode=0, resolve=RESOLVE_BENEATH}.
func openat2(c *call) (int64, error) {
	s, ok := c.args[2].v.(script.Struct)
	if !ok {
		if c.unwritable(2) {
			return 0, unix.EFAULT
		}
		c.cannot("{flags=..., mode=..., resolve=...} expected, not %s", script.Format(c.args[2].v))
		return 0, nil
	}
	var how unix.OpenHow
	for _, f := range s.Fields {
		n := uint64(c.number(f.Value))
		switch f.Name {
		case "flags":
			how.Flags = n
		case "mode":
			how.Mode = n
		case "resolve":
			how.Resolve = n
		default:
			c.cannot("no member %q in struct open_how", f.Name)
		}
	}
	if c.problem != nil {
		return 0, nil
	}
	return count(c.Openat2(c.int(0), c.args[1].str, &how, c.int(3)))
}
