package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cloister/harness/internal/replay"
)

// A reporter tells people or programs what became of the scripts.
type reporter interface {
	begin(scripts int)
	script(v verdict)
	end() error
}

// reporter returns what the flags ask for; done closes its file.
func (o *options) reporter(stdout io.Writer) (rep reporter, done func() error, err error) {
	switch {
	case o.json:
		rep = newJSONReport(stdout)
	case o.tap:
		rep = &tapReport{w: stdout}
	default:
		rep = &textReport{w: stdout}
		if o.verbose {
			rep = &textReport{w: &commented{w: stdout, start: true}}
		}
	}
	done = func() error { return nil }
	if o.junit != "" {
		file, err := os.Create(o.junit)
		if err != nil {
			return nil, nil, err
		}
		rep = both{rep, &junitReport{w: file}}
		done = file.Close
	}
	return rep, done, nil
}

// both reports twice.
type both [2]reporter

func (b both) begin(n int)      { b[0].begin(n); b[1].begin(n) }
func (b both) script(v verdict) { b[0].script(v); b[1].script(v) }
func (b both) end() error       { return errors.Join(b[0].end(), b[1].end()) }

// textReport prints a line for each script, and why it failed.
type textReport struct {
	w                               io.Writer
	passed, failed, skipped, broken int
	sum                             replay.Outcome
}

func (t *textReport) begin(int) {}

func (t *textReport) script(v verdict) {
	t.sum.Calls += v.Calls
	t.sum.Skipped += v.Skipped
	t.sum.Unsupported += v.Unsupported
	t.sum.Marked += v.Marked
	switch {
	case v.err != nil:
		t.broken++
		fmt.Fprintf(t.w, "ERROR %s\n  %s\n", v.path, indent(v.err.Error()))
	case v.Failure != nil:
		t.failed++
		fmt.Fprintf(t.w, "FAIL  %s\n  %s\n", v.path, indent(v.Failure.String()))
	case v.SkipReason != "":
		t.skipped++
		fmt.Fprintf(t.w, "skip  %s: %s\n", v.path, v.SkipReason)
	default:
		t.passed++
		fmt.Fprintf(t.w, "ok    %s (%s)\n", v.path, tally(v.Outcome))
	}
	if v.host != "" {
		fmt.Fprintf(t.w, "  kept: %s\n", v.host)
	}
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n  ") }

// tally counts calls and lines.
func tally(o replay.Outcome) string {
	s := fmt.Sprintf("%d calls, %d skipped", o.Calls, o.Skipped)
	if o.Marked > 0 {
		s += fmt.Sprintf(", %d marked for other systems", o.Marked)
	}
	if o.Unsupported > 0 {
		s += fmt.Sprintf(", %d not offered", o.Unsupported)
	}
	return s
}

// commented makes comments of a script from lines.
type commented struct {
	w     io.Writer
	start bool // of a line
}

// Write puts "# " before each line.
func (c *commented) Write(p []byte) (int, error) {
	var b []byte
	for _, ch := range p {
		if c.start {
			b = append(b, "# "...)
		}
		b = append(b, ch)
		c.start = ch == '\n'
	}
	if _, err := c.w.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *textReport) end() error {
	_, err := fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped, %d broken (%s)\n",
		t.passed, t.failed, t.skipped, t.broken, tally(t.sum))
	return err
}
