package treecopy_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/kernel"
)

// asNobody runs fn in a thread whose file accesses are those of an unprivileged user. The
// thread ends with it.
func asNobody(t *testing.T, fn func() error) {
	t.Helper()
	require.NoError(t, kernel.OnThread(func() error {
		// The raw calls change this thread only; setfsuid drops the capabilities for files.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETFSGID, 65534, 0, 0); errno != 0 {
			return errno
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
			return errno
		}
		return fn()
	}))
}
