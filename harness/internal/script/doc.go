// Package script reads and prints the notation of harness scripts, which is
// that of strace(1): one system call per line with its arguments, its result
// and the task that made it.
//
// The package knows the form of a line and nothing of what a call does. Print
// and Parse are inverse: Parse(Print(f)) gives f again.
package script
