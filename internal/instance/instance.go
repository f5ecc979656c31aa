// Package instance opens an image, alone or with a layer of changes above it, as one
// tree, and builds images. It is what the commands share.
package instance

import (
	"context"
	"fmt"
	"log/slog"

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

	Key      mountopt.Key     // the zero Key: the image is sealed to Platform
	Platform enclave.Platform // nil: only images with a key given open
	Log      *slog.Logger     // nil: discard
}

// Instance is an open image with its tree. Its image directories are locked until
// Close.
type Instance struct {
	ns   *vfs.Namespace
	view *vfs.View
}

// Open opens what cfg names, all of it or nothing.
//
// Errors: EBUSY if an image is in use; EACCES if key, signer or machine are not
// the image's; ENOENT, ENOTDIR, EINVAL for what is no image; ELOOP if Upper and Image are
// one or one lies inside the other; EIO for a damaged image.
func Open(ctx context.Context, cfg Config) (*Instance, error) {
	fs, err := openTree(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return newInstance(ctx, fs, cfg.Log)
}

func newInstance(ctx context.Context, fs vfs.FileSystem, log *slog.Logger) (*Instance, error) {
	ns, err := vfs.New(vfs.Config{Root: fs, RootType: "cloister", Log: log})
	if err != nil {
		_ = fs.Close(context.WithoutCancel(ctx), vfs.ForceClose) // err is what counts
		return nil, fmt.Errorf("instance: %w", err)
	}
	return &Instance{ns: ns, view: ns.NewView(vfs.RootCred())}, nil
}

func openTree(ctx context.Context, cfg Config) (vfs.FileSystem, error) {
	if cfg.Upper == "" {
		open := sefs.OpenConfig{Key: cfg.Key, Platform: cfg.Platform, Log: cfg.Log}
		if cfg.ReadOnly {
			open.Access = sefs.ReadOnly
		}
		return opened(sefs.Open(ctx, cfg.Image, open))
	}
	mode, flags := unionfs.UpperWritable, uintptr(0)
	if cfg.ReadOnly {
		mode, flags = unionfs.UpperReadOnly, unix.MS_RDONLY
	}
	images := sefs.NewType(sefs.Config{Platform: cfg.Platform, Log: cfg.Log})
	layers, err := images.OpenStack(ctx, []string{cfg.Image}, cfg.Upper, cfg.Key, flags)
	if err != nil {
		return nil, err
	}
	return opened(unionfs.New(ctx, unionfs.StackConfig{Layers: layers, Upper: mode, Log: cfg.Log}))
}

// opened keeps a nil pointer out of the interface.
func opened[FS vfs.FileSystem](fs FS, err error) (vfs.FileSystem, error) {
	if err != nil {
		return nil, err
	}
	return fs, nil
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
