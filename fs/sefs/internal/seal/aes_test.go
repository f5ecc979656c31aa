package seal_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/seal"
)

// TestFastAES compares with what the kernel says of the processor.
func TestFastAES(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the names of the flags are those of x86")
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "\nflags")
	require.True(t, ok)
	line, _, _ := strings.Cut(rest, "\n")
	flags := " " + line + " "
	require.Equal(t, strings.Contains(flags, " aes ") && strings.Contains(flags, " pclmulqdq "), seal.FastAES())
}
