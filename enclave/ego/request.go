package ego

import (
	"encoding/binary"
	"errors"
	"fmt"

	"cloister/enclave"
)

// Places of the fields in a KEYREQUEST, little-endian: Intel SDM, volume 3D,
// "Key Request (KEYREQUEST)".
const (
	offKeyName       = 0  // 2 bytes
	offKeyPolicy     = 2  // 2 bytes
	offISVSVN        = 4  // 2 bytes
	offReserved      = 6  // 2 bytes
	offCPUSVN        = 8  // 16 bytes
	offAttributeMask = 24 // 16 bytes: flags, XFRM
	offKeyID         = 40 // 32 bytes
	offMiscMask      = 72 // 4 bytes
	offRest          = 76 // CONFIGSVN and reserved, all zero
	requestSize      = 512
)

const (
	keyNameSeal     = 4 // KEYNAME: SEAL_KEY
	policyMRENCLAVE = 1 // KEYPOLICY
	policyMRSIGNER  = 2

	// The attributes that go into the key, as EGo and Open Enclave choose them
	// (OE_SEALKEY_DEFAULT_*MASK): of the flags INIT, DEBUG and all that are not
	// known to be harmless, no XFRM, of MISCSELECT the same way.
	sealFlagsMask = 0xff0000000000000b
	sealXFRMMask  = 0
	sealMiscMask  = 0xf0000000
)

// checkRequest checks that info is a KEYREQUEST as EGo makes it for policy, for
// a security version that this enclave has. The processor checks CPUSVN. The
// errors have no errno.
func (p *Platform) checkRequest(policy enclave.Policy, info []byte) error {
	if len(info) != requestSize {
		return fmt.Errorf("key information has %d bytes instead of %d", len(info), requestSize)
	}
	wantPolicy := uint16(policyMRSIGNER)
	if policy == enclave.Unique {
		wantPolicy = policyMRENCLAVE
	}
	le := binary.LittleEndian
	switch {
	case le.Uint16(info[offKeyName:]) != keyNameSeal:
		return errors.New("key information is not for a seal key")
	case le.Uint16(info[offKeyPolicy:]) != wantPolicy:
		return fmt.Errorf("key information is not for the policy %v", policy)
	case le.Uint64(info[offAttributeMask:]) != sealFlagsMask,
		le.Uint64(info[offAttributeMask+8:]) != sealXFRMMask,
		le.Uint32(info[offMiscMask:]) != sealMiscMask,
		!allZero(info[offReserved:offCPUSVN]), !allZero(info[offRest:]):
		return errors.New("key information is malformed")
	}
	if version := le.Uint16(info[offISVSVN:]); version > p.identity.SecurityVersion {
		return fmt.Errorf("key belongs to security version %d, this enclave has %d", version, p.identity.SecurityVersion)
	}
	return nil
}
