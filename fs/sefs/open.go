package sefs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"cloister/enclave"
	"cloister/fs/sefs/internal/store"
	"cloister/mountopt"
)

// OpenConfig says how Open opens an image.
type OpenConfig struct {
	Access   Access           // zero: for writing
	Key      mountopt.Key     // zero: the image is sealed to the enclave
	Platform enclave.Platform // nil: only images with a key
	Counter  enclave.Counter  // as Config

	MAC      *mountopt.MAC // the root MAC that the image must have; nil: any
	Unpinned bool          // as Config; then a key that is not needed is no error

	Log *slog.Logger     // nil discards
	Now func() time.Time // nil: time.Now

	NodeCacheBytes int64         // as Config
	PageCacheBytes int64         // as Config
	CommitInterval time.Duration // as Config

	// OpenStore is as in Config.
	OpenStore func(dir string, access Access) (store.Store, error)
}

// Open opens the image in a directory of the host, outside of any mount: for
// tools. Close it with (*FS).Close.
//
// Errors: as Type.Mount, with EINVAL for an empty directory too.
func Open(ctx context.Context, dir string, cfg OpenConfig) (*FS, error) {
	ic, err := cfg.image(dir)
	if err != nil {
		return nil, err
	}
	return openFS(ctx, ic)
}

// MakeConfig says how Make makes an image.
type MakeConfig struct {
	OpenConfig
	Policy enclave.Policy // which enclaves can open an image without a key

	// The root directory.
	Mode     uint32 // permission bits; 0: 0755
	UID, GID uint32
}

// Make makes an image in an empty directory of the host, or in one where that was
// interrupted, and opens it for writing. If it fails the directory is empty again.
//
// Errors: EINVAL if the directory is not empty; otherwise as Open.
func Make(ctx context.Context, dir string, cfg MakeConfig) (*FS, error) {
	cfg.Access = ReadWrite
	ic, err := cfg.image(dir)
	if err != nil {
		return nil, err
	}
	ic.absent = absentMake
	ic.present = presentFails
	ic.keys.policy = cfg.Policy
	ic.root = rootAttr{mode: cfg.Mode, uid: cfg.UID, gid: cfg.GID}
	if cfg.Mode == 0 {
		ic.root.mode = 0o755
	}
	return openFS(ctx, ic)
}

// image opens the store of an image and says the rest of how to open it.
func (c *OpenConfig) image(dir string) (imageConfig, error) {
	open := c.OpenStore
	if open == nil {
		open = openHost
	}
	st, err := open(dir, c.Access)
	if err != nil {
		return imageConfig{}, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	return imageConfig{
		dir: dir, st: st, access: c.Access,
		keys: keySource{key: c.Key, platform: c.Platform}, counter: c.Counter,
		mac: c.MAC, unpinned: c.Unpinned, keyOfStack: c.Unpinned,
		root: rootAttr{mode: 0o755},
		log:  c.Log, now: c.Now,
		nodes: c.NodeCacheBytes, pages: c.PageCacheBytes, commit: c.CommitInterval,
	}, nil
}

// openFS is openImage where the outcome cannot be an emptyFS.
func openFS(ctx context.Context, cfg imageConfig) (*FS, error) {
	fsys, err := openImage(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return fsys.(*FS), nil
}

// Stats are counters of an open image.
type Stats struct {
	BlocksUsed uint64 // 4096-byte blocks in use, those of the tree included
	Segments   uint64 // segment files on the host
	HostBytes  uint64 // bytes of all files on the host
	DirtyBytes int64  // bytes in memory that no segment has yet
	Seq        uint64 // commits so far
	NextIno    uint64 // inode numbers given out so far, those of removed files included
	Inodes     int    // inodes in memory
}

// Stats returns the counters of fs.
func (fs *FS) Stats() Stats {
	v := fs.vol.Stats()
	s := Stats{
		BlocksUsed: v.BlocksUsed, Segments: v.Segments, HostBytes: v.HostBytes,
		DirtyBytes: v.DirtyBytes, Seq: v.Seq,
	}
	fs.inoMu.Lock()
	s.NextIno = fs.nextIno
	fs.inoMu.Unlock()
	fs.table.mu.Lock()
	s.Inodes = len(fs.table.inodes)
	fs.table.mu.Unlock()
	return s
}
