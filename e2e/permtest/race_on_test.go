//go:build race

package permtest

// stride is which part of the matrix is tried: each cell takes some dozens of calls through FUSE, and with the race
// detector all of them would take minutes. The number has no factor in common with those of actors and calls.
const stride = 11
