//go:build ego

package main

import (
	"io"

	"cloister/enclave"
	"cloister/enclave/ego"
)

// newPlatform returns the SGX platform. A program built for the enclave has no
// other: a host that could make it fall back to simulated keys would read all.
func newPlatform(io.Writer) (enclave.Platform, error) { return ego.New() }
