package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"cloister/harness/internal/replay"
	"cloister/harness/internal/script"
)

// verdict is what became of one script.
type verdict struct {
	path string
	replay.Outcome
	err      error  // it cannot be read or run
	host     string // kept, with --keep
	took     time.Duration
	sections []script.Section
}

func (v verdict) status() int {
	switch {
	case v.err != nil:
		return exitBroken
	case v.Failure != nil:
		return exitFailed
	}
	return exitPassed
}

// run runs the chosen scripts one after the other and returns the exit status.
func (o *options) run(ctx context.Context, args []string, rep reporter, stdout io.Writer) (int, error) {
	paths, err := o.scripts(args)
	if err != nil {
		return exitBroken, err
	}
	if _, _, err := o.system(); err != nil {
		return exitBroken, err
	}
	if _, err := o.variables(); err != nil {
		return exitBroken, err
	}
	status := exitPassed
	rep.begin(len(paths))
	var behind []byte // the files behind a script: they end the output that is a script itself
	for _, path := range paths {
		v := o.runScript(ctx, path, stdout)
		rep.script(v)
		status = max(status, v.status())
		behind = script.Print(&script.File{Sections: v.sections})
		if ctx.Err() != nil {
			break // interrupted, and v says so
		}
	}
	err = rep.end()
	if o.verbose && len(paths) == 1 {
		_, writeErr := stdout.Write(behind)
		err = errors.Join(err, writeErr)
	}
	return status, err
}

// errInterrupted is the error of a script that was running at the end of the
// program.
var errInterrupted = errors.New("interrupted")

// runScript runs one script on a fresh System with a scratch directory of its
// own.
func (o *options) runScript(ctx context.Context, path string, stdout io.Writer) (v verdict) {
	v.path = path
	start := time.Now()
	defer func() { v.took = time.Since(start) }()

	src, err := os.ReadFile(path)
	if err != nil {
		v.err = err
		return v
	}
	f, err := script.Parse(path, src)
	if err != nil {
		v.err = err
		return v
	}
	v.sections = f.Sections
	dir, err := os.MkdirTemp("", "harness-")
	if err != nil {
		v.err = err
		return v
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		v.err = err
		return v
	}
	if o.keep {
		v.host = dir
	} else {
		defer os.RemoveAll(dir)
	}
	system, conds, err := o.system()
	if err != nil {
		v.err = err
		return v
	}
	vars, err := o.variables()
	if err != nil {
		v.err = err
		return v
	}
	cfg := replay.Config{System: system, Host: dir, Vars: vars, Conds: conds, SkipUnsupported: o.skipUnsupported}
	if o.below != "" {
		cfg.Below = filepath.Clean(o.below)
	}
	if o.verbose {
		cfg.Verbose = stdout
		fmt.Fprintf(stdout, "# %s\n", path)
	}
	if v.Outcome, v.err = limited(ctx, o.timeout, cfg, f); ctx.Err() != nil {
		v.err = errInterrupted
	}
	return v
}

// limited runs f for at most d. A system call that hangs can only be called
// back from a System that can Abort: else its goroutine is left behind.
func limited(ctx context.Context, d time.Duration, cfg replay.Config, f *script.File) (replay.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	cfg.At = new(atomic.Pointer[script.Line])
	type result struct {
		out replay.Outcome
		err error
	}
	ended := make(chan result, 1)
	go func() {
		out, err := replay.Run(ctx, cfg, f)
		ended <- result{out, err}
	}()
	select {
	case r := <-ended:
		if errors.Is(r.err, context.DeadlineExceeded) {
			r.err = nil
			r.out.Failure = timedOut(f, cfg.At.Load(), d)
		}
		return r.out, r.err
	case <-ctx.Done():
		// Give the runner the chance to notice between two calls.
		select {
		case r := <-ended:
			if errors.Is(r.err, context.DeadlineExceeded) || r.err == nil && r.out.Failure == nil {
				return replay.Outcome{Failure: timedOut(f, cfg.At.Load(), d)}, nil
			}
			return r.out, r.err
		case <-time.After(100 * time.Millisecond):
			if a, ok := cfg.System.(interface{ Abort() }); ok {
				a.Abort() // which ends the call that hangs
			}
			return replay.Outcome{Failure: timedOut(f, cfg.At.Load(), d)}, nil
		}
	}
}

// timedOut is the failure of a script that was at line l when its time was over.
func timedOut(f *script.File, l *script.Line, d time.Duration) *replay.Failure {
	wanted, got := "an end within "+d.String(), "still running"
	if l == nil {
		start := script.Pos{File: f.Name, Line: 1, Col: 1}
		return &replay.Failure{Pos: start, Msg: "its time is over", Call: "start of the system", Wanted: wanted, Got: got}
	}
	return replay.Differs(l, 0, "its time is over", wanted, got)
}
