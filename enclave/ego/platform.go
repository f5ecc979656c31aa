package ego

import (
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/enclave"
)

// A Platform is the platform of the running SGX enclave. It implements
// enclave.Platform.
type Platform struct {
	rt       runtime
	identity enclave.Identity
}

var _ enclave.Platform = (*Platform)(nil)

// A runtime is what this package uses of EGo's package enclave.
type runtime struct {
	selfReport func() (report, error)
	productKey func() (key, info []byte, err error) // EGETKEY with MRSIGNER
	uniqueKey  func() (key, info []byte, err error) // EGETKEY with MRENCLAVE
	key        func(info []byte) ([]byte, error)    // EGETKEY; panics on empty info
}

// A report is EGo's attestation.Report without what has nothing to do with
// identity.
type report struct {
	uniqueID        []byte // 32 bytes
	signerID        []byte // 32 bytes
	productID       []byte // 16 bytes, little-endian
	securityVersion uint
	debug           bool
}

func newPlatform(rt runtime) (*Platform, error) {
	r, err := rt.selfReport()
	if err != nil {
		return nil, failed("get own report", err)
	}
	id := enclave.Identity{SecurityVersion: uint16(r.securityVersion), Debug: r.debug}
	if len(r.uniqueID) != len(id.Measurement) || len(r.signerID) != len(id.Signer) ||
		len(r.productID) < 2 || !allZero(r.productID[2:]) || r.securityVersion > 0xffff {
		return nil, fmt.Errorf("ego: own report is not one of an SGX enclave: %w", unix.EIO)
	}
	copy(id.Measurement[:], r.uniqueID)
	copy(id.Signer[:], r.signerID)
	id.ProductID = uint16(r.productID[0]) | uint16(r.productID[1])<<8
	return &Platform{rt: rt, identity: id}, nil
}

// Kind returns enclave.KindSGX.
func (p *Platform) Kind() string { return enclave.KindSGX }

// Identity returns the identity in the enclave's own report.
func (p *Platform) Identity() enclave.Identity { return p.identity }

// SealKey implements enclave.Platform. Each call gives another key, because EGo
// puts a random KEYID into the request.
func (p *Platform) SealKey(policy enclave.Policy) (key, info []byte, err error) {
	switch policy {
	case enclave.Product:
		key, info, err = p.rt.productKey()
	case enclave.Unique:
		key, info, err = p.rt.uniqueKey()
	default:
		return nil, nil, fmt.Errorf("ego: key policy %v: %w", policy, unix.EINVAL)
	}
	if err != nil {
		return nil, nil, failed("get seal key", err)
	}
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	// What could not be used later must not protect anything now.
	if err := p.checkRequest(policy, info); err != nil {
		clear(key)
		return nil, nil, fmt.Errorf("ego: EGo made unknown key information (%v): %w", err, unix.EIO)
	}
	return key, info, nil
}

// SealKeyFor implements enclave.Platform.
func (p *Platform) SealKeyFor(policy enclave.Policy, info []byte) ([]byte, error) {
	if policy != enclave.Product && policy != enclave.Unique {
		return nil, fmt.Errorf("ego: key policy %v: %w", policy, unix.EINVAL)
	}
	if err := p.checkRequest(policy, info); err != nil {
		return nil, fmt.Errorf("ego: %w: %w", err, unix.EACCES)
	}
	key, err := p.rt.key(info)
	if err != nil {
		return nil, failed("get seal key", err)
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

func checkKey(key []byte) error {
	if len(key) != enclave.SealKeySize {
		clear(key)
		return fmt.Errorf("ego: seal key has %d bytes instead of %d: %w", len(key), enclave.SealKeySize, unix.EIO)
	}
	if allZero(key) {
		return fmt.Errorf("ego: seal key is all zero: not in an SGX enclave, or in simulation mode: %w", unix.ENOSYS)
	}
	return nil
}

// allZero tells whether b holds only zeros, in a time that does not depend on b.
func allZero(b []byte) bool {
	var any byte
	for _, c := range b {
		any |= c
	}
	return any == 0
}

// failed gives an error of EGo the errno that enclave.Platform promises. EGo
// returns results of Open Enclave as text; an errno in err says nothing here.
func failed(what string, err error) error {
	errno := unix.EIO
	switch err.Error() {
	case "OE_UNSUPPORTED":
		return fmt.Errorf("ego: %s: not in an SGX enclave, or in simulation mode: %w", what, unix.ENOSYS)
	case "OE_INVALID_CPUSVN", "OE_INVALID_ISVSVN", "OE_INVALID_KEYNAME":
		// EGETKEY refuses a security version that is newer than the present one.
		errno = unix.EACCES
	}
	return fmt.Errorf("ego: %s: %v: %w", what, err, errno)
}
