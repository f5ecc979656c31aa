// Package seal holds the keys, the nonces and the authenticated encryption of
// SEFS. It is the one place of the file system that uses crypto and randomness.
//
// Key hierarchy: the user's key opens a slot of the header, which holds the
// random secret of the volume; from the secret and a random SessionID comes
// the AES-GCM key of one session, that is of one read-write mount (or of 2^32
// messages, whichever ends first). Within a session the nonces are a counter
// that lives only in memory. A volume that the host rolled back or forked
// therefore meets a fresh key, and no (key, nonce) pair can repeat.
package seal

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CorruptError reports data that is not what was last written: damaged,
// missing, or forged by the host. It unwraps to EIO.
type CorruptError struct {
	Block  string // which block, e.g. "segment 3 block 17" or "heads"
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("sefs: %s is corrupt: %s", e.Block, e.Reason)
}

// Unwrap returns unix.EIO.
func (e *CorruptError) Unwrap() error { return unix.EIO }

// KeyError reports that a key does not open a volume: it is not the key of the
// volume, or the header was tampered with. It unwraps to EACCES.
type KeyError struct{ Reason string }

func (e *KeyError) Error() string { return "sefs: " + e.Reason }

// Unwrap returns unix.EACCES.
func (e *KeyError) Unwrap() error { return unix.EACCES }
