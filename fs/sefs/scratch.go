package sefs

import (
	"context"
	"encoding/hex"

	"cloister/fs/sefs/internal/seal"
	"cloister/mountopt"
)

// MakeScratch is Make with a random key that nobody gets: once it is closed, the image can never
// be opened again. It is for what has to be put down for a while.
//
// Errors: as Make.
func MakeScratch(ctx context.Context, dir string, cfg OpenConfig) (*FS, error) {
	var secret [seal.SecretSize]byte
	seal.Random(secret[:])
	key, err := mountopt.ParseKey(hex.EncodeToString(secret[:]))
	clear(secret[:])
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	cfg.Key, cfg.CommitInterval = key, -1
	return Make(ctx, dir, MakeConfig{OpenConfig: cfg})
}
