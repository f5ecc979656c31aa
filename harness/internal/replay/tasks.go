package replay

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// tasks are the tasks of a script by number. Number 0 is the first one until
// a line names it.
type tasks struct {
	byNumber map[int]*task
	made     map[int]bool // numbers that clone returned, also of tasks that are gone
}

// task is a thread.
type task struct {
	number int
	proc   *process
}

// process is what threads share.
type process struct {
	Task
	fds     *fds
	threads int
	inside  bool // the working directory is below Config.Below
}

// reset leaves one task; inside says that its relative paths count, as they do
// in a script that is not a part of a larger trace.
func (ts *tasks) reset(first Task, inside bool) {
	p := &process{Task: first, fds: standardStreams(), threads: 1, inside: inside}
	p.fds.partial = !inside
	ts.byNumber = map[int]*task{0: {proc: p}}
	ts.made = map[int]bool{}
}

// find returns the task that a line with this number speaks of.
func (ts *tasks) find(number int) (*task, error) {
	if t := ts.byNumber[number]; t != nil {
		return t, nil
	}
	first := ts.byNumber[0]
	switch {
	case number != 0 && first != nil && !ts.made[number]:
		// strace gives the first task a number as soon as there are two.
		delete(ts.byNumber, 0)
		first.number = number
		ts.byNumber[number] = first
		return first, nil
	case number == 0 && len(ts.byNumber) == 1:
		for _, t := range ts.byNumber { // and none when one is left
			return t, nil
		}
	case number == 0 && len(ts.byNumber) == 0:
		return nil, fmt.Errorf("no task is left to make this call")
	case number == 0:
		return nil, fmt.Errorf("which task? there are %d: write [pid N]", len(ts.byNumber))
	}
	return nil, fmt.Errorf("no task %d: clone, fork or vfork returns the number of a new one", number)
}

// exitTask ends one thread, or its whole process.
func (ts *tasks) exitTask(t *task, group bool) {
	for n, other := range ts.byNumber {
		if other == t || group && other.proc == t.proc {
			delete(ts.byNumber, n)
			if other.proc.threads--; other.proc.threads == 0 {
				other.proc.Exit()
			}
		}
	}
}

func (ts *tasks) exitAll() {
	for _, t := range ts.byNumber {
		ts.exitTask(t, true)
	}
}

func isFork(name string) bool {
	switch name {
	case "clone", "clone3", "fork", "vfork":
		return true
	}
	return false
}

// fork makes task "= N" from t: a thread if files and file system state are
// shared, else a process.
func (r *runner) fork(t *task, s *script.Call) error {
	if s.Result.Kind == script.Fails || s.Result.Kind == script.Any {
		r.out.Skipped++
		return nil
	}
	number := int(s.Result.Value.Val)
	if s.Result.Kind != script.Returns || number <= 0 {
		return fmt.Errorf("%s returns the number of the new task", s.Name)
	}
	if r.tasks.byNumber[number] != nil || number == t.number {
		return fmt.Errorf("there is a task %d already", number)
	}
	r.out.Calls++
	r.tasks.made[number] = true
	if cloneFlags(s)&unix.CLONE_FILES != 0 {
		t.proc.threads++
		r.tasks.byNumber[number] = &task{number: number, proc: t.proc}
		return nil
	}
	child, err := t.proc.Fork()
	if err != nil {
		return err
	}
	p := &process{Task: child, fds: t.proc.fds.clone(), threads: 1, inside: t.proc.inside}
	r.tasks.byNumber[number] = &task{number: number, proc: p}
	return nil
}

// cloneFlags finds the flags of clone(flags=...) and clone3({flags=...}).
func cloneFlags(s *script.Call) uint64 {
	for i, a := range s.Args {
		v := unwrap(a)
		named, isNamed := a.(script.Named)
		if st, ok := v.(script.Struct); ok {
			v = st.Get("flags")
		} else if isNamed && named.Name != "flags" || !isNamed && i > 0 {
			continue
		}
		if or, ok := v.(script.Or); ok {
			n := uint64(0)
			for _, p := range or.Parts { // SIGCHLD and flags newer than the table are of no interest
				m, _ := evaluate(p)
				n |= m
			}
			return n
		}
		if v != nil {
			n, _ := evaluate(v)
			return n
		}
	}
	return 0
}

// noteForeign gives the number that a call outside the file system returned
// to no file of it.
func (r *runner) noteForeign(p *process, s *script.Call) {
	if s.Result.Kind != script.Returns {
		return
	}
	switch s.Name {
	case "socket", "accept", "accept4", "eventfd", "eventfd2", "epoll_create", "epoll_create1", "memfd_create", "signalfd",
		"signalfd4", "timerfd_create", "pidfd_open", "userfaultfd", "landlock_create_ruleset":
		r.bindForeign(p, int(int32(s.Result.Value.Val)))
	case "pipe", "pipe2", "socketpair":
		// The two numbers stand in an argument that is kept as text: "[3, 4]".
		var a, b int
		for i := range s.Opaque {
			if s.Opaque[i] != '[' {
				continue
			}
			if n, _ := fmt.Sscanf(s.Opaque[i:], "[%d, %d]", &a, &b); n == 2 {
				r.bindForeign(p, a)
				r.bindForeign(p, b)
			}
		}
	}
}

func (r *runner) bindForeign(p *process, n int) {
	if old, open := p.fds.bind(n, descriptor{num: closedFD, foreign: true}); open {
		p.Close(old)
	}
}

// foreignCall keeps track of numbers in a call that is not made, because it
// acts on a descriptor outside the file system.
func (r *runner) foreignCall(p *process, s *script.Call, e *entry) {
	switch {
	case s.Name == "close":
		n, _ := evaluate(unwrap(s.Args[0]))
		p.fds.forget(int(int32(n)))
	case s.Result.Kind == script.Returns && (e.fd || s.Name == "fcntl" && isDupfd(s)):
		r.bindForeign(p, int(int32(s.Result.Value.Val)))
	}
}

func isDupfd(s *script.Call) bool {
	n, _ := evaluate(unwrap(s.Args[1]))
	return n == unix.F_DUPFD || n == unix.F_DUPFD_CLOEXEC
}

// outside reports whether a call that is not in the table has nothing to do
// with the file system after all: it acts on a pipe, say.
func (r *runner) outside(p *process, s *script.Call) bool {
	if s.Opaque != "" {
		var fd int
		n, err := fmt.Sscan(s.Opaque[:min(len(s.Opaque), strings.IndexByte(s.Opaque+",", ','))], &fd)
		return n == 1 && err == nil && p.fds.get(fd).foreign
	}
	if len(s.Args) == 0 {
		return false
	}
	v, ok := unwrap(s.Args[0]).(script.Int)
	return ok && p.fds.get(int(int32(v.Val))).foreign
}
