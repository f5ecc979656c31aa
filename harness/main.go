// Command harness drives system calls from scripts in strace notation and
// judges the answers. docs/harness.md describes the notation.
package main

import (
	"fmt"
	"os"
	"slices"

	"cloister/harness/internal/fuserun"
)

func main() {
	if slices.Equal(os.Args[1:], []string{fuserun.ServeArg}) {
		serveFUSE()
	}
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// serveFUSE is the child process of --on=fuse.
func serveFUSE() {
	if err := fuserun.Serve(); err != nil {
		fmt.Fprintln(os.Stderr, "harness: FUSE server:", err)
		os.Exit(exitFailed)
	}
	os.Exit(exitPassed)
}
