package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloister/harness/internal/script"
)

// tapReport prints the Test Anything Protocol, version 14.
type tapReport struct {
	w       io.Writer
	planned int
	n       int
	err     error
}

func (t *tapReport) begin(scripts int) {
	t.planned = scripts
	t.printf("TAP version 14\n1..%d\n", scripts)
}

func (t *tapReport) end() error {
	if t.n < t.planned {
		t.printf("Bail out! %v\n", errInterrupted)
	}
	return t.err
}

func (t *tapReport) printf(format string, args ...any) {
	_, err := fmt.Fprintf(t.w, format, args...)
	t.err = cmp.Or(t.err, err)
}

func (t *tapReport) script(v verdict) {
	t.n++
	name := tapName.Replace(v.path)
	switch {
	case v.err != nil:
		t.printf("not ok %d - %s\n", t.n, name)
		diagnosis := [][2]string{{"message", v.err.Error()}, {"severity", "error"}}
		if bad, ok := errors.AsType[*script.Error](v.err); ok {
			diagnosis = append([][2]string{{"message", bad.Msg}, {"severity", "error"}}, place(bad.Pos, bad.Line)...)
		}
		t.yaml(diagnosis)
	case v.Failure != nil:
		t.printf("not ok %d - %s\n", t.n, name)
		f := v.Failure
		t.yaml(append([][2]string{{"message", f.Msg}, {"severity", "fail"}, {"wanted", f.Wanted}, {"got", f.Got}}, place(f.Pos, f.Line)...))
	case v.SkipReason != "":
		t.printf("ok %d - %s # SKIP %s\n", t.n, name, tapLine.Replace(v.SkipReason))
	default:
		t.printf("ok %d - %s\n", t.n, name)
	}
}

func place(p script.Pos, line string) [][2]string {
	return [][2]string{{"at", p.String()}, {"line", line}}
}

// A name ends at a # that no backslash precedes, and at the end of the line.
var (
	tapName = strings.NewReplacer("\\", "\\\\", "#", "\\#", "\n", " ", "\r", " ")
	tapLine = strings.NewReplacer("\n", " ", "\r", " ")
)

// yaml prints a diagnostic block: keys with strings in quotes, for which YAML
// and JSON have the same form.
func (t *tapReport) yaml(diagnosis [][2]string) {
	t.printf("  ---\n")
	for _, d := range diagnosis {
		text, err := json.Marshal(d[1])
		t.err = cmp.Or(t.err, err)
		t.printf("  %s: %s\n", d[0], text)
	}
	t.printf("  ...\n")
}
