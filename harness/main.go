// Command harness drives system calls from scripts in strace notation and
// judges the answers. docs/harness.md describes the notation.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}
