package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Sizes in bytes.
const (
	SecretSize  = 32 // secret of a volume
	TagSize     = 16 // authentication tag of one message
	NonceSize   = 12
	WrappedSize = SecretSize + TagSize
	CheckSize   = 16
)

// Labels of key derivation; one per use, never changed.
const (
	labelKEK     = "sefs1 key-encryption key"
	labelCheck   = "sefs1 key check"
	labelSession = "sefs1 session"
	labelNames   = "sefs1 name hash"
	labelHeader  = "sefs1 header"
)

// Random fills b with random bytes. It cannot fail: without randomness the
// process ends, as crypto/rand documents.
func Random(b []byte) { rand.Read(b) }

// Checksum returns the SHA-256 hash of b.
func Checksum(b []byte) [32]byte { return sha256.Sum256(b) }

// CheckUserKey returns EINVAL unless key has 16 or 32 bytes.
func CheckUserKey(key []byte) error {
	if len(key) != 16 && len(key) != 32 {
		return fmt.Errorf("sefs: a key has 16 or 32 bytes, not %d: %w", len(key), unix.EINVAL)
	}
	return nil
}

// Wrapped is a volume secret under a user key.
type Wrapped struct {
	Check [CheckSize]byte // tells a wrong key from a damaged box; says nothing about the key
	Nonce [NonceSize]byte
	Box   [WrappedSize]byte
}

// ErrTampered is the error of a header whose parts do not belong together.
func ErrTampered() error {
	return &KeyError{Problem: KeyTampered, Reason: "the header of the volume was tampered with"}
}

// Fits reports whether userKey is the key that w was made with. It says nothing of
// whether w is authentic.
func (w *Wrapped) Fits(userKey []byte, uuid [16]byte) bool {
	_, check, err := keyEncryption(userKey, uuid)
	return err == nil && subtle.ConstantTimeCompare(check[:], w.Check[:]) == 1
}

// HeaderMAC returns the code (HMAC-SHA-256) with which a volume's secret
// authenticates the whole header.
func HeaderMAC(secret *[SecretSize]byte, header []byte) (mac [32]byte, err error) {
	key, err := hkdf.Expand(sha256.New, secret[:], labelHeader, 32)
	if err != nil {
		return mac, fmt.Errorf("sefs: derive header key: %w: %w", err, unix.EIO)
	}
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(header)
	h.Sum(mac[:0])
	return mac, nil
}

// CheckHeaderMAC returns the error of a header that was tampered with unless mac
// is its code.
func CheckHeaderMAC(secret *[SecretSize]byte, header, mac []byte) error {
	want, err := HeaderMAC(secret, header)
	if err != nil {
		return err
	}
	if !hmac.Equal(want[:], mac) {
		return ErrTampered()
	}
	return nil
}

// NewSecret returns a random volume secret.
func NewSecret() (secret [SecretSize]byte) {
	Random(secret[:])
	return secret
}

// Wrap encrypts secret with a key derived from userKey and the UUID of the
// volume. aad is authenticated with it.
func Wrap(userKey []byte, uuid [16]byte, secret *[SecretSize]byte, aad []byte) (Wrapped, error) {
	var w Wrapped
	aead, check, err := keyEncryption(userKey, uuid)
	if err != nil {
		return w, err
	}
	w.Check = check
	Random(w.Nonce[:])
	aead.Seal(w.Box[:0], w.Nonce[:], secret[:], aad)
	return w, nil
}

// Unwrap returns the secret in w.
//
// Errors: *KeyError (EACCES) if userKey is not the key of w, or w or aad were
// changed; EINVAL if userKey cannot be a key.
func Unwrap(userKey []byte, uuid [16]byte, w *Wrapped, aad []byte) (secret [SecretSize]byte, err error) {
	aead, check, err := keyEncryption(userKey, uuid)
	if err != nil {
		return secret, err
	}
	if subtle.ConstantTimeCompare(check[:], w.Check[:]) != 1 {
		return secret, &KeyError{Problem: KeyWrong, Reason: "wrong key for this volume"}
	}
	if _, err := aead.Open(secret[:0], w.Nonce[:], w.Box[:], aad); err != nil {
		return secret, ErrTampered()
	}
	return secret, nil
}

func keyEncryption(userKey []byte, uuid [16]byte) (aead cipher.AEAD, check [CheckSize]byte, err error) {
	if err := CheckUserKey(userKey); err != nil {
		return nil, check, err
	}
	kek, err := hkdf.Key(sha256.New, userKey, uuid[:], labelKEK, 32)
	if err != nil {
		return nil, check, err
	}
	defer clear(kek)
	sum, err := hkdf.Key(sha256.New, userKey, uuid[:], labelCheck, CheckSize)
	if err != nil {
		return nil, check, err
	}
	copy(check[:], sum)
	aead, err = newGCM(kek)
	return aead, check, err
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// maxBoxes bounds the session keys kept ready; one takes about 1 KiB.
const maxBoxes = 512

// A Keyring derives the keys of one volume from its secret.
type Keyring struct {
	keySize int // bytes of an AES key: 16 or 32
	watch   func(key [32]byte, nonce [NonceSize]byte)
	pool    sync.Pool // of *scratch

	mu     sync.RWMutex
	secret [SecretSize]byte
	boxes  map[SessionID]*Box
}

// KeyringConfig is what NewKeyring needs.
type KeyringConfig struct {
	Secret  [SecretSize]byte
	KeySize int // 16 for AES-128-GCM, 32 for AES-256-GCM
	// Watch, if set, is told of every message sealed: a fingerprint of the
	// key, and the nonce. For tests that no pair repeats.
	Watch func(key [32]byte, nonce [NonceSize]byte)
}

// NewKeyring returns the keyring of a volume.
func NewKeyring(cfg KeyringConfig) *Keyring {
	return &Keyring{
		secret:  cfg.Secret,
		keySize: cfg.KeySize,
		watch:   cfg.Watch,
		pool:    sync.Pool{New: newScratch},
		boxes:   make(map[SessionID]*Box),
	}
}

// Wipe forgets the secret and the keys. The keyring must not be used after.
func (r *Keyring) Wipe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.secret[:])
	clear(r.boxes)
}

// Box returns the key of a session. Any id has one, so that nothing can be
// learnt or broken by asking for an id that was never used.
func (r *Keyring) Box(id SessionID) (*Box, error) {
	r.mu.RLock()
	b := r.boxes[id]
	r.mu.RUnlock()
	if b != nil {
		return b, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.boxes[id]; b != nil {
		return b, nil
	}
	b, err := r.newBoxLocked(id)
	if err != nil {
		return nil, err
	}
	if len(r.boxes) >= maxBoxes {
		for old := range r.boxes { // any: map order is random
			delete(r.boxes, old)
			break
		}
	}
	r.boxes[id] = b
	return b, nil
}

func (r *Keyring) newBoxLocked(id SessionID) (*Box, error) {
	key, err := hkdf.Expand(sha256.New, r.secret[:], labelSession+string(id[:]), r.keySize)
	if err != nil {
		return nil, fmt.Errorf("sefs: derive session key: %w: %w", err, unix.EIO)
	}
	defer clear(key)
	aead, err := newGCM(key)
	if err != nil {
		return nil, fmt.Errorf("sefs: derive session key: %w: %w", err, unix.EIO)
	}
	b := &Box{id: id, aead: aead, pool: &r.pool}
	if r.watch != nil {
		b.watch, b.print = r.watch, sha256.Sum256(key)
	}
	return b, nil
}

// NameKey returns the key of the hash of file names.
func (r *Keyring) NameKey() (k0, k1 uint64, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	key, err := hkdf.Expand(sha256.New, r.secret[:], labelNames, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("sefs: derive name key: %w: %w", err, unix.EIO)
	}
	return binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:]), nil
}
