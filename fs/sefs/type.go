package sefs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
	"cloister/mountopt"
	"cloister/vfs"
)

// Config makes a Type. The zero value of each field is usable.
type Config struct {
	// Platform gives the keys of images that are mounted without key=. nil:
	// such images can be neither made nor opened.
	Platform enclave.Platform
	Policy   enclave.Policy // which enclaves can open an image that is made without a key

	// KeyFile reads the key in the file that keyfile= names, as cred. nil: keyfile= is refused.
	KeyFile func(ctx context.Context, cred *vfs.Cred, path string) (mountopt.Key, error)

	// Counter knows the newest state of each image, by its UUID; an older one and a fork
	// are refused with ESTALE. It is told of every commit before that is acknowledged. An
	// image that it does not know comes under it when it is first mounted for writing. nil:
	// freshness ends with the mount, and images under a counter are read-only.
	Counter enclave.Counter

	// Unpinned admits images that are integrity-only without a root MAC. Such an image only agrees
	// with itself: whoever can write to the host may have made it. It is for tools that
	// say so; in an enclave the host could put such an image in the place of an encrypted one.
	Unpinned bool

	Log *slog.Logger     // nil discards
	Now func() time.Time // nil: time.Now

	NodeCacheBytes int64         // memory for the tree of one image; 0: 32 MiB
	PageCacheBytes int64         // memory for file data of one image; 0: 32 MiB
	CommitInterval time.Duration // 0: 5 s; negative: changes wait for fsync, sync and umount

	// OpenStore opens the host directory of an image; nil: the host's file
	// system. Tests replace it. dir is clean, not resolved.
	OpenStore func(dir string, access Access) (store.Store, error)
}

// Type is the file-system type "sefs". It knows the images that it has open,
// and opens none twice.
type Type struct {
	cfg Config

	mu    sync.Mutex
	users map[[16]byte]*imageUse
}

var _ vfs.FileSystemType = (*Type)(nil)

// imageUse are the mounts of one image.
type imageUse struct {
	shared bool             // all are lower layers, which may share an image
	count  int              // reservations
	open   map[*FS]struct{} // those that are open
}

// NewType returns a Type without images.
func NewType(cfg Config) *Type {
	return &Type{cfg: cfg, users: make(map[[16]byte]*imageUse)}
}

// Name implements vfs.FileSystemType.
func (t *Type) Name() string { return "sefs" }

// Flags implements vfs.FileSystemType.
func (t *Type) Flags() uintptr { return 0 }

var mountSpec = append(mountopt.Spec{
	mountopt.String("dir").Required(),
	mountopt.RootMAC("mac"),
}, mountopt.KeyOptions()...)

// Mount implements vfs.FileSystemType. Options: dir=<directory on the host>,
// mandatory; key=<16 or 32 bytes> or keyfile=<a file with them>, without which
// the image is sealed to the enclave; mac=<root MAC>, with which the image is
// opened in the state that has this MAC, and in no other (FS.RootMAC). An image that
// is integrity-only needs mac=, takes no key and opens with MS_RDONLY only. An empty
// directory becomes a new image, or with MS_RDONLY an empty file system that
// leaves no trace, but not with mac=.
//
// Errors: EINVAL for bad options and for a directory that is neither empty nor
// an image; those of Config.KeyFile; ENOENT and ENOTDIR for dir; EACCES if the
// key, the signer, the machine or the root MAC is another one, or an image that is
// integrity-only comes without mac= or with a key, in an error that
// tells which as far as it can be known; ESTALE if Config.Counter knows a newer
// state; EBUSY if the image is mounted already or locked by another process;
// EROFS if the host storage is read-only, or the image integrity-only, and MS_RDONLY is not given; EUCLEAN
// and EIO for a damaged image.
func (t *Type) Mount(ctx context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	opts, err := mountSpec.Parse(req.Data)
	if err != nil {
		return nil, err
	}
	key, err := opts.MountKey(t.keyFile(ctx, req.Cred))
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	dir, err := t.place(opts.Text("dir"))
	if err != nil {
		return nil, err
	}
	cfg, err := t.imageConfig(dir, accessOf(req.Flags), key)
	if err != nil {
		return nil, err
	}
	cfg.absent = absentMake
	if cfg.access == ReadOnly {
		cfg.absent = absentExpose
	}
	if opts.Has("mac") {
		mac := opts.MAC("mac")
		cfg.mac, cfg.absent = &mac, absentFails
	}
	cfg.options = opts.String()
	return t.open(ctx, cfg, exclusive, nil)
}

// keyFile returns what reads key files for one mount, or nil.
func (t *Type) keyFile(ctx context.Context, cred *vfs.Cred) func(path string) (mountopt.Key, error) {
	if t.cfg.KeyFile == nil {
		return nil
	}
	return func(path string) (mountopt.Key, error) { return t.cfg.KeyFile(ctx, cred, path) }
}

// accessOf translates mount flags.
func accessOf(flags uintptr) Access {
	if flags&unix.MS_RDONLY != 0 {
		return ReadOnly
	}
	return ReadWrite
}

// imageConfig opens the store of an image and says the rest of how to open it.
func (t *Type) imageConfig(dir place, access Access, key mountopt.Key) (imageConfig, error) {
	open := t.cfg.OpenStore
	if open == nil {
		open = openHost
	}
	st, err := open(dir.name, access)
	if err != nil {
		return imageConfig{}, fmt.Errorf("sefs: image %q: %w", dir.name, err)
	}
	return imageConfig{
		dir: dir.name, st: st, access: access,
		keys: keySource{key: key, platform: t.cfg.Platform, policy: t.cfg.Policy}, counter: t.cfg.Counter,
		unpinned: t.cfg.Unpinned,
		root:     rootAttr{mode: 0o755},
		log:      t.cfg.Log, now: t.cfg.Now,
		nodes: t.cfg.NodeCacheBytes, pages: t.cfg.PageCacheBytes, commit: t.cfg.CommitInterval,
	}, nil
}

func openHost(dir string, access Access) (store.Store, error) {
	st, err := store.OpenHost(dir, access)
	if err != nil {
		return nil, err // a nil *Host in a Store would not be nil
	}
	return st, nil
}

// sharing says whether an image may be open more than once.
type sharing int

const (
	exclusive sharing = iota
	shared            // with others that say so too
)

// open opens an image and enters it into the table. seen, if not nil, are the
// images of the same stack.
//
// Errors: EBUSY if the image is in use, ELOOP if it is in seen.
func (t *Type) open(ctx context.Context, cfg imageConfig, share sharing, seen map[[16]byte]bool) (vfs.FileSystem, error) {
	var use *imageUse
	cfg.reserve = func(id volume.Identity) (func(), error) {
		if seen[id.UUID] {
			return nil, fmt.Errorf("the same image is another layer: %w", unix.ELOOP)
		}
		share := share
		if id.Integrity() { // nobody changes it
			share = shared
		}
		u, release, err := t.reserve(id.UUID, share)
		if err != nil {
			return nil, err
		}
		if seen != nil {
			seen[id.UUID] = true
		}
		use = u
		return release, nil
	}
	fsys, err := openImage(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if fs, ok := fsys.(*FS); ok {
		release := fs.onClose
		t.mu.Lock()
		use.open[fs] = struct{}{}
		t.mu.Unlock()
		fs.onClose = func() {
			t.mu.Lock()
			delete(use.open, fs)
			t.mu.Unlock()
			release()
		}
	}
	return fsys, nil
}

// reserve claims an image. Errors: EBUSY.
func (t *Type) reserve(uuid [16]byte, share sharing) (*imageUse, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[uuid]
	switch {
	case u == nil:
		u = &imageUse{shared: share == shared, open: make(map[*FS]struct{})}
		t.users[uuid] = u
	case !u.shared || share != shared:
		return nil, nil, fmt.Errorf("the image is mounted already: %w", unix.EBUSY)
	}
	u.count++
	return u, sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if u.count--; u.count == 0 {
			delete(t.users, uuid)
		}
	}), nil
}

// Abandon drops all open images as if the process had been killed: what was
// not committed is lost, locks are released. It serves tests of crash recovery.
func (t *Type) Abandon() {
	t.mu.Lock()
	var open []*FS
	for _, u := range t.users {
		for fs := range u.open {
			open = append(open, fs)
		}
	}
	t.mu.Unlock()
	for _, fs := range open {
		fs.Abandon()
	}
}
