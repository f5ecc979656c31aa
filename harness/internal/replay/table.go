package replay

import "cloister/harness/internal/script"

// An entry says how one system call is made.
type entry struct {
	args string // see call.decode
	make func(c *call) (int64, error)
	fd   bool // the result is a descriptor
	// same reports whether two unequal results mean the same; nil: never.
	same func(want, got int64) bool
	// show prints a result; nil: decimal.
	show func(n int64) script.Int
}

// lookup returns how the call name is made; nil: the system has no such call.
func lookup(name string) *entry {
	for _, t := range []map[string]entry{fileCalls, nameCalls, metaCalls, mountCalls, taskCalls, xattrCalls, lockCalls, copyCalls, memoryCalls} {
		if e, ok := t[name]; ok {
			return &e
		}
	}
	return nil
}

func octal(n int64) script.Int { return script.Octal(uint64(n)) }

// done turns the error of a call that returns 0 into its result.
func done(err error) (int64, error) { return 0, err }

// count turns a byte count or descriptor into a result.
func count(n int, err error) (int64, error) { return int64(n), err }
