// Package enclave says what the rest of the code needs from the enclave
// platform: who this enclave is, and keys that only enclaves like it can get.
//
// Package enclave/ego gives it inside an SGX enclave made by EGo, package
// enclave/sim outside of one.
package enclave

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Kinds of platform, as images record them. A key of one kind never opens an
// image of the other.
const (
	KindSGX        = "sgx"        // hardware keys
	KindSimulation = "simulation" // keys derived from a file: no protection against the host
)

// SealKeySize is the length of a seal key in bytes, that of SGX's EGETKEY.
const SealKeySize = 16

// MaxKeyInfo bounds the length in bytes of the information with which a seal
// key is derived again. Longer information is malformed.
const MaxKeyInfo = 1024

// A Policy says which enclaves get the same seal key. It corresponds to the
// KEYPOLICY field of SGX's KEYREQUEST.
type Policy int

const (
	// Product gives the key to all enclaves with the same signer and product
	// id, and with the same or a newer security version (MRSIGNER).
	Product Policy = iota
	// Unique gives the key to enclaves with the same measurement only
	// (MRENCLAVE): not to another program of the signer, nor to an upgrade.
	Unique
)

// String returns "product" or "unique", as images and options say it.
func (p Policy) String() string {
	switch p {
	case Product:
		return "product"
	case Unique:
		return "unique"
	}
	return fmt.Sprintf("Policy(%d)", int(p))
}

// ParsePolicy is the inverse of Policy.String.
//
// Errors: EINVAL for any other text.
func ParsePolicy(text string) (Policy, error) {
	for _, p := range []Policy{Product, Unique} {
		if text == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("enclave: key policy %.20q is neither product nor unique: %w", text, unix.EINVAL)
}

// An Identity is what tells enclaves apart. It corresponds to the REPORT that
// SGX's EREPORT makes.
type Identity struct {
	Measurement     [32]byte // MRENCLAVE, the hash of the code and data loaded
	Signer          [32]byte // MRSIGNER, the hash of the signer's public key
	ProductID       uint16   // ISVPRODID, chosen by the signer
	SecurityVersion uint16   // ISVSVN, rises with each security fix
	Debug           bool     // the host can read the enclave's memory
}

// A Platform gives an enclave its identity and its seal keys. Methods are safe
// for concurrent use.
//
// The caller owns the keys that it gets and wipes them. Information about a
// key is no secret; it is stored beside what the key protects, where the host
// can change it. So a Platform trusts none of it: information that asks for
// another key than SealKey would have given under the same policy is refused.
type Platform interface {
	// Kind returns KindSGX or KindSimulation.
	Kind() string

	// Identity returns the identity of this enclave.
	Identity() Identity

	// SealKey returns a key of SealKeySize bytes that is bound to the policy
	// and to the present security versions of enclave and processor, with
	// the information that SealKeyFor needs to derive it again. Each call may
	// return another key.
	//
	// Errors: EINVAL for an unknown policy; ENOSYS where the platform has no
	// keys; EIO if it gives none.
	SealKey(p Policy) (key, info []byte, err error)

	// SealKeyFor derives a key again. An enclave with another identity gets
	// another key and no error, as far as the platform cannot tell.
	//
	// Errors: EACCES if info was not made by SealKey under this policy, is
	// malformed, or asks for a newer security version than the present one;
	// otherwise as SealKey.
	SealKeyFor(p Policy, info []byte) (key []byte, err error)
}
