package hostfs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRulesHaveTests: the tests that the documentation names for its rules are there.
func TestRulesHaveTests(t *testing.T) {
	doc, err := os.ReadFile("../../docs/hostfs.md")
	require.NoError(t, err)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var code strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		code.Write(text)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(doc), -1)
	require.Greater(t, len(named), 28)
	for _, name := range named {
		require.Contains(t, code.String(), "\nfunc "+name[1]+"(", "docs/hostfs.md names it")
	}
	rules := regexp.MustCompile(`(?m)^\| H(\d+) \|`).FindAllStringSubmatch(string(doc), -1)
	require.Len(t, rules, 28)
}
