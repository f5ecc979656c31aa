package sim

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// What SGX asks of a signing key: see SIGSTRUCT in the Intel SDM, volume 3D.
const (
	signerBits     = 3072
	signerExponent = 3
)

// maxSignerFile bounds what SignerOf looks at, in bytes.
const maxSignerFile = 64 << 10

// SignerOf returns the signer identity that belongs to a signing key: what SGX
// calls MRSIGNER, the SHA-256 of the key's modulus in little-endian order. file
// is a PEM file with an RSA key, private (PKCS #1 or #8) or public (PKIX or PKCS
// #1); its first such block counts.
//
// Errors: EINVAL if there is no RSA key in file, or one that SGX does not take:
// it must have 3072 bits and the exponent 3, as "openssl genrsa -3 3072" and
// "ego sign" make it. No error holds the key.
func SignerOf(file []byte) ([32]byte, error) {
	if len(file) > maxSignerFile {
		return [32]byte{}, fmt.Errorf("sim: signing key: file of more than %d bytes: %w", maxSignerFile, unix.EINVAL)
	}
	for {
		var block *pem.Block
		if block, file = pem.Decode(file); block == nil {
			return [32]byte{}, fmt.Errorf("sim: signing key: no RSA key in PEM form: %w", unix.EINVAL)
		}
		key, err := publicKey(block)
		clear(block.Bytes)
		if err != nil {
			return [32]byte{}, err
		}
		if key != nil {
			return signerOf(key)
		}
	}
}

func signerOf(key *rsa.PublicKey) ([32]byte, error) {
	if bits := key.N.BitLen(); bits != signerBits {
		return [32]byte{}, fmt.Errorf("sim: signing key has %d bits, SGX takes only RSA keys of %d: %w", bits, signerBits, unix.EINVAL)
	}
	if key.E != signerExponent {
		return [32]byte{}, fmt.Errorf("sim: signing key has the exponent %d, SGX takes only %d: %w", key.E, signerExponent, unix.EINVAL)
	}
	modulus := key.N.FillBytes(make([]byte, signerBits/8))
	slices.Reverse(modulus)
	return sha256.Sum256(modulus), nil
}

// publicKey returns the key in block, or nil if it is a block of another kind.
func publicKey(block *pem.Block) (*rsa.PublicKey, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sim: signing key: malformed %s: %w", block.Type, unix.EINVAL)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return &k.PublicKey, nil
	case *rsa.PublicKey:
		return k, nil
	}
	return nil, fmt.Errorf("sim: signing key is a %T, SGX takes only RSA keys: %w", key, unix.EINVAL)
}
