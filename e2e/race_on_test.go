//go:build race

package e2e

// underRace makes the tests use less data: the race detector looks at
// interleavings, not at bytes.
const underRace = true
