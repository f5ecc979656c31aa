package instance

import (
	"context"
	"errors"
	"fmt"
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

// BuildConfig says what an image is built from.
type BuildConfig struct {
	Source string // host directory
	Image  string // host directory to make; it may exist if it is empty

	Key      mountopt.Key     // the zero Key: seal the image to Platform
	Platform enclave.Platform // nil: Key is needed
	Log      *slog.Logger     // nil: discard

	Progress func(entries, bytes int64)   // see treecopy.Config
	Skipped  func(path string, err error) // see treecopy.Config
}

// Build makes an image of a directory tree. The image is built beside its final
// place, made durable and moved there: it is complete or absent, whatever happens.
//
// Errors: *TargetError for the image's directory; *treecopy.Error for the source.
func Build(ctx context.Context, cfg BuildConfig) (totals treecopy.Totals, err error) {
	target, err := targetPath(cfg.Source, cfg.Image)
	if err != nil {
		return totals, err
	}
	parent := filepath.Dir(target)
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(target)+".*") // with mode 0700
	if err != nil {
		return totals, &TargetError{parent, errnoOf(err)}
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	if totals, err = fill(ctx, cfg, tmp); err != nil {
		return totals, err
	}
	// Over an empty directory rename(2) succeeds, over any other it does not.
	if err := unix.Rename(tmp, target); err != nil {
		return totals, &TargetError{target, err}
	}
	if err := syncDir(parent); err != nil {
		return totals, &TargetError{parent, errnoOf(err)}
	}
	return totals, nil
}

// TargetError says why an image cannot be made at a place.
type TargetError struct {
	Path string
	Err  error
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }
func (e *TargetError) Unwrap() error { return e.Err }

// targetPath checks the place of a new image and returns it without symbolic links in
// its directory part.
func targetPath(source, image string) (string, error) {
	abs, err := filepath.Abs(image)
	if err != nil {
		return "", &TargetError{image, errnoOf(err)}
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", &TargetError{filepath.Dir(image), errnoOf(err)}
	}
	target := filepath.Join(parent, filepath.Base(abs))
	from, err := filepath.EvalSymlinks(source)
	if err == nil {
		from, err = filepath.Abs(from)
	}
	if err != nil {
		return "", &treecopy.Error{Op: "open", Path: source, Err: errnoOf(err)}
	}
	if Inside(from, target) {
		return "", &TargetError{image, fmt.Errorf("lies inside the source %s: %w", source, unix.EINVAL)}
	}
	var st unix.Stat_t
	switch err := unix.Lstat(target, &st); {
	case errors.Is(err, unix.ENOENT):
		return target, nil
	case err != nil:
		return "", &TargetError{image, err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "", &TargetError{image, unix.ENOTDIR}
	}
	names, err := os.ReadDir(target)
	if err != nil {
		return "", &TargetError{image, errnoOf(err)}
	}
	if len(names) > 0 {
		return "", &TargetError{image, unix.ENOTEMPTY}
	}
	return target, nil
}

// Inside reports whether path is dir or lies below it. Both are absolute and without
// symbolic links.
func Inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// fill makes the volume in dir and copies the tree into it.
func fill(ctx context.Context, cfg BuildConfig, dir string) (totals treecopy.Totals, err error) {
	fs, err := sefs.Make(ctx, dir, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: cfg.Key, Platform: cfg.Platform, Log: cfg.Log}})
	if err != nil {
		return totals, &TargetError{cfg.Image, err}
	}
	i, err := newInstance(ctx, fs, cfg.Log)
	if err != nil {
		return totals, &TargetError{cfg.Image, err}
	}
	totals, err = treecopy.Copy(ctx, treecopy.Config{
		Source: cfg.Source, Target: i.Root(), Cred: vfs.RootCred(),
		Progress: cfg.Progress, Skipped: cfg.Skipped,
	})
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
