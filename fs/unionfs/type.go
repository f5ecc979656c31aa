package unionfs

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// A LayerOpener opens the file systems that a union is made of: upper first, then
// lower from top to bottom. It opens the upper one for writing unless flags has
// MS_RDONLY. A lower one with a MAC is opened in the state that has it, and in no other. On an error nothing stays open, and nothing has been made.
//
// Errors: those of mount(2) about the directories: ENOENT, ENOTDIR, ELOOP if
// two of them are or hold the same image, EBUSY, EACCES, EINVAL.
type LayerOpener interface {
	OpenStack(ctx context.Context, lower []mountopt.Layer, upper string, key mountopt.Key, flags uintptr) ([]vfs.FileSystem, error)
}

// Config makes a Type.
type Config struct {
	Layers LayerOpener
	// KeyFile reads the key in the file that keyfile= names, as cred. nil: keyfile= is refused.
	KeyFile func(ctx context.Context, cred *vfs.Cred, path string) (mountopt.Key, error)
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: no log
}

// Type is the file-system type "unionfs".
type Type struct{ cfg Config }

// NewType returns the type.
func NewType(cfg Config) *Type { return &Type{cfg} }

// Name implements vfs.FileSystemType.
func (t *Type) Name() string { return "unionfs" }

// Flags implements vfs.FileSystemType.
func (t *Type) Flags() uintptr { return 0 }

// Names of the options.
const (
	optLower = "lowerdir"
	optUpper = "upperdir"
	optMAC   = "mac"
)

var optionSpec = append(mountopt.Spec{
	mountopt.List(optLower, ':').Required(),
	mountopt.String(optUpper).Required(),
	mountopt.RootMACs(optMAC),
}, mountopt.KeyOptions()...)

// Mount implements vfs.FileSystemType. The options are lowerdir (host
// directories, the topmost first, with ':' between them), upperdir (the host directory
// for the changes), key, or keyfile (of all layers; without it, they are sealed to the enclave), and mac
// (the root MAC of each directory of lowerdir, or "-", in the same order).
//
// Errors: EINVAL for the options; those of Config.KeyFile, LayerOpener and New.
func (t *Type) Mount(ctx context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	opts, err := optionSpec.Parse(req.Data)
	if err != nil {
		return nil, err
	}
	secret, err := opts.MountKey(t.keyFile(ctx, req.Cred))
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	lower, err := mountopt.Layers(opts.List(optLower), opts.MACs(optMAC))
	if err != nil {
		return nil, err
	}
	layers, err := t.cfg.Layers.OpenStack(ctx, lower, opts.Text(optUpper), secret, req.Flags)
	if err != nil {
		return nil, err
	}
	mode := UpperWritable
	if req.Flags&unix.MS_RDONLY != 0 {
		mode = UpperReadOnly
	}
	fs, err := New(ctx, StackConfig{
		Layers:  layers,
		Upper:   mode,
		Cred:    req.Cred,
		Options: opts.String(),
		Now:     t.cfg.Now,
		Log:     t.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return fs, nil
}

// keyFile returns what reads key files for one mount, or nil.
func (t *Type) keyFile(ctx context.Context, cred *vfs.Cred) func(path string) (mountopt.Key, error) {
	if t.cfg.KeyFile == nil {
		return nil
	}
	return func(path string) (mountopt.Key, error) { return t.cfg.KeyFile(ctx, cred, path) }
}
