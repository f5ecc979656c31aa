package volume_test

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func fdatasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// allocated returns the bytes that a file takes on its file system.
func allocated(t testing.TB, name string) int64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st), "stat %s", name)
	return st.Blocks * 512
}

// forgetPeak makes peak start again, where the kernel lets it.
func forgetPeak(t testing.TB) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Logf("the peak of memory includes what was before: %v", err)
	}
}

// peak returns the most memory the process had, in MiB.
func peak(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return float64(kib) / 1024
		}
	}
	t.Fatal("/proc/self/status has no VmHWM")
	return 0
}
