//go:build !race

package permtest

const stride = 1 // all cells
