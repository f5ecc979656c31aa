package fuseserver_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestReadAhead: the kernel reads further ahead than by default, if that can be set here.
func TestReadAhead(t *testing.T) {
	s := start(t, "", "")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(s.dir, &st))
	knob := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	want := "512"
	if unix.Access(knob, unix.W_OK) != nil {
		want = "128" // the kernel's own, and no failure
	}
	got, err := os.ReadFile(knob)
	require.NoError(t, err)
	require.Equal(t, want, strings.TrimSpace(string(got)))
	s.stop(t)
}
