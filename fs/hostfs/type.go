package hostfs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// Config makes a Type. The zero value of each field is usable.
type Config struct {
	Host Host             // nil: the Linux kernel
	Log  *slog.Logger     // nil discards
	Now  func() time.Time // nil: time.Now; only for the log, files are stamped by the host
}

// Type is the file-system type "hostfs".
type Type struct{ cfg Config }

var _ vfs.FileSystemType = (*Type)(nil)

// NewType returns the type.
func NewType(cfg Config) *Type {
	if cfg.Host == nil {
		cfg.Host = newLinuxHost()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Type{cfg: cfg}
}

// Name implements vfs.FileSystemType.
func (t *Type) Name() string { return "hostfs" }

// Flags implements vfs.FileSystemType: what the host says of set-id bits and devices means nothing inside.
func (t *Type) Flags() uintptr { return unix.MS_NOSUID | unix.MS_NODEV }

var mountSpec = mountopt.Spec{
	mountopt.String("dir").Required(),
	mountopt.Uint("uid", maxID),
	mountopt.Uint("gid", maxID),
	mountopt.Octal("umask"),
}

// Mount implements vfs.FileSystemType. Options: dir=<directory on the host>, mandatory; links on the
// way to it are followed by the host. uid=, gid=: who owns all files. umask=: permissions that no file has. A directory may
// be mounted more than once: the mounts agree as two processes on the host do, but do not share file locks.
//
// Errors: EINVAL for bad options; ENOENT, ENOTDIR, EACCES for dir; EIO.
func (t *Type) Mount(ctx context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	opts, err := mountSpec.Parse(req.Data)
	if err != nil {
		return nil, err
	}
	caps := t.cfg.Host.Caps()
	owners, err := newOwnership(opts, caps)
	if err != nil {
		return nil, err
	}
	fs := &FS{
		gate:    &gate{host: t.cfg.Host, caps: caps, owners: owners, log: t.cfg.Log, now: t.cfg.Now},
		options: opts.String(),
		dirSync: req.Flags&(unix.MS_SYNCHRONOUS|unix.MS_DIRSYNC) != 0,

		open:     make(map[*handle]struct{}),
		unsynced: make(map[*dir]struct{}),
		holding:  make(map[*inode]struct{}),
	}
	fs.table.init()
	if err := fs.start(opts.Text("dir")); err != nil {
		return nil, fmt.Errorf("hostfs: directory %q: %w", opts.Text("dir"), err)
	}
	return fs, nil
}

// start opens the root directory.
func (fs *FS) start(name string) error {
	fd, err := fs.gate.openRoot(name)
	if err != nil {
		return err
	}
	d := newDesc(fs.gate, fd)
	_, id, err := fs.gate.stat(fd, "")
	if err == nil && id.typ != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		_ = d.put() // refers to a directory, wrote nothing
		return err
	}
	fs.root = fs.table.add(fs, id, nil).(*dir)
	fs.hold(&fs.root.inode, d)
	return nil
}
