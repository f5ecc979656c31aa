package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reported writes one script of each kind into a new directory; their names
// hold what is special in TAP, JSON and XML.
func reported(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"a.txt":           `sync() = 0`,
		"b.txt":           "# It fails in line 3.\nsync() = 0\nrmdir(\"/x<&\\1\") = 0",
		"c # \"1\" <.txt": `skip "no # reason"`,
		"d\\.txt":         `rubbish`,
		"e.txt":           `open("/f", O_WRONG) = 3`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestJSON(t *testing.T) {
	dir := reported(t)
	status, out, errs := runHarness("run", "--json", dir)
	require.Equal(t, exitBroken, status)
	require.Empty(t, errs)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	require.Len(t, lines, 5, "an object a line")
	var got []jsonVerdict
	for _, line := range lines {
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		var v jsonVerdict
		require.NoError(t, dec.Decode(&v), line)
		v.Millis = 0
		got = append(got, v)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	require.Equal(t, []jsonVerdict{
		{Script: at("a.txt"), Result: "pass", Calls: 1},
		{
			Script: at("b.txt"), Result: "fail", Calls: 2, Line: 3, Column: 19, Message: "the result differs",
			Call: `rmdir("/x<&\001")`, Wanted: "= 0", Got: "= -1 ENOENT (No such file or directory)",
		},
		{Script: at(`c # "1" <.txt`), Result: "skip", Reason: "no # reason"},
		{
			Script: at(`d\.txt`), Result: "error", Line: 1, Column: 1, Message: "system call, host:, enclave: or skip expected",
			Reason: at(`d\.txt`) + ":1:1: system call, host:, enclave: or skip expected\n\trubbish\n\t^",
		},
		{
			Script: at("e.txt"), Result: "error", Line: 1, Column: 12, Message: "open: unknown name O_WRONG",
			Reason: at("e.txt") + ":1:12: open: unknown name O_WRONG\n\topen(\"/f\", O_WRONG) = 3\n\t           ^",
		},
	}, got)
}

// tapPoint is one test point of a TAP stream.
type tapPoint struct {
	ok         bool
	name, skip string
	diagnosis  map[string]string
}

var tapPointLine = regexp.MustCompile(`^(not )?ok (\d+) - ((?:[^#\\]|\\[#\\])*?)(?: # SKIP (.*))?$`)

// parseTAP reads the part of TAP 14 that the harness prints, and nothing else.
func parseTAP(t *testing.T, out string) (points []tapPoint) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	require.Equal(t, "TAP version 14", lines[0])
	plan, ok := strings.CutPrefix(lines[1], "1..")
	require.True(t, ok, "plan")
	for i := 2; i < len(lines); i++ {
		m := tapPointLine.FindStringSubmatch(lines[i])
		require.NotNil(t, m, "a test point: %s", lines[i])
		require.Equal(t, strconv.Itoa(len(points)+1), m[2], "number of the test point")
		p := tapPoint{ok: m[1] == "", name: strings.NewReplacer(`\\`, `\`, `\#`, `#`).Replace(m[3]), skip: m[4]}
		if i+1 < len(lines) && lines[i+1] == "  ---" {
			p.diagnosis = map[string]string{}
			for i += 2; lines[i] != "  ..."; i++ {
				key, value, ok := strings.Cut(strings.TrimPrefix(lines[i], "  "), ": ")
				require.True(t, ok, "key and value: %s", lines[i])
				var text string
				require.NoError(t, json.Unmarshal([]byte(value), &text), lines[i])
				p.diagnosis[key] = text
			}
		}
		points = append(points, p)
	}
	require.Equal(t, plan, strconv.Itoa(len(points)))
	return points
}

func TestTAP(t *testing.T) {
	dir := reported(t)
	status, out, _ := runHarness("run", "--tap", dir)
	require.Equal(t, exitBroken, status)
	at := func(name string) string { return filepath.Join(dir, name) }
	require.Equal(t, []tapPoint{
		{ok: true, name: at("a.txt")},
		{name: at("b.txt"), diagnosis: map[string]string{
			"message": "the result differs", "severity": "fail", "wanted": "= 0", "got": "= -1 ENOENT (No such file or directory)",
			"at": at("b.txt") + ":3:19", "line": `rmdir("/x<&\1") = 0`,
		}},
		{ok: true, name: at(`c # "1" <.txt`), skip: "no # reason"},
		{name: at(`d\.txt`), diagnosis: map[string]string{
			"message": "system call, host:, enclave: or skip expected", "severity": "error", "at": at(`d\.txt`) + ":1:1", "line": "rubbish",
		}},
		{name: at("e.txt"), diagnosis: map[string]string{
			"message": "open: unknown name O_WRONG", "severity": "error", "at": at("e.txt") + ":1:12", "line": `open("/f", O_WRONG) = 3`,
		}},
	}, parseTAP(t, out))
}

func TestJUnit(t *testing.T) {
	dir := reported(t)
	file := filepath.Join(t.TempDir(), "j.xml")
	status, out, _ := runHarness("run", "--junit", file, dir)
	require.Equal(t, exitBroken, status)
	require.Contains(t, out, "1 passed, 1 failed, 1 skipped, 2 broken", "the report on standard output is printed as well")
	src, err := os.ReadFile(file)
	require.NoError(t, err)
	dec := xml.NewDecoder(bytes.NewReader(src))
	var suite junitSuite
	require.NoError(t, dec.Decode(&suite))
	require.Equal(t, []int{5, 1, 2, 1}, []int{suite.Tests, suite.Failures, suite.Errors, suite.Skipped})
	require.Len(t, suite.Cases, 5)
	require.Nil(t, suite.Cases[0].Failure)
	require.Equal(t, `rmdir("/x<&\001")`, suite.Cases[1].Failure.Message)
	require.Equal(t, 3, suite.Cases[1].Line)
	require.Contains(t, suite.Cases[1].Failure.Text, "wanted: = 0")
	require.Equal(t, filepath.Join(dir, `c # "1" <.txt`), suite.Cases[2].Name)
	require.Equal(t, "no # reason", suite.Cases[2].Skipped.Message)
	require.Contains(t, suite.Cases[3].Error.Text, ":1:1: ")
	for _, c := range append(suite.Cases, junitCase{Time: suite.Time}) {
		_, err := strconv.ParseFloat(c.Time, 64)
		require.NoError(t, err, "seconds of %s", c.Name)
	}

	status, _, errs := runHarness("run", "--junit", filepath.Join(dir, "missing", "j.xml"), filepath.Join(dir, "a.txt"))
	require.Equal(t, exitBroken, status, "a report that cannot be written is no success")
	require.Contains(t, errs, "j.xml")
}
