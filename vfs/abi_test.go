package vfs

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/abi/linux"
)

// TestABI holds the constants that x/sys lacks against gVisor's. They are not
// taken from there because pkg/abi/linux would bring its own imports, logging
// among them, into the enclave.
func TestABI(t *testing.T) {
	require.EqualValues(t, linux.ST_VALID, stValid)
	require.EqualValues(t, linux.ST_NOSYMFOLLOW, stNoSymfollow)
	require.EqualValues(t, linux.MaxSymlinkTraversals, maxSymlinks)
}
