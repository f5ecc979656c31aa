package mountopt

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"
)

const badMAC = "is not a MAC: 32 bytes as 64 hex digits"

// A MAC is the root MAC of an image, by which a mount can ask for this content and
// no other. It is no secret.
type MAC [32]byte

// ParseMAC reads a MAC from 64 hex digits in upper or lower case.
//
// Errors: EINVAL for any other text.
func ParseMAC(text string) (MAC, error) {
	var m MAC
	if len(text) != hex.EncodedLen(len(m)) {
		return MAC{}, fmt.Errorf("mountopt: text %s: %w", badMAC, unix.EINVAL)
	}
	if _, err := hex.Decode(m[:], []byte(text)); err != nil {
		return MAC{}, fmt.Errorf("mountopt: text %s: %w", badMAC, unix.EINVAL)
	}
	return m, nil
}

// String returns the digits in lower case.
func (m MAC) String() string { return hex.EncodeToString(m[:]) }
