package mountopt

import (
	"encoding/hex"
	"fmt"
	"strings"

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

// noMAC stands for none in a RootMACs option.
const noMAC = "-"

// parseMACs reads the value of a RootMACs option.
func (val *value) parseMACs(text string) (reason string) {
	for elem := range strings.SplitSeq(text, ":") {
		if elem == noMAC {
			val.macs = append(val.macs, nil)
			continue
		}
		mac, err := ParseMAC(elem)
		if err != nil {
			return `has an element that ` + badMAC + `, or "-"`
		}
		val.macs = append(val.macs, &mac)
	}
	return ""
}

// A Layer is a lower directory of a union.
type Layer struct {
	Dir string // on the host
	MAC *MAC   // that its image must have; nil: any
}

// Layers returns the layers in dirs, with the MACs of all of them or, if macs is empty, without.
//
// Errors: EINVAL if the numbers differ.
func Layers(dirs []string, macs []*MAC) ([]Layer, error) {
	if len(macs) > 0 && len(macs) != len(dirs) {
		return nil, fmt.Errorf("mountopt: %d MACs for %d layers: %w", len(macs), len(dirs), unix.EINVAL)
	}
	layers := make([]Layer, len(dirs))
	for i, dir := range dirs {
		layers[i].Dir = dir
		if len(macs) > 0 {
			layers[i].MAC = macs[i]
		}
	}
	return layers, nil
}
