package difftest

import "slices"

// maxTries bounds the replays of a shrinking.
const maxTries = 3000

// shrink leaves out ops, and then parts of ops, as long as a difference in the
// same call remains.
func (c *comparison) shrink(d *difference) (small *difference, tries int) {
	small = d
	last := d.run.ops[d.at].call
	try := func(ops []op) bool {
		if tries++; tries > maxTries {
			return false
		}
		found, err := c.replay(d.run.world, ops)
		if err != nil || found == nil || found.run.ops[found.at].call != last || (found.close == nil) != (d.close == nil) {
			return false
		}
		small = found
		return true
	}
	ops := func() []op { return slices.Clone(small.run.ops[:small.at+1]) }
	if !try(ops()) {
		return d, tries
	}
	for before := len(small.run.ops) + 1; len(small.run.ops) < before; {
		before = len(small.run.ops)
		for size := max(small.at/2, 1); ; size /= 2 {
			for end := small.at; end > 0; end -= size {
				end = min(end, small.at)
				if end <= 0 {
					break
				}
				try(slices.Delete(ops(), max(end-size, 0), end))
			}
			if size <= 1 {
				break
			}
		}
	}
	for _, simpler := range simplifications {
		for i := small.at; i >= 0; i-- {
			if i > small.at {
				continue
			}
			candidate := ops()
			if simpler(&candidate[i]) {
				try(candidate)
			}
		}
	}
	return small, tries
}

// simplifications make one op simpler, or report that they cannot.
var simplifications = []func(o *op) bool{
	func(o *op) bool {
		was := o.task
		o.task = 0
		return was != 0 && o.call != callDump && o.call != callFork
	},
	func(o *op) bool { was := o.watch; o.watch = false; return was },
	func(o *op) bool { return simplerPath(&o.path) },
	func(o *op) bool { return simplerPath(&o.path2) },
	func(o *op) bool {
		was := o.mode
		o.mode = 0o777
		return was != 0o777 && o.call != callMknodat && o.call != callFaccessat2
	},
}

// simplerPath takes the slashes away that a path does not need.
func simplerPath(p **pathname) bool {
	if *p == nil || len((*p).s) < 3 {
		return false
	}
	s := []byte((*p).s)
	s = slices.CompactFunc(s, func(a, b byte) bool { return a == '/' && b == '/' })
	if len(s) > 1 && s[len(s)-1] == '/' {
		s = s[:len(s)-1]
	}
	if string(s) == (*p).s {
		return false
	}
	*p = newPathname(string(s))
	return true
}
