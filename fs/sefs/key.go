package sefs

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
)

// A KeyError says why an image cannot be opened with the keys at hand. It
// unwraps to EACCES, and its text holds no secret.
type KeyError = seal.KeyError

// KeyProblem is what a KeyError is about, as far as cryptography lets it be known.
type KeyProblem = seal.KeyProblem

const (
	KeyTampered = seal.KeyTampered // the header was changed or damaged
	KeyRoot     = seal.KeyRoot     // the image is not in the state that its root MAC names
	KeyWrong    = seal.KeyWrong    // the key is another one
	KeySigner   = seal.KeySigner   // sealed to an enclave of another signer, product or program
	KeyMachine  = seal.KeyMachine  // sealed by the same enclave on another machine
	KeyPlatform = seal.KeyPlatform // sealed by another kind of platform, or this is no enclave
	KeyPolicy   = seal.KeyPolicy   // sealed to a newer security version, or under an unknown policy
	KeyMissing  = seal.KeyMissing  // a key is needed and none is given, or the other way round
)

// keySource is where the key of an image comes from: the user, or the enclave
// if there is no key. A key is tried on all slots that are not sealed: the keys of
// passphrase and age slots come from a tool, which has opened Slot.KeyInfo.
type keySource struct {
	key      mountopt.Key
	platform enclave.Platform // nil: not in an enclave
	policy   enclave.Policy   // of new images
}

// make returns the slot and the key of a new image. The caller wipes the key.
func (s *keySource) make() (volume.Slot, []byte, error) {
	if !s.key.IsZero() {
		return volume.Slot{Kind: volume.KeyGiven}, slices.Clone(s.key.Bytes()), nil
	}
	if s.platform == nil {
		return volume.Slot{}, nil, keyError(KeyMissing, "no key is given, and outside an enclave there is none to derive")
	}
	return sealedSlot(s.platform, s.policy)
}

// sealedSlot returns a slot that is sealed to this enclave, and its key, which the
// caller wipes.
func sealedSlot(p enclave.Platform, policy enclave.Policy) (volume.Slot, []byte, error) {
	key, info, err := p.SealKey(policy)
	if err != nil {
		return volume.Slot{}, nil, fmt.Errorf("sefs: derive the seal key: %w", err)
	}
	return volume.Slot{
		Kind: volume.KeySealed, Platform: p.Kind(), Policy: policy.String(),
		Sealer: sealer(p.Identity()), KeyInfo: info,
	}, key, nil
}

func sealer(id enclave.Identity) volume.Sealer {
	return volume.Sealer{
		Signer: id.Signer, Program: id.Measurement,
		Product: id.ProductID, Version: id.SecurityVersion, Debug: id.Debug,
	}
}

// unlocking is how a volume is opened with s.
func (s *keySource) unlocking() volume.Unlocking {
	return volume.Unlocking{Unlock: s.unlock, Explain: s.explain}
}

// unlock returns the key that belongs to a slot; the caller wipes it. What the slot says is not
// authentic yet; a lie only leads to a key that does not fit.
//
// Errors: *KeyError (EACCES).
func (s *keySource) unlock(slot volume.Slot) ([]byte, error) {
	switch slot.Kind {
	case volume.KeyGiven, volume.KeyPassphrase, volume.KeyAge:
		if s.key.IsZero() {
			return nil, keyError(KeyMissing, neededFor[slot.Kind])
		}
		return slices.Clone(s.key.Bytes()), nil
	case volume.KeySealed:
		return s.derive(slot)
	}
	return nil, keyError(KeyPolicy, "it was locked in a way unknown to this version")
}

var neededFor = map[volume.SlotKind]string{
	volume.KeyGiven:      "it was made with a key, and none is given",
	volume.KeyPassphrase: "it needs a passphrase, and none is given",
	volume.KeyAge:        "it was locked for age recipients, and no identity is given",
}

// derive has the enclave derive the key of a sealed slot again.
func (s *keySource) derive(slot volume.Slot) ([]byte, error) {
	switch {
	case !s.key.IsZero():
		return nil, keyError(KeyMissing, "it was made without a key: it is sealed to an enclave, and no key opens it")
	case s.platform == nil:
		return nil, keyError(KeyPlatform, "it is sealed to an enclave, and this is none")
	case slot.Platform != s.platform.Kind():
		return nil, keyError(KeyPlatform, fmt.Sprintf("it was sealed by platform %.31q, this is %q", slot.Platform, s.platform.Kind()))
	}
	policy, err := enclave.ParsePolicy(slot.Policy)
	if err != nil {
		return nil, keyError(KeyPolicy, fmt.Sprintf("it is sealed under the unknown policy %.31q", slot.Policy))
	}
	key, err := s.platform.SealKeyFor(policy, slot.KeyInfo)
	if errors.Is(err, unix.EACCES) {
		if own := s.platform.Identity().SecurityVersion; slot.Sealer.Version > own {
			return nil, keyError(KeyPolicy, fmt.Sprintf("it is sealed to security version %d, this enclave has %d", slot.Sealer.Version, own))
		}
		// The platform cannot tell a newer processor version from a forgery.
		return nil, keyError(KeyPolicy, "its key information is of a newer security version, of enclave or processor, or was changed")
	}
	if err != nil {
		return nil, fmt.Errorf("sefs: derive the seal key: %w", err)
	}
	return key, nil
}

// explain says why the key that this enclave derived for a slot does not fit, by
// what the header says of the enclave that sealed it; nil if there is nothing to
// add. The host may have changed that: it is for people only.
func (s *keySource) explain(slot volume.Slot) error {
	if slot.Kind != volume.KeySealed {
		return nil
	}
	by, own := slot.Sealer, sealer(s.platform.Identity())
	switch {
	case by.Signer != own.Signer:
		return keyError(KeySigner, fmt.Sprintf("it is sealed to an enclave of another signer, %x… and not %x…", by.Signer[:4], own.Signer[:4]))
	case by.Product != own.Product:
		return keyError(KeySigner, fmt.Sprintf("it is sealed to another product of the signer, %d and not %d", by.Product, own.Product))
	case slot.Policy == enclave.Unique.String() && by.Program != own.Program:
		return keyError(KeySigner, fmt.Sprintf("it is sealed to another program, %x… and not %x…", by.Program[:4], own.Program[:4]))
	case by.Debug != own.Debug:
		return keyError(KeySigner, "it is sealed to a debug enclave and this is none, or the other way round")
	}
	return keyError(KeyMachine, "it was sealed by this enclave on another machine, or its key information was changed")
}

// noteVersion says in the log that an older security version can still open the image.
func (s *keySource) noteVersion(log *slog.Logger, dir string, vol *volume.Volume) {
	slot := vol.Identity().Slots[vol.OpenedBy()]
	if slot.Kind != volume.KeySealed {
		return
	}
	if own := s.platform.Identity().SecurityVersion; slot.Sealer.Version < own {
		log.Info("the image is sealed to an older security version, which can open it too; rotate its key slot",
			"image", dir, "slot", vol.OpenedBy(), "sealed", slot.Sealer.Version, "present", own)
	}
}

// keyError is EACCES with a reason, which names no secret.
func keyError(p KeyProblem, reason string) error { return &seal.KeyError{Problem: p, Reason: reason} }
