package replay

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// Config says how a script is run.
type Config struct {
	System System
	// Host is the scratch directory of the untrusted host, $HOST. Files behind
	// the script are laid out in it.
	Host string
	// Vars are further variables: names in capitals, digits and underlines.
	Vars map[string]string
	// Conds are the conditions that hold: [libos], [root].
	Conds map[string]bool
	// Verbose gets every call with the answer that came, as a script; nil: nothing.
	Verbose io.Writer
	// SkipUnsupported counts file calls that the System does not offer instead
	// of failing at them.
	SkipUnsupported bool
	// Below is a clean absolute path: of a recorded trace only the calls below
	// it are made, and the directory is there. "": all calls are made.
	Below string
	// At, if not nil, always holds the line that is running.
	At *atomic.Pointer[script.Line]
}

// Run plays f. The error is a *script.Error if a line cannot be run; another
// one if the System cannot be started.
func Run(ctx context.Context, cfg Config, f *script.File) (Outcome, error) {
	vars := map[string]string{"HOST": cfg.Host}
	for name, value := range cfg.Vars {
		vars[name] = value
	}
	host, err := openHost(cfg.Host)
	if err != nil {
		return Outcome{}, err
	}
	defer host.close()
	if err := host.layOut(f); err != nil {
		return Outcome{}, err
	}
	r := &runner{
		cfg: cfg, host: host, vars: newVars(vars), timesSet: map[unix.Timespec]bool{},
		id: Identity{Machine: "default", Signer: "default", Product: 1, Version: 1},
	}
	if err := r.boot(ctx); err != nil {
		return r.out, fmt.Errorf("start the system: %w", err)
	}
	for _, l := range f.Lines {
		r.echoComments(l)
		if cfg.At != nil {
			cfg.At.Store(l)
		}
		goOn, err := r.line(ctx, l)
		if err != nil || r.out.Failure != nil {
			r.abandon()
			return r.out, err
		}
		if !goOn {
			break
		}
	}
	r.end(ctx, f)
	return r.out, nil
}

// runner is a script in progress.
type runner struct {
	cfg      Config
	host     *host
	vars     vars
	timesSet map[unix.Timespec]bool
	id       Identity
	tasks    tasks
	up       bool // the system is started
	out      Outcome
}

// boot starts the system and its first process.
func (r *runner) boot(ctx context.Context) error {
	first, err := r.cfg.System.Start(ctx, r.id)
	if err != nil {
		return err
	}
	r.up = true
	r.tasks.reset(first, r.cfg.Below == "")
	if r.cfg.Below != "" {
		return makeBelow(first, r.cfg.Below)
	}
	return nil
}

// stop ends all processes and the system, cleanly.
func (r *runner) stop(ctx context.Context) error {
	r.tasks.exitAll()
	r.up = false
	return r.cfg.System.Stop(ctx)
}

// abandon ends a run that has failed already.
func (r *runner) abandon() {
	if r.up {
		r.tasks.exitAll()
		r.up = false
		r.cfg.System.Kill()
	}
}

// end stops the system behind the last line. That it comes down in order
// belongs to the script: nothing may be left in use.
func (r *runner) end(ctx context.Context, f *script.File) {
	if !r.up {
		return
	}
	if err := r.stop(ctx); err != nil {
		r.out.Failure = &Failure{
			Pos: script.Pos{File: f.Name, Line: 1, Col: 1}, Msg: "something is left in use", Call: "end of the script",
			Wanted: "everything is unmounted", Got: r.vars.hide(err.Error()),
		}
		if n := len(f.Lines); n > 0 {
			r.out.Failure.Pos, r.out.Failure.Line = f.Lines[n-1].Pos, f.Lines[n-1].Text
		}
		r.cfg.System.Kill()
	}
}

// line runs one line; goOn is false behind a skip.
func (r *runner) line(ctx context.Context, l *script.Line) (goOn bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	for _, c := range l.Conds {
		holds, known := r.cfg.Conds[c.Name]
		if !known {
			return false, l.Wrong(strings.Index(l.Text, c.Name)+1, "unknown condition ["+c.Name+"]")
		}
		if holds == c.Not {
			r.out.Marked++
			return true, nil
		}
	}
	switch s := l.Stmt.(type) {
	case *script.Skip:
		r.out.SkipReason = s.Reason
		return false, nil
	case *script.Signal:
		r.echo(l)
	case *script.Exited:
		r.echo(l)
		// After exit(2) the task is gone already.
		if t, err := r.tasks.find(l.Task); err == nil {
			r.tasks.exitTask(t, false)
		}
	case *script.Host:
		r.echo(l)
		return true, r.hostLine(l, s)
	case *script.Enclave:
		r.echo(l)
		return true, r.enclave(ctx, l, s)
	case *script.Call:
		return true, r.call(l, s)
	}
	return true, nil
}

// call makes one system call and judges it.
func (r *runner) call(l *script.Line, s *script.Call) error {
	cannot := func(format string, args ...any) error {
		return l.Wrong(0, r.vars.hide(fmt.Sprintf(format, args...)))
	}
	t, err := r.tasks.find(l.Task)
	if err != nil {
		return cannot("%v", err)
	}
	switch {
	case script.Unrelated(s.Name):
		r.noteForeign(t.proc, s)
		r.out.Skipped++
		return nil
	case s.Name == "exit" || s.Name == "exit_group":
		r.tasks.exitTask(t, s.Name == "exit_group")
		r.out.Calls++
		r.echo(l)
		return nil
	case isFork(s.Name):
		if err := r.fork(t, s); err != nil {
			return cannot("%v", err)
		}
		r.echo(l)
		return nil
	case s.Name == "execve" && s.Result.Kind == script.Fails:
		r.out.Skipped++
		return nil
	}
	e := lookup(s.Name)
	if s.Opaque != "" {
		e = nil // an ioctl with a structure
	}
	if e == nil && r.outside(t.proc, s) {
		r.noteForeign(t.proc, s)
		r.out.Skipped++
		return nil
	}
	if e == nil {
		r.notOffered(l, s, "no call named "+s.Name)
		return nil
	}
	if !r.below(t.proc, s, e) {
		r.elsewhere(t.proc, s, e)
		r.out.Skipped++
		return nil
	}
	c := &call{run: r, proc: t.proc, Task: t.proc.Task, line: l, src: s}
	n, callErr := c.make(e)
	if c.problem != nil {
		return c.problem
	}
	if c.missing {
		r.notOffered(l, s, "no "+s.Name+" of this form")
		return nil
	}
	if c.foreign {
		if s.Name == "fchdir" {
			t.proc.inside = false
		}
		r.foreignCall(t.proc, s, e)
		r.out.Skipped++
		return nil
	}
	r.out.Calls++
	if callErr == nil && (s.Name == "chdir" || s.Name == "fchdir") {
		t.proc.inside = true
	}
	result, fail := c.judge(e, n, callErr)
	shown := *s
	shown.Args, shown.Result = c.shown, result
	r.out.Failure = fail
	r.echo(&script.Line{Task: l.Task, Stmt: &shown})
	return nil
}

// notOffered counts a call that the system does not have; without
// Config.SkipUnsupported it is a failure.
func (r *runner) notOffered(l *script.Line, s *script.Call, why string) {
	r.out.Unsupported++
	if !r.cfg.SkipUnsupported {
		r.out.Failure = Differs(l, 0, why+" (--skip-unsupported goes on without)", "a call that the system offers", why)
	}
}

// echoComments prints what stands above a line for Config.Verbose: it tells
// the story.
func (r *runner) echoComments(l *script.Line) {
	if r.cfg.Verbose == nil {
		return
	}
	for _, c := range l.Comments {
		fmt.Fprintln(r.cfg.Verbose, c)
	}
}

// echo prints a line for Config.Verbose.
func (r *runner) echo(l *script.Line) {
	if r.cfg.Verbose != nil {
		plain := *l
		plain.Conds = nil
		fmt.Fprintln(r.cfg.Verbose, plain.String())
	}
}

// enclave changes the life or identity of the enclave. An identity cannot
// change under a running enclave, so each change stops it and starts another.
func (r *runner) enclave(ctx context.Context, l *script.Line, s *script.Enclave) error {
	id, why := changed(r.id, s)
	if why != "" {
		return l.Wrong(0, why)
	}
	if s.Verb == "kill" {
		r.cfg.System.Kill() // before the tasks exit: closing their files must not help
		r.tasks.exitAll()
	} else if err := r.stop(ctx); err != nil {
		r.out.Failure = Differs(l, 0, "something is left in use", "everything is unmounted", r.vars.hide(err.Error()))
		r.cfg.System.Kill()
		return nil
	}
	r.id = id
	r.up = false
	return r.boot(ctx)
}
