package treecopy_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asNobody runs fn in a thread whose file accesses are those of an unprivileged user. The
// thread ends with it.
func asNobody(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is thrown away
		// The raw calls change this thread only; setfsuid drops the capabilities for files.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETFSGID, 65534, 0, 0); errno != 0 {
			done <- errno
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
			done <- errno
			return
		}
		done <- fn()
	}()
	require.NoError(t, <-done)
}
