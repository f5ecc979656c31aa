package e2e

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	stdsyscall "syscall"

	"github.com/stretchr/testify/require"
)

// maxRSS returns the largest resident set of a finished process, in bytes.
func maxRSS(cmd *exec.Cmd) int64 {
	return cmd.ProcessState.SysUsage().(*stdsyscall.Rusage).Maxrss << 10
}

// countHostCalls counts the read and write system calls of this process while
// f runs, from /proc/self/io: what the store asks of the host, and nothing
// else reads or writes meanwhile.
func countHostCalls(t *testing.T, f func()) int64 {
	t.Helper()
	calls := func() (n int64) {
		data, err := os.ReadFile("/proc/self/io")
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if name == "syscr" || name == "syscw" {
				v, err := strconv.ParseInt(value, 10, 64)
				require.NoError(t, err)
				n += v
			}
		}
		return n
	}
	before := calls()
	again := calls() // what counting itself costs
	f()
	return calls() - again - (again - before)
}
