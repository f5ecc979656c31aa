//go:build race

package hostfs_test

// underRace makes the tests do less: the race detector looks at interleavings, and makes each several times as long.
const underRace = true
