package syscall_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/syscall"
)

// TestDocs: docs/syscalls.md names every call.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/syscalls.md")
	require.NoError(t, err)
	named := strings.ReplaceAll(string(text), "_", "")
	other := map[string]string{ // what the page calls otherwise
		"FcntlFlock": "`fcntl`", "Interrupt": "`Task.Interrupt`", "ProcMounts": "`Task.ProcMounts`", "ProcMountinfo": "`Task.ProcMountinfo`",
	}
	task := reflect.TypeFor[*syscall.Task]()
	for i := range task.NumMethod() {
		name := task.Method(i).Name
		want, ok := other[name]
		if !ok {
			want = "`" + strings.ToLower(name) + "`"
		}
		require.Contains(t, named, want, "method %s", name)
	}
}
