package testenv

import (
	"fmt"
	"os/exec"
	"syscall"
)

// tryUserNamespace runs a process in a user namespace with a mount namespace in
// it. A thread of this process will not do: unshare(2) of a user namespace asks
// for a process with one thread.
func tryUserNamespace() error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("process in a user namespace: %w: %s", err, out)
	}
	return nil
}
