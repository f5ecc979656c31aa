package sefs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
	"cloister/vfs"
)

// Access says what an image is opened for.
type Access = store.Access

// Ways to open an image.
const (
	ReadWrite = store.ReadWrite // the only user
	ReadOnly  = store.ReadOnly  // writes nothing to the host
)

// imageConfig says how to open the image in one directory.
type imageConfig struct {
	dir     string
	st      store.Store
	access  Access
	absent  absentMode
	present presentMode
	keys    keySource
	mac     *mountopt.MAC // nil: any state

	// unpinned admits an image that is integrity-only without mac. keyOfStack says that keys are those
	// of several images, not all of which need one.
	unpinned, keyOfStack bool

	counter enclave.Counter // nil: none
	root    rootAttr        // of a new image
	options string

	// reserve, if not nil, claims the image before it is opened; the function that it
	// returns gives it back.
	reserve func(id volume.Identity) (release func(), err error)

	log          *slog.Logger
	now          func() time.Time
	nodes, pages int64         // cache sizes in bytes, 0: the volume's defaults
	commit       time.Duration // interval of background commits, 0: the volume's default
}

// absentMode says what to do about an empty directory.
type absentMode int

const (
	absentFails  absentMode = iota // EINVAL
	absentMake                     // make an image, if opened for writing
	absentExpose                   // show an empty read-only file system, if opened for reading
)

// presentMode says what to do about a directory that is not empty.
type presentMode int

const (
	presentOpens presentMode = iota // open the image in it
	presentFails                    // EINVAL
)

// openImage opens the image in cfg.dir, or does what cfg.absent says if the
// directory is empty. It owns cfg.st: the store is closed when it fails, and
// what it made is removed again.
func openImage(ctx context.Context, cfg imageConfig) (_ vfs.FileSystem, err error) {
	defer func() {
		if err != nil {
			_ = cfg.st.Close() // nothing was written that matters
			err = fmt.Errorf("sefs: image %q: %w", cfg.dir, err)
		}
	}()
	empty, err := volume.Vacant(cfg.st)
	if err != nil {
		return nil, err
	}
	switch {
	case !empty && cfg.present == presentFails:
		return nil, fmt.Errorf("the directory is not empty: %w", unix.EINVAL)
	case !empty:
		return openVolume(ctx, &cfg)
	case cfg.absent == absentMake && cfg.access == ReadWrite:
		return makeImage(ctx, &cfg)
	case cfg.absent != absentFails && cfg.access == ReadOnly:
		if err := cfg.st.Close(); err != nil {
			return nil, err
		}
		return newEmpty(cfg.now, cfg.options), nil
	}
	return nil, fmt.Errorf("the directory is empty: %w", unix.EINVAL)
}

// makeImage makes an image in an empty directory and opens it.
func makeImage(ctx context.Context, cfg *imageConfig) (*FS, error) {
	slot, key, err := cfg.keys.make()
	if err != nil {
		return nil, err
	}
	undo := newUndoStore(cfg.st)
	cfg.st = undo
	err = volume.Make(ctx, cfg.st, volume.MakeConfig{Slot: slot, UserKey: key, Now: cfg.now})
	clear(key)
	if err != nil {
		// Not empty or locked: somebody else is making an image here, and nothing is ours.
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EBUSY) {
			undo.undo()
		}
		return nil, err
	}
	fs, err := openVolume(ctx, cfg)
	if err != nil {
		if !errors.Is(err, unix.EBUSY) {
			undo.undo()
		}
		return nil, err
	}
	fs.made = undo
	return fs, nil
}

// openVolume opens an image that exists.
func openVolume(ctx context.Context, cfg *imageConfig) (_ *FS, err error) {
	seen, err := volume.Peek(cfg.st)
	if err != nil {
		return nil, err
	}
	if seen.Integrity() {
		if err := cfg.admitIntegrity(); err != nil {
			return nil, err
		}
	}
	release := func() {}
	if cfg.reserve != nil {
		if release, err = cfg.reserve(seen); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	fs := newFS(mountConfig{
		readOnly: cfg.access == ReadOnly, options: cfg.options,
		log: cfg.log, now: cfg.now, onClose: release,
	})
	if !seen.Integrity() {
		warnOfSlowAES(fs.log, cfg.dir, seal.FastAES())
	}
	vol, err := volume.Open(ctx, cfg.st, volume.Config{
		Access:    cfg.access,
		Unlocking: cfg.keys.unlocking(),

		NodeCacheBytes: cfg.nodes,
		PageCacheBytes: cfg.pages,
		CommitInterval: cfg.commit,

		Log:      cfg.log,
		Now:      cfg.now,
		Flush:    fs.flush,
		Root:     (*[32]byte)(cfg.mac),
		Unpinned: cfg.unpinned,
		Anchor:   anchorOf(cfg.counter),
	})
	if err != nil {
		return nil, err
	}
	if now := vol.Identity(); now.UUID != seen.UUID || now.Mode != seen.Mode {
		err = fmt.Errorf("the header changed while it was read: %w", unix.EIO)
	} else {
		if !seen.Integrity() {
			cfg.keys.noteVersion(fs.log, cfg.dir, vol)
		}
		err = fs.start(ctx, vol, cfg.root)
	}
	if err != nil {
		vol.Abandon()
		return nil, err
	}
	return fs, nil
}
