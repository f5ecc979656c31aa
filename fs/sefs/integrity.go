package sefs

import (
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
)

// An integrity-only image is not encrypted, has no key and is never changed. Its bytes depend on
// nothing but the tree that it was built from (BuildIntegrity), and its root MAC is a SHA-256 that
// stands for all of them. Since anybody can make such an image, the host included, it is
// opened only where its root MAC is asked for, or where the caller says that
// it does without (OpenConfig.Unpinned).

// admitIntegrity says whether an image that turned out to be integrity-only is what was asked for.
//
// Errors: EACCES (*KeyError), EROFS.
func (c *imageConfig) admitIntegrity() error {
	switch {
	case c.mac == nil && !c.unpinned:
		return volume.ErrPinned()
	case !c.keys.key.IsZero() && !c.keyOfStack:
		return keyError(KeyMissing, "it is integrity-only and not locked, and a key is given")
	case c.access == ReadWrite:
		return volume.ErrIntegrity()
	}
	return nil
}

// Integrity reports whether the image is integrity-only.
func (fs *FS) Integrity() bool {
	id := fs.vol.Identity()
	return id.Integrity()
}

// IntegrityResult is what BuildIntegrity has built.
type IntegrityResult struct {
	Root mountopt.MAC // by which a mount asks for this image and no other

	// What the tree holds. The root directory itself is not counted.
	Files, Dirs, Symlinks, Specials int64
	Links                           int64 // further names of files counted already
	Bytes                           int64 // of data in regular files, each once
}
