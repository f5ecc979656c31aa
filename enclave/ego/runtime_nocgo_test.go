//go:build !cgo

package ego

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestNewWithoutCgo(t *testing.T) {
	_, err := New()
	require.ErrorIs(t, err, unix.ENOSYS)
}
