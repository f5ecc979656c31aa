//go:build ego

package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestNoEnclave: built for SGX, the program runs nowhere else.
func TestNoEnclave(t *testing.T) {
	var out bytes.Buffer
	require.ErrorIs(t, run(t.Context(), nil, &out), unix.ENOSYS)
	require.Empty(t, out.String())
}
