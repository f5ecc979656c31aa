package replay

import "math"

// fds maps the descriptor numbers of a script to those of the system. A
// number that the script never got names no open file there.
type fds struct {
	byScript map[int]descriptor
	// partial says that the trace shows only a part of the calls: a number that
	// it never got is something foreign.
	partial bool
}

// descriptor is where a number of the script leads.
type descriptor struct {
	num     int
	foreign bool // a pipe, a socket, a standard stream: nothing of the file system
}

// standardStreams are the descriptors of the first process.
func standardStreams() *fds {
	f := &fds{byScript: map[int]descriptor{}}
	for n := range 3 {
		f.byScript[n] = descriptor{num: closedFD - n, foreign: true}
	}
	return f
}

// closedFD is a number that no system gives to an open file: as large as
// possible, so that calls on it fail with EBADF.
const closedFD = math.MaxInt32

func (f *fds) clone() *fds {
	c := &fds{byScript: make(map[int]descriptor, len(f.byScript)), partial: f.partial}
	for n, d := range f.byScript {
		c.byScript[n] = d
	}
	return c
}

// get returns what n stands for; a number that is not open stands for one
// that is not open.
func (f *fds) get(n int) descriptor {
	if d, ok := f.byScript[n]; ok {
		return d
	}
	if n < 0 {
		return descriptor{num: n}
	}
	return descriptor{num: closedFD - 3 - min(n, 1<<20), foreign: f.partial}
}

// bind lets n name d. It returns the number that n named before, which the
// script must have lost sight of, if that is an open file.
func (f *fds) bind(n int, d descriptor) (old int, open bool) {
	before, ok := f.byScript[n]
	f.byScript[n] = d
	return before.num, ok && !before.foreign && before.num != d.num
}

// forget removes n.
func (f *fds) forget(n int) { delete(f.byScript, n) }

// unused returns the lowest number of the script that names nothing.
func (f *fds) unused() int {
	for n := 3; ; n++ {
		if _, ok := f.byScript[n]; !ok {
			return n
		}
	}
}

// holder returns the script's number for the system's number num.
func (f *fds) holder(num int) (n int, ok bool) {
	for n, d := range f.byScript {
		if d.num == num && !d.foreign {
			return n, true
		}
	}
	return 0, false
}
