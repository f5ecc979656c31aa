// Package instance opens an image, alone or with a layer of changes above it, as one
// tree, and builds images. It is what the commands share.
package instance

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/mountopt"
	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// Config says which image is opened and how.
type Config struct {
	Image string // host directory of the image
	Upper string // host directory of the layer with changes; "": none

	// ReadOnly opens everything for reading only. Otherwise changes go to Upper, or into the
	// image itself where there is no Upper.
	ReadOnly bool

	// Held keeps changes back until Close, as far as memory allows: what changes more than about
	// 32 MiB of the image's tables, some 100,000 files, is committed in steps. Abandon drops what was not
	// committed.
	Held bool

	Key      mountopt.Key     // the zero Key: the image is sealed to Platform
	Platform enclave.Platform // nil: only images with a key given open
	MAC      *mountopt.MAC    // the root MAC that Image must have; nil: any
	Unpinned bool             // see sefs.Config
	Log      *slog.Logger     // nil: discard
}

// Instance is an open image with its tree. Its image directories are locked until
// Close.
type Instance struct {
	ns   *vfs.Namespace
	view *vfs.View

	top     *sefs.FS // the image that changes go to
	commits uint64   // of top when it was opened
	abandon func()   // drops the images as if the process had been killed
}

// Open opens what cfg names, all of it or nothing.
//
// Errors: EBUSY if an image is in use; EACCES if key, signer or machine are not
// the image's; ENOENT, ENOTDIR, EINVAL for what is no image; ELOOP if Upper and Image are
// one or one lies inside the other; EIO for a damaged image.
func Open(ctx context.Context, cfg Config) (*Instance, error) {
	if cfg.Upper != "" {
		return openUnion(ctx, cfg)
	}
	open := sefs.OpenConfig{
		Key: cfg.Key, Platform: cfg.Platform, MAC: cfg.MAC, Unpinned: cfg.Unpinned,
		Log: cfg.Log, CommitInterval: cfg.interval(),
	}
	if cfg.ReadOnly {
		open.Access = sefs.ReadOnly
	}
	image, err := sefs.Open(ctx, cfg.Image, open)
	if err != nil {
		return nil, err
	}
	return newInstance(ctx, image, image, image.Abandon, cfg.Log)
}

func openUnion(ctx context.Context, cfg Config) (*Instance, error) {
	mode, flags := unionfs.UpperWritable, uintptr(0)
	if cfg.ReadOnly {
		mode, flags = unionfs.UpperReadOnly, unix.MS_RDONLY
	}
	images := sefs.NewType(sefs.Config{Platform: cfg.Platform, Unpinned: cfg.Unpinned, Log: cfg.Log, CommitInterval: cfg.interval()})
	layers, err := images.OpenStack(ctx, []mountopt.Layer{{Dir: cfg.Image, MAC: cfg.MAC}}, cfg.Upper, cfg.Key, flags)
	if err != nil {
		return nil, err
	}
	top, _ := layers[0].(*sefs.FS) // an empty layer has a type of its own, and is only read
	union, err := unionfs.New(ctx, unionfs.StackConfig{Layers: layers, Upper: mode, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	return newInstance(ctx, union, top, images.Abandon, cfg.Log)
}

// interval is the time between commits that nobody asks for, as sefs has it.
func (c *Config) interval() time.Duration {
	if c.Held {
		return -1
	}
	return 0
}

func newInstance(ctx context.Context, fs vfs.FileSystem, top *sefs.FS, abandon func(), log *slog.Logger) (*Instance, error) {
	i := &Instance{top: top, commits: commits(top), abandon: abandon}
	ns, err := vfs.New(vfs.Config{Root: fs, RootType: "cloister", Log: log})
	if err != nil {
		_ = fs.Close(context.WithoutCancel(ctx), vfs.ForceClose) // err is what counts
		return nil, fmt.Errorf("instance: %w", err)
	}
	i.ns, i.view = ns, ns.NewView(vfs.RootCred())
	return i, nil
}

func commits(fs *sefs.FS) uint64 {
	if fs == nil {
		return 0
	}
	return fs.Stats().Seq
}

// View returns a view of the tree with root's credentials. It lives until Close.
func (i *Instance) View() *vfs.View { return i.view }

// Root returns the root of the tree, not pinned for the caller.
func (i *Instance) Root() vfs.Path { return i.view.Root() }

// Close makes all changes durable and releases the image. If that fails it
// releases the image nevertheless, and what the error is about is lost.
func (i *Instance) Close(ctx context.Context) error {
	i.view.Release()
	return i.ns.Close(ctx)
}

// Abandon releases the image without what has not been committed; see Config.Held. The image is
// then as after a crash, at its last commit. It reports whether there was one since Open, so that a part
// of the changes may be there.
func (i *Instance) Abandon() (committed bool) {
	committed = commits(i.top) != i.commits
	i.abandon()
	i.view.Release()
	_ = i.ns.Close(context.Background()) // nothing is left to be written
	return committed
}
