// Command harness drives system calls from scripts in strace notation and
// judges the answers. docs/harness.md describes the notation.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/fuserun"
)

func main() {
	if slices.Equal(os.Args[1:], []string{fuserun.ServeArg}) {
		serveFUSE()
	}
	// An interrupted script is taken down like one that failed: mounts and files
	// of it do not stay behind.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	status := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// serveFUSE is the child process of --on=fuse.
func serveFUSE() {
	if err := fuserun.Serve(); err != nil {
		fmt.Fprintln(os.Stderr, "harness: FUSE server:", err)
		os.Exit(exitFailed)
	}
	os.Exit(exitPassed)
}
