package sefs

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
)

// keySource is where the key of an image comes from: the user, or the enclave
// if there is no key.
type keySource struct {
	key      mountopt.Key
	platform enclave.Platform // nil: not in an enclave
	policy   enclave.Policy   // of new images

	derived bool // a seal key was handed out: if it does not fit, the enclave is another one
}

// make returns the slot and the key of a new image. The caller wipes the key.
func (s *keySource) make() (volume.Slot, []byte, error) {
	if !s.key.IsZero() {
		return volume.Slot{Kind: volume.KeyGiven}, slices.Clone(s.key.Bytes()), nil
	}
	if s.platform == nil {
		return volume.Slot{}, nil, keyError("no key is given, and outside an enclave there is none to derive")
	}
	key, info, err := s.platform.SealKey(s.policy)
	if err != nil {
		return volume.Slot{}, nil, fmt.Errorf("sefs: derive the seal key: %w", err)
	}
	slot := volume.Slot{
		Kind: volume.KeySealed, Platform: s.platform.Kind(), Policy: s.policy.String(), KeyInfo: info,
	}
	return slot, key, nil
}

// unlock returns the key that belongs to a slot; the caller wipes it. What the slot says is not
// authentic yet; a lie only leads to a key that does not fit.
//
// Errors: EACCES with the reason.
func (s *keySource) unlock(slot volume.Slot) ([]byte, error) {
	switch slot.Kind {
	case volume.KeyGiven:
		if s.key.IsZero() {
			return nil, keyError("the image was made with a key, and none is given")
		}
		return slices.Clone(s.key.Bytes()), nil
	case volume.KeySealed:
	default:
		return nil, keyError("the image was locked in a way unknown to this version")
	}
	switch {
	case !s.key.IsZero():
		return nil, keyError("the image was made without a key: it is sealed to an enclave, and no key opens it")
	case s.platform == nil:
		return nil, keyError("the image is sealed to an enclave, and this is none")
	case slot.Platform != s.platform.Kind():
		return nil, keyError(fmt.Sprintf("the image was sealed by platform %.31q, this is %q", slot.Platform, s.platform.Kind()))
	}
	policy, err := enclave.ParsePolicy(slot.Policy)
	if err != nil {
		return nil, keyError(fmt.Sprintf("the image is sealed under the unknown policy %.31q", slot.Policy))
	}
	key, err := s.platform.SealKeyFor(policy, slot.KeyInfo)
	if errors.Is(err, unix.EACCES) {
		return nil, keyError("the image is sealed to a newer security version, or its key information was changed")
	}
	if err != nil {
		return nil, fmt.Errorf("sefs: derive the seal key: %w", err)
	}
	s.derived = true
	return key, nil
}

// explain adds to the error of a key that does not fit what else is known.
func (s *keySource) explain(slot volume.Slot, err error) error {
	if !errors.Is(err, unix.EACCES) || slot.Kind != volume.KeySealed || !s.derived {
		return err
	}
	who := "signer or product"
	if slot.Policy == enclave.Unique.String() {
		who = "program"
	}
	return fmt.Errorf("sealed to an enclave of another %s, or on another machine: %w", who, err)
}

// keyError is EACCES with a reason, which names no secret.
func keyError(reason string) error { return &seal.KeyError{Reason: reason} }
