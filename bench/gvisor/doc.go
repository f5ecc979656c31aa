// Package gvisor compares the path walk with that of gVisor's VFS. The benchmarks
// of both run in one binary, so that they are compared on one machine at one
// time: make bench-gvisor.
package gvisor
