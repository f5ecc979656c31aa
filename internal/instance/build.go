package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/internal/treecopy"
	"cloister/mountopt"
	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// BuildConfig says what an image is built from: a host directory, an archive, or nothing.
type BuildConfig struct {
	Source  string    // host directory, or the name of Archive for messages; "" makes an empty image
	Archive io.Reader // tar archive, not compressed; nil: Source is a directory

	Image string // host directory to make; it may exist if it is empty

	Key      mountopt.Key     // the zero Key: seal the image to Platform
	Platform enclave.Platform // nil: Key is needed
	Log      *slog.Logger     // nil: discard

	Progress func(entries, bytes int64)   // see treecopy.Config
	Skipped  func(path string, err error) // see treecopy.Config
}

// Build makes an image. The image is built beside its final
// place, made durable and moved there: it is complete or absent, whatever happens.
//
// Errors: *TargetError for the image's directory; *treecopy.Error for the source.
func Build(ctx context.Context, cfg BuildConfig) (totals treecopy.Totals, err error) {
	err = build(cfg, func(dir string) (err error) {
		totals, err = fill(ctx, cfg, dir)
		return err
	})
	return totals, err
}

// build makes the image's directory with fill: complete or not at all.
func build(cfg BuildConfig, fill func(dir string) error) (err error) {
	target, err := NewPlace(cfg.Image)
	if err != nil {
		return err
	}
	if cfg.Archive == nil && cfg.Source != "" {
		if err := Outside(cfg.Source, target, cfg.Image); err != nil {
			return err
		}
	}
	parent := filepath.Dir(target)
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(target)+".*") // with mode 0700
	if err != nil {
		return &TargetError{parent, errnoOf(err)}
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	if err := fill(tmp); err != nil {
		return err
	}
	// Over an empty directory rename(2) succeeds, over any other it does not.
	if err := unix.Rename(tmp, target); err != nil {
		return &TargetError{target, err}
	}
	if err := syncDir(parent); err != nil {
		return &TargetError{parent, errnoOf(err)}
	}
	return nil
}

// TargetError says why an image cannot be made at a place.
type TargetError struct {
	Path string
	Err  error
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }
func (e *TargetError) Unwrap() error { return e.Err }

// NewPlace checks that a directory can be made at path, which may be an empty directory, and returns it
// without symbolic links in its directory part.
//
// Errors: *TargetError, with ENOTDIR, ENOTEMPTY for what is there.
func NewPlace(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", &TargetError{path, errnoOf(err)}
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", &TargetError{filepath.Dir(path), errnoOf(err)}
	}
	target := filepath.Join(parent, filepath.Base(abs))
	var st unix.Stat_t
	switch err := unix.Lstat(target, &st); {
	case errors.Is(err, unix.ENOENT):
		return target, nil
	case err != nil:
		return "", &TargetError{path, err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "", &TargetError{path, unix.ENOTDIR}
	}
	names, err := os.ReadDir(target)
	if err != nil {
		return "", &TargetError{path, errnoOf(err)}
	}
	if len(names) > 0 {
		return "", &TargetError{path, unix.ENOTEMPTY}
	}
	return target, nil
}

// Outside checks that an image does not lie inside a host tree that is copied into it. target is its
// place without symbolic links, image what the user calls it.
//
// Errors: *TargetError; *treecopy.Error for the source.
func Outside(source, target, image string) error {
	from, err := filepath.EvalSymlinks(source)
	if err == nil {
		from, err = filepath.Abs(from)
	}
	if err != nil {
		return &treecopy.Error{Op: "open", Path: source, Err: errnoOf(err)}
	}
	if Inside(from, target) {
		return &TargetError{image, fmt.Errorf("lies inside the source %s: %w", source, unix.EINVAL)}
	}
	return nil
}

// Inside reports whether path is dir or lies below it. Both are absolute and without
// symbolic links.
func Inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// fill makes the volume in dir and copies the source into it.
func fill(ctx context.Context, cfg BuildConfig, dir string) (totals treecopy.Totals, err error) {
	fs, err := sefs.Make(ctx, dir, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: cfg.Key, Platform: cfg.Platform, Log: cfg.Log}})
	if err != nil {
		return totals, &TargetError{cfg.Image, err}
	}
	i, err := newInstance(ctx, fs, fs, fs.Abandon, cfg.Log)
	if err != nil {
		return totals, &TargetError{cfg.Image, err}
	}
	to := treecopy.Config{Target: i.Root(), Cred: vfs.RootCred(), Progress: cfg.Progress, Skipped: cfg.Skipped}
	switch {
	case cfg.Archive != nil:
		totals, err = treecopy.CopyTar(ctx, to, cfg.Archive, cfg.Source)
	case cfg.Source != "":
		totals, err = treecopy.Copy(ctx, to, cfg.Source)
	}
	if e := i.Close(context.WithoutCancel(ctx)); e != nil && err == nil {
		err = &TargetError{cfg.Image, e}
	}
	return totals, err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// errnoOf takes the errno out of an error of package os, which names the path as well.
func errnoOf(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}
