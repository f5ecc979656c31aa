//go:build !race

package hostfs_test

const underRace = false
