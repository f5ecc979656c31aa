// Package libos puts the library OS together: one namespace with an in-memory
// root, the file-system types that programs can mount, and the mounts of the
// start-up configuration. All who use the whole go through Start: programs in
// the enclave, the script harness and the command-line tools.
//
//	lo, err := libos.Start(ctx, libos.Config{Platform: platform, Mounts: mounts})
//	...
//	task := lo.NewTask()
//	err = task.Mount("unionfs", "/data", "unionfs", 0, "lowerdir=/image,upperdir=/changes")
//	...
//	task.Exit()
//	err = lo.Close(ctx)
package libos

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/hostfs"
	"cloister/fs/ramfs"
	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/mountopt"
	"cloister/syscall"
	"cloister/vfs"
)

// Config says how to start a LibOS. The zero value of a field is its default.
type Config struct {
	// Platform gives the keys of images that are mounted without key=. Without
	// a platform such mounts fail.
	Platform enclave.Platform
	// Policy says which enclaves can open the images that are made without key=.
	Policy enclave.Policy
	// Counter refuses older states and forks of the images that are mounted for
	// writing with it; nil: what the host does between mounts is not noticed.
	Counter enclave.Counter

	// Root is the type of the root file system, as mount(2) has it, and RootData its
	// options. The default is an empty ramfs. There is no file yet that keyfile= could name.
	Root, RootData string

	// Mounts are mounted in their order before Start returns.
	Mounts []mountopt.Mount

	Log *slog.Logger     // nil discards
	Now func() time.Time // nil: time.Now

	// MaxMounts bounds the mounts that exist at one time; 0: 100000.
	MaxMounts int
	// MaxDentries bounds the names that are cached though nobody uses them; 0: 16384.
	MaxDentries int
	// NodeCacheBytes and PageCacheBytes bound the caches of each image, in
	// bytes; 0: 32 MiB each.
	NodeCacheBytes, PageCacheBytes int64
	// CommitInterval is how long a change to an image can stay in memory; 0: 5 s;
	// negative: until fsync(2), sync(2) or umount(2).
	CommitInterval time.Duration
}

// A LibOS is one running library OS. Its methods are safe for concurrent use.
type LibOS struct {
	ns   *vfs.Namespace
	sefs *sefs.Type
	log  *slog.Logger

	closeMu sync.Mutex // one Close at a time
	closed  bool
}

// Start starts a library OS and mounts its root and cfg.Mounts. If a mount fails, those
// before it are unmounted again and the error names the entry.
//
// Errors: those of mount(2) for the entry, or the root.
func Start(ctx context.Context, cfg Config) (*LibOS, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &LibOS{log: cfg.Log}
	images := sefs.NewType(sefs.Config{
		Platform:       cfg.Platform,
		Policy:         cfg.Policy,
		Counter:        cfg.Counter,
		KeyFile:        l.readKeyFile,
		Log:            cfg.Log,
		Now:            cfg.Now,
		NodeCacheBytes: cfg.NodeCacheBytes,
		PageCacheBytes: cfg.PageCacheBytes,
		CommitInterval: cfg.CommitInterval,
	})
	types := []vfs.FileSystemType{
		unionfs.NewType(unionfs.Config{Layers: images, KeyFile: l.readKeyFile, Now: cfg.Now, Log: cfg.Log}),
		hostfs.NewType(hostfs.Config{Host: hostOf(cfg.Platform), Log: cfg.Log, Now: cfg.Now}),
		images,
		ramfs.Type{Now: cfg.Now},
	}
	root, err := newRoot(ctx, types, &cfg)
	if err != nil {
		return nil, fmt.Errorf("libos: start: root: %w", err)
	}
	ns, err := vfs.New(vfs.Config{
		Types:       types,
		Root:        root,
		RootType:    cfg.Root,
		Now:         cfg.Now,
		Log:         cfg.Log,
		MaxMounts:   cfg.MaxMounts,
		MaxDentries: cfg.MaxDentries,
	})
	if err != nil {
		_ = root.Close(ctx, vfs.AbortClose)
		return nil, fmt.Errorf("libos: start: %w", err)
	}
	l.ns, l.sefs = ns, images
	if err := l.mountAll(ctx, cfg.Mounts); err != nil {
		if cerr := l.ForceClose(ctx); cerr != nil {
			cfg.Log.Error("libos: undo start-up mounts", "err", vfs.WithoutPath(cerr))
		}
		return nil, err
	}
	return l, nil
}

// newRoot makes the root file system and completes cfg.Root.
//
// Errors: ENODEV for an unknown type; those of mount(2).
func newRoot(ctx context.Context, types []vfs.FileSystemType, cfg *Config) (vfs.FileSystem, error) {
	if cfg.Root == "" && cfg.RootData == "" {
		cfg.Root = "ramfs"
		return ramfs.New(ramfs.Config{Now: cfg.Now}), nil
	}
	for _, t := range types {
		if t.Name() == cfg.Root {
			return t.Mount(ctx, vfs.MountRequest{Source: "none", Data: cfg.RootData, Cred: vfs.RootCred()})
		}
	}
	return nil, fmt.Errorf("unknown type %q: %w", cfg.Root, unix.ENODEV)
}

// hostOf returns what HostFS makes its calls on: in an SGX enclave there is
// only what EGo passes on to the host.
func hostOf(p enclave.Platform) hostfs.Host {
	if p != nil && p.Kind() == enclave.KindSGX {
		return hostfs.NewRestricted()
	}
	return nil // the kernel
}

// NewTask makes a process of root's without open files, at "/" (init, so to
// speak). The caller lets it Exit before Close.
func (l *LibOS) NewTask() *syscall.Task { return syscall.NewTask(l.ns, vfs.RootCred()) }

// Namespace returns the mount tree, for callers that serve it otherwise than by
// system calls.
func (l *LibOS) Namespace() *vfs.Namespace { return l.ns }
