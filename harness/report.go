package main

import (
	"encoding/json"
	"encoding/xml"
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
		rep = &jsonReport{enc: json.NewEncoder(stdout)}
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

// jsonReport prints one object for each script.
type jsonReport struct {
	enc *json.Encoder
	err error
}

// jsonVerdict is a line of --json; its names are a contract.
type jsonVerdict struct {
	Script      string `json:"script"`
	Result      string `json:"result"` // pass, fail, skip, error
	Calls       int    `json:"calls"`
	Skipped     int    `json:"skipped"`
	Unsupported int    `json:"unsupported"`
	Marked      int    `json:"marked"` // lines for other systems
	Millis      int64  `json:"ms"`
	Line        int    `json:"line,omitempty"`
	Call        string `json:"call,omitempty"`
	Wanted      string `json:"wanted,omitempty"`
	Got         string `json:"got,omitempty"`
	Reason      string `json:"reason,omitempty"` // of a skip or an error
	Host        string `json:"host,omitempty"`   // with --keep
}

func (j *jsonReport) begin(int) {}

func (j *jsonReport) script(v verdict) {
	o := jsonVerdict{
		Script: v.path, Result: "pass", Calls: v.Calls, Skipped: v.Skipped, Unsupported: v.Unsupported, Marked: v.Marked,
		Millis: v.took.Milliseconds(), Reason: v.SkipReason, Host: v.host,
	}
	switch {
	case v.err != nil:
		o.Result, o.Reason = "error", v.err.Error()
	case v.Failure != nil:
		o.Result = "fail"
		o.Line, o.Call, o.Wanted, o.Got = v.Failure.Pos.Line, v.Failure.Call, v.Failure.Wanted, v.Failure.Got
	case v.SkipReason != "":
		o.Result = "skip"
	}
	j.err = errors.Join(j.err, j.enc.Encode(o))
}

func (j *jsonReport) end() error { return j.err }

// tapReport prints the Test Anything Protocol, version 14.
type tapReport struct {
	w io.Writer
	n int
}

func (t *tapReport) begin(scripts int) { fmt.Fprintf(t.w, "TAP version 14\n1..%d\n", scripts) }

func (t *tapReport) script(v verdict) {
	t.n++
	name := strings.NewReplacer("\\", "\\\\", "#", "\\#").Replace(v.path)
	switch {
	case v.err != nil:
		fmt.Fprintf(t.w, "not ok %d - %s\n%s", t.n, name, comment(v.err.Error()))
	case v.Failure != nil:
		fmt.Fprintf(t.w, "not ok %d - %s\n%s", t.n, name, comment(v.Failure.String()))
	case v.SkipReason != "":
		fmt.Fprintf(t.w, "ok %d - %s # SKIP %s\n", t.n, name, v.SkipReason)
	default:
		fmt.Fprintf(t.w, "ok %d - %s\n", t.n, name)
	}
}

func comment(s string) string { return "# " + strings.ReplaceAll(s, "\n", "\n# ") + "\n" }

func (t *tapReport) end() error { return nil }

// junitReport writes one test suite.
type junitReport struct {
	w     io.Writer
	suite junitSuite
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string     `xml:"name,attr"`
	Time    string     `xml:"time,attr"` // seconds
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
	Skipped *junitText `xml:"skipped"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func (j *junitReport) begin(int) { j.suite.Name = "harness" }

func (j *junitReport) script(v verdict) {
	c := junitCase{Name: v.path, Time: fmt.Sprintf("%.3f", v.took.Seconds())}
	j.suite.Tests++
	switch {
	case v.err != nil:
		j.suite.Errors++
		c.Error = &junitText{Message: "cannot be run", Text: v.err.Error()}
	case v.Failure != nil:
		j.suite.Failures++
		c.Failure = &junitText{Message: v.Failure.Call, Text: v.Failure.String()}
	case v.SkipReason != "":
		j.suite.Skipped++
		c.Skipped = &junitText{Message: v.SkipReason}
	}
	j.suite.Cases = append(j.suite.Cases, c)
}

func (j *junitReport) end() error {
	enc := xml.NewEncoder(j.w)
	enc.Indent("", "  ")
	_, err := io.WriteString(j.w, xml.Header)
	return errors.Join(err, enc.Encode(j.suite), enc.Close())
}
