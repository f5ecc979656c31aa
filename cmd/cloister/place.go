package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"cloister/internal/treecopy"

	"golang.org/x/sys/unix"
)

// extractTo copies a file or directory of an image to dest. name is what a file is called in a directory dest.
//
// A new directory appears complete, and one that was empty is empty again if the copy fails.
// What is copied into others with ExtractConfig.Replace stays: each file is the old or the new one.
func extractTo(ctx context.Context, cfg treecopy.ExtractConfig, dest, name string) (treecopy.Totals, error) {
	st, err := os.Stat(dest)
	missing := errors.Is(err, unix.ENOENT)
	if err != nil && !missing {
		return treecopy.Totals{}, &treecopy.Error{Op: "open", Path: dest, Err: unwrapped(err)}
	}
	switch isDir := !missing && st.IsDir(); {
	case !cfg.Source.IsDir() && isDir:
		return treecopy.ExtractEntry(ctx, cfg, dest, name)
	case !cfg.Source.IsDir() && strings.HasSuffix(dest, "/"):
		return treecopy.Totals{}, &treecopy.Error{Op: "open", Path: dest, Err: unix.ENOTDIR}
	case !cfg.Source.IsDir():
		return treecopy.ExtractEntry(ctx, cfg, filepath.Dir(dest), filepath.Base(dest))
	case missing:
		return extractNew(ctx, cfg, filepath.Clean(dest))
	case !isDir:
		return treecopy.Totals{}, &treecopy.Error{Op: "open", Path: dest, Err: unix.ENOTDIR}
	case cfg.Replace:
		return treecopy.Extract(ctx, cfg, dest)
	}
	return extractEmpty(ctx, cfg, dest)
}

// extractNew makes the directory dest.
func extractNew(ctx context.Context, cfg treecopy.ExtractConfig, dest string) (totals treecopy.Totals, err error) {
	temp, err := os.MkdirTemp(filepath.Dir(dest), "."+filepath.Base(dest)+".*")
	if err != nil {
		return totals, &treecopy.Error{Op: "mkdir", Path: dest, Err: unwrapped(err)}
	}
	if totals, err = treecopy.Extract(ctx, cfg, temp); err == nil {
		if err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, dest, unix.RENAME_NOREPLACE); errors.Is(err, unix.EINVAL) {
			err = unix.Rename(temp, dest) // not every file system has the flag; this replaces at most an empty directory
		}
		if err != nil {
			err = &treecopy.Error{Op: "mkdir", Path: dest, Err: err}
		}
	}
	if err != nil {
		_ = treecopy.RemoveContents(temp) // err is what counts
		_ = os.Remove(temp)
	}
	return totals, err
}

// extractEmpty fills the directory dest, which may be a mount point or somebody's working
// directory, and so is not replaced.
func extractEmpty(ctx context.Context, cfg treecopy.ExtractConfig, dest string) (totals treecopy.Totals, err error) {
	names, err := os.ReadDir(dest)
	switch {
	case err != nil:
		return totals, &treecopy.Error{Op: "read directory", Path: dest, Err: unwrapped(err)}
	case len(names) > 0:
		return totals, &treecopy.Error{Op: "extract to", Path: dest, Err: unix.ENOTEMPTY}
	}
	totals, err = treecopy.Extract(ctx, cfg, dest)
	if err != nil {
		_ = treecopy.RemoveContents(dest) // err is what counts
	}
	return totals, err
}

// unwrapped takes the errno out of an error of package os, which names the path as well.
func unwrapped(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}
