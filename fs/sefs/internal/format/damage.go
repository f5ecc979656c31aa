package format

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DamageError reports bytes that are not the structure they should be. It
// unwraps to EIO.
type DamageError struct {
	What   string // the structure, e.g. "node"
	Reason string
}

func (e *DamageError) Error() string { return fmt.Sprintf("format: %s: %s", e.What, e.Reason) }

// Unwrap returns unix.EIO.
func (e *DamageError) Unwrap() error { return unix.EIO }
