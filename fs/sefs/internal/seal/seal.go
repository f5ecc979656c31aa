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

// StaleError reports a volume that is not in its newest state, or not known to be.
// It unwraps to ESTALE.
type StaleError struct{ Reason string }

func (e *StaleError) Error() string { return "sefs: " + e.Reason }

// Unwrap returns unix.ESTALE.
func (e *StaleError) Unwrap() error { return unix.ESTALE }

// A KeyProblem says why a volume does not open, as far as that can be known.
type KeyProblem uint8

const (
	KeyUnknown  KeyProblem = iota
	KeyTampered            // the header is not the one that was written
	KeyRoot                // what the volume holds is not what was asked for by its root
	KeyWrong               // the key is another one
	KeySigner              // sealed to an enclave of another signer, product or program
	KeyMachine             // sealed by this enclave, on another machine
	KeyPlatform            // sealed by another kind of platform, or this is no enclave
	KeyPolicy              // sealed to a newer security version, or under a policy unknown here
	KeyMissing             // a key is needed and none is given, or the other way round
)

// KeyError reports that a volume cannot be opened with what is at hand. It
// unwraps to EACCES. Its text holds no secret.
type KeyError struct {
	Problem KeyProblem
	Reason  string
}

func (e *KeyError) Error() string { return "sefs: " + e.Reason }

// Unwrap returns unix.EACCES.
func (e *KeyError) Unwrap() error { return unix.EACCES }
