package seal

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// A run of at least two times minPart blocks is worth waking a worker for; those
// who share it take portion blocks at a time.
const (
	minPart = 32
	portion = 16
)

// patience is how often a worker looks for more before it sleeps: for about 40 µs, the time in
// which a sequential reader or writer comes back. Waking a thread up takes as long, and
// an enclave has to be left for it. It is counted and not timed: the clock is the host's.
const patience = 500

// A Task is something that a worker of a Pool does.
type Task interface{ Do() }

// A Pool is all processors but the caller's: its workers help to seal and open
// runs, and do tasks.
type Pool struct {
	workers int
	wg      sync.WaitGroup
	idle    sync.Pool // of *sharing

	mu     sync.Mutex
	wake   *sync.Cond
	tasks  []Task
	shared []*sharing
	closed bool
	news   atomic.Int64 // changes of the three above that workers look for
}

// A sharing is a run that several goroutines work on. Its caller waits for the
// blocks, not for the workers: one that comes late finds nothing to do.
type sharing struct {
	run  *Run // valid for those who got blocks
	open bool
	n    int64
	next atomic.Int64  // block to hand out
	left atomic.Int64  // blocks that are not done
	bad  atomic.Int64  // lowest number of a block that is not authentic, or n
	refs atomic.Int32  // goroutines that know it
	done chan struct{} // signalled by the worker that does the last block
}

// NewPool starts the workers. Close ends them.
func NewPool() *Pool {
	p := &Pool{
		workers: min(runtime.GOMAXPROCS(0), 16) - 1,
		idle:    sync.Pool{New: func() any { return &sharing{done: make(chan struct{}, 1)} }},
	}
	p.wake = sync.NewCond(&p.mu)
	for range p.workers {
		p.wg.Go(p.work)
	}
	return p
}

// Workers returns the number of workers; 0 on one processor.
func (p *Pool) Workers() int { return p.workers }

// Close ends the workers when all tasks are done. There must be no run left.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.news.Add(1)
	p.wake.Broadcast()
	p.mu.Unlock()
	p.wg.Wait()
}

// Go lets a worker do t, of which there must be one, soon. Tasks begin in the order
// of the calls. They may wait for the host, not for each other.
func (p *Pool) Go(t Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tasks = append(p.tasks, t)
	p.news.Add(1)
	p.wake.Signal()
}

func (p *Pool) work() {
	s := new(scratch)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if len(p.tasks) > 0 {
			t := p.tasks[0]
			p.tasks = slices.Delete(p.tasks, 0, 1)
			p.mu.Unlock()
			t.Do()
			p.mu.Lock()
		} else if x := p.openLocked(); x != nil {
			x.refs.Add(1)
			p.mu.Unlock()
			if x.work(s) {
				x.done <- struct{}{}
			}
			p.release(x)
			p.mu.Lock()
		} else if p.closed {
			return
		} else {
			p.waitLocked()
		}
	}
}

// waitLocked returns when there may be something new for a worker.
func (p *Pool) waitLocked() {
	seen := p.news.Load()
	p.mu.Unlock()
	linger(func() bool { return p.news.Load() != seen })
	p.mu.Lock()
	if p.news.Load() == seen {
		p.wake.Wait()
	}
}

// linger returns when there is news, or patience is at its end.
func linger(news func() bool) {
	for i := 0; i < patience && !news(); i++ {
		runtime.Gosched()
	}
}

// openLocked returns a run that has blocks to hand out, or nil.
func (p *Pool) openLocked() *sharing {
	for _, x := range p.shared {
		if x.next.Load() < x.n {
			return x
		}
	}
	return nil
}

func (p *Pool) release(x *sharing) {
	if x.refs.Add(-1) == 0 {
		x.run = nil
		p.idle.Put(x)
	}
}

// work does blocks until none is left to hand out, and reports whether it did the last.
func (x *sharing) work(s *scratch) (last bool) {
	for {
		from := x.next.Add(portion) - portion
		if from >= x.n {
			return last
		}
		to := min(from+portion, x.n)
		if x.open {
			x.noteBad(x.run.openPart(s, int(from), int(to)))
		} else {
			x.run.sealPart(s, int(from), int(to))
		}
		last = x.left.Add(from-to) == 0
	}
}

func (x *sharing) noteBad(i int) {
	if i < 0 {
		return
	}
	for old := x.bad.Load(); int64(i) < old && !x.bad.CompareAndSwap(old, int64(i)); {
		old = x.bad.Load()
	}
}

// Seal encrypts every block of r and sets its tag.
func (p *Pool) Seal(r *Run) { p.do(r, false) }

// Open decrypts every block of r. It returns the number of the first block
// that is not authentic, or -1; after that no block of r may be used.
func (p *Pool) Open(r *Run) int { return p.do(r, true) }

func (p *Pool) do(r *Run, open bool) int {
	n := len(r.Plain)
	s := r.Box.pool.Get().(*scratch)
	defer r.Box.pool.Put(s)
	if helpers := min(p.workers, n/minPart-1); helpers > 0 {
		return p.share(r, open, s, helpers)
	}
	if open {
		return r.openPart(s, 0, n)
	}
	r.sealPart(s, 0, n)
	return -1
}

// share does r together with the workers that have nothing else to do; helpers are
// worth being woken.
func (p *Pool) share(r *Run, open bool, s *scratch, helpers int) int {
	n := int64(len(r.Plain))
	x := p.idle.Get().(*sharing)
	x.run, x.open, x.n = r, open, n
	x.next.Store(0)
	x.left.Store(n)
	x.bad.Store(n)
	x.refs.Store(1)
	p.mu.Lock()
	p.shared = append(p.shared, x)
	p.news.Add(1)
	for range helpers {
		p.wake.Signal()
	}
	p.mu.Unlock()
	last := x.work(s)
	p.mu.Lock()
	i := slices.Index(p.shared, x)
	p.shared = slices.Delete(p.shared, i, i+1)
	p.mu.Unlock()
	if !last {
		linger(func() bool { return len(x.done) > 0 })
		<-x.done
	}
	bad := x.bad.Load()
	p.release(x)
	if bad == n {
		return -1
	}
	return int(bad)
}
