package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	inBackticks = regexp.MustCompile("`([^`]+)`")
	scriptWord  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*(-?\*)?$`)
	goTestWord  = regexp.MustCompile(`^([a-z0-9/]+)\.(Test[A-Za-z0-9_]+)$`)
)

// TestConformancePage checks docs/conformance.md: what it names exists, and it
// names every script.
func TestConformancePage(t *testing.T) {
	page, err := os.ReadFile("../docs/conformance.md")
	require.NoError(t, err)
	named := map[string]bool{}
	rules := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, ""), "|")
		if len(cells) < 4 || cells[0] != "" || strings.HasPrefix(cells[1], "---") || strings.Contains(cells[len(cells)-2], "Shown by") {
			continue
		}
		words := inBackticks.FindAllStringSubmatch(cells[len(cells)-2], -1)
		require.NotEmpty(t, words, "what shows the rule: %s", line)
		rules++
		for _, word := range words {
			if m := goTestWord.FindStringSubmatch(word[1]); m != nil {
				requireGoTest(t, m[1], m[2])
				continue
			}
			require.Regexp(t, scriptWord, word[1], "a script or a test: %s", line)
			found, err := filepath.Glob("testdata/" + word[1] + ".txt")
			require.NoError(t, err)
			require.NotEmpty(t, found, "no script %s: %s", word[1], line)
			for _, path := range found {
				named[path] = true
			}
		}
	}
	require.Greater(t, rules, 120, "rules on the page")
	for _, path := range testdata(t) {
		require.True(t, named[path], "%s is on no row of docs/conformance.md", path)
	}
}

// requireGoTest checks that a package of this module has a test.
func requireGoTest(t *testing.T, pkg, name string) {
	t.Helper()
	files, err := filepath.Glob("../" + pkg + "/*_test.go")
	require.NoError(t, err)
	for _, path := range files {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		if strings.Contains(string(src), "\nfunc "+name+"(t *testing.T)") {
			return
		}
	}
	require.Fail(t, "no such test", "%s in %s", name, pkg)
}
