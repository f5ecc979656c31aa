//go:build !cgo

package ego

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// New fails: EGo's package needs cgo.
//
// Errors: ENOSYS.
func New() (*Platform, error) {
	return nil, fmt.Errorf("ego: this program was built without cgo: %w", unix.ENOSYS)
}
