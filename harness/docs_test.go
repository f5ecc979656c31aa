package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFirstScriptOfTheDocs runs the tour of docs/harness.md and compares what is
// printed there.
func TestFirstScriptOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/harness.md")
	require.NoError(t, err)
	block := func(begin string) string {
		_, text, found := strings.Cut(string(page), "```\n"+begin)
		require.True(t, found, "a block that begins with %s", begin)
		text, _, found = strings.Cut(begin+text, "```\n")
		require.True(t, found, "its end")
		return text
	}
	notes := block("# Notes are kept")
	t.Chdir(t.TempDir())
	run := func(text string, args ...string) (int, string) {
		require.NoError(t, os.WriteFile("notes.txt", []byte(text), 0o600))
		status, out, errs := runHarness(append(append([]string{"run"}, args...), "notes.txt")...)
		require.Empty(t, errs)
		return status, out
	}

	status, out := run(notes)
	require.Equal(t, exitFailed, status)
	require.Equal(t, block("FAIL  notes.txt"), out)

	status, out = run(strings.Replace(notes, "umount(", "close(3) = 0\numount(", 1))
	require.Equal(t, exitPassed, status)
	require.Equal(t, block("ok    notes.txt"), out)

	status, out = run(strings.Replace(notes, "O_CREAT", "O_CRAET", 1))
	require.Equal(t, exitBroken, status)
	require.True(t, strings.HasPrefix(out, block("ERROR notes.txt")), out)
}
