package difftest

import (
	"fmt"
	"strings"
)

// A run is one sequence of ops with its outcomes.
type run struct {
	world     int
	ops       []op
	linux     *record
	ours      *record
	performed chan struct{}
	err       error // of the test itself
}

func newRun(target *target) *run {
	return &run{linux: newRecord(target), ours: newRecord(target), performed: make(chan struct{}, 1)}
}

// comparison compares worlds.
type comparison struct {
	target *target
	dir    string
	kernel *kernel
	seed   uint64

	compared, skipped int
}

// A difference is a run whose last op differs.
type difference struct {
	run   *run
	at    int
	close error // what is wrong after the last exit, instead
}

// worlds compares n worlds, the kernel's part of the next one while the library
// OS does its part of this one. It stops at the first difference.
func (c *comparison) worlds(first, n, length int) (*difference, error) {
	ready, free := make(chan *run, 1), make(chan *run, 2)
	free <- newRun(c.target)
	free <- newRun(c.target)
	go func() {
		defer close(ready)
		g := newGenerator(c.target, c.seed)
		for world := first; world < first+n; world++ {
			r, ok := <-free
			if !ok {
				return
			}
			r.world, r.ops = world, g.episode(c.seed, world, length)
			r.err = c.kernel.perform(r)
			ready <- r
		}
	}()
	defer func() {
		close(free)
		for range ready { // until the kernel's part has ended
		}
	}()
	for r := range ready {
		if r.err != nil {
			return nil, r.err
		}
		found, err := c.ours(r)
		if err != nil || found != nil {
			return found, err
		}
		if r.world < first+n-1 {
			free <- r
		}
	}
	return nil, nil
}

// ours makes the calls of r on the library OS and compares.
func (c *comparison) ours(r *run) (*difference, error) {
	l, err := newLibOS(c.target, c.dir, r.world)
	if err != nil {
		return nil, err
	}
	r.ours.reset()
	for i := range r.ops {
		if r.linux.outs[i].skipped {
			c.skipped++
			r.ours.skip()
			continue
		}
		c.compared++
		o := &r.ops[i]
		if o.tick && c.target.is(hostFS) {
			waitForTick()
		}
		r.ours.perform(l.tasks[o.task], o)
		if !r.same(i) {
			_ = l.close() // one difference is enough
			return &difference{run: r, at: i}, nil
		}
	}
	if err := l.close(); err != nil {
		return &difference{run: r, at: len(r.ops) - 1, close: err}, nil
	}
	return nil, nil
}

// replay compares one sequence of ops.
func (c *comparison) replay(world int, ops []op) (*difference, error) {
	r := newRun(c.target)
	r.world, r.ops = world, ops
	if err := c.kernel.perform(r); err != nil {
		return nil, err
	}
	return c.ours(r)
}

// maxShown is the most calls that a report shows.
const maxShown = 60

// report shrinks a difference and prints it.
func (d *difference) report(c *comparison) string {
	small, tries := c.shrink(d)
	var b strings.Builder
	fmt.Fprintf(&b, "difference in world %d of seed %d; %d calls remain of %d after %d tries (-run ... -seed %d -len %d -world %d):\n",
		d.run.world, c.seed, small.at+1, d.at+1, tries, c.seed, *lenFlag, d.run.world)
	r := small.run
	for i := max(0, small.at-maxShown); i <= small.at; i++ {
		if r.linux.outs[i].skipped {
			continue
		}
		fmt.Fprintf(&b, "  %v = %s\n", &r.ops[i], r.linux.text(i))
	}
	if small.close != nil {
		fmt.Fprintf(&b, "here %v\n", small.close)
		return b.String()
	}
	fmt.Fprintf(&b, "here = %s\n", r.ours.text(small.at))
	if err := r.ours.s.err; err != nil {
		fmt.Fprintf(&b, "  (%v)\n", err)
	}
	return b.String()
}
