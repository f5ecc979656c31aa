// Package sim stands in for an enclave platform where there is none: it derives
// seal keys as SGX does, but from a secret in a file instead of one in the
// processor. Who can read that file has all keys, so sim protects nothing
// against the host; it makes the rules of sealing testable, and images usable on
// machines without SGX. Images record its kind, so that a simulated key never
// passes for a real one.
//
// A key depends on the machine secret, the signer, the product id, the debug flag
// and a security version of at most the enclave's own; under enclave.Unique on
// the measurement, too. That is what EGETKEY mixes for a seal key (Intel SDM, volume 3D),
// with two differences: a processor leaves the signer out under MRENCLAVE,
// where the measurement alone decides, and it mixes in a security version of its
// own (CPUSVN), which no simulated machine has.
package sim

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/enclave"
)

// MinSecret is the shortest machine secret in bytes.
const MinSecret = 16

// A Config is a machine and the enclave that runs on it. The zero values of all
// fields but MachineSecret are allowed: an unsigned enclave of product 0,
// version 0, with an all-zero measurement, not for debugging.
type Config struct {
	MachineSecret   []byte // stands for the processor's fused keys; at least MinSecret bytes, copied
	Signer          [32]byte
	ProductID       uint16
	SecurityVersion uint16
	Measurement     [32]byte
	Debug           bool
}

// A Platform is a simulated enclave platform. It implements enclave.Platform.
type Platform struct {
	secret   []byte
	identity enclave.Identity
}

var _ enclave.Platform = (*Platform)(nil)

// New returns the platform that c describes.
//
// Errors: EINVAL if the machine secret is too short.
func New(c Config) (*Platform, error) {
	if len(c.MachineSecret) < MinSecret {
		return nil, fmt.Errorf("sim: machine secret of %d bytes is shorter than %d: %w", len(c.MachineSecret), MinSecret, unix.EINVAL)
	}
	return &Platform{
		secret: slices.Clone(c.MachineSecret),
		identity: enclave.Identity{
			Measurement:     c.Measurement,
			Signer:          c.Signer,
			ProductID:       c.ProductID,
			SecurityVersion: c.SecurityVersion,
			Debug:           c.Debug,
		},
	}, nil
}

// Kind returns enclave.KindSimulation.
func (p *Platform) Kind() string { return enclave.KindSimulation }

// Identity returns what the Config said.
func (p *Platform) Identity() enclave.Identity { return p.identity }

// A request is what KEYREQUEST is to EGETKEY. As key information it is
// requestSize bytes:
//
//	0   1   format, 1
//	1   1   policy
//	2   2   security version, little-endian
//	4   32  random key id
type request struct {
	policy  enclave.Policy
	version uint16
	keyID   [32]byte
}

const (
	requestFormat = 1
	requestSize   = 36
)

func (r *request) encode() []byte {
	info := make([]byte, 0, requestSize)
	info = append(info, requestFormat, byte(r.policy))
	info = binary.LittleEndian.AppendUint16(info, r.version)
	return append(info, r.keyID[:]...)
}

// SealKey implements enclave.Platform. Each call gives another key.
func (p *Platform) SealKey(policy enclave.Policy) (key, info []byte, err error) {
	if policy != enclave.Product && policy != enclave.Unique {
		return nil, nil, fmt.Errorf("sim: key policy %v: %w", policy, unix.EINVAL)
	}
	r := request{policy: policy, version: p.identity.SecurityVersion}
	rand.Read(r.keyID[:]) // never fails: crypto/rand ends the process instead
	if key, err = p.derive(&r); err != nil {
		return nil, nil, err
	}
	return key, r.encode(), nil
}

// SealKeyFor implements enclave.Platform.
func (p *Platform) SealKeyFor(policy enclave.Policy, info []byte) ([]byte, error) {
	if policy != enclave.Product && policy != enclave.Unique {
		return nil, fmt.Errorf("sim: key policy %v: %w", policy, unix.EINVAL)
	}
	if len(info) != requestSize || info[0] != requestFormat {
		return nil, fmt.Errorf("sim: malformed key information: %w", unix.EACCES)
	}
	if enclave.Policy(info[1]) != policy {
		return nil, fmt.Errorf("sim: key information is not for the policy %v: %w", policy, unix.EACCES)
	}
	r := request{policy: policy, version: binary.LittleEndian.Uint16(info[2:]), keyID: [32]byte(info[4:])}
	if own := p.identity.SecurityVersion; r.version > own {
		return nil, fmt.Errorf("sim: key belongs to security version %d, this enclave has %d: %w", r.version, own, unix.EACCES)
	}
	return p.derive(&r)
}

// derive is EGETKEY. All of what it mixes has a fixed length, so no two
// requests mix the same bytes.
func (p *Platform) derive(r *request) ([]byte, error) {
	mix := make([]byte, 0, 160)
	mix = append(mix, "cloister simulated seal key 1\x00"...)
	mix = append(mix, byte(r.policy), flag(p.identity.Debug))
	mix = append(mix, p.identity.Signer[:]...)
	mix = binary.LittleEndian.AppendUint16(mix, p.identity.ProductID)
	mix = binary.LittleEndian.AppendUint16(mix, r.version)
	mix = append(mix, r.keyID[:]...)
	if r.policy == enclave.Unique {
		mix = append(mix, p.identity.Measurement[:]...)
	}
	key, err := hkdf.Key(sha256.New, p.secret, nil, string(mix), enclave.SealKeySize)
	if err != nil {
		return nil, fmt.Errorf("sim: derive key: %w: %w", err, unix.EIO)
	}
	return key, nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
