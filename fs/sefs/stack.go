package sefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// OpenStack opens the images of a union: upper for writing, or with MS_RDONLY
// for reading, and the lower ones for reading. It returns the upper layer
// first, then the lower ones from top to bottom. Without an upper ("") the
// stack is read-only. key opens all of them; the zero Key means images sealed
// to the enclave. A lower one with a MAC has to be in the state that has it; one that
// is integrity-only needs a MAC and no key.
//
// An empty lower directory is an empty layer and stays empty. An empty upper
// one becomes an image. If OpenStack fails, nothing stays open and an upper
// directory that was empty is empty again.
//
// Errors: EINVAL without layers; ENOENT, ENOTDIR; ELOOP if two layers are the
// same directory or image, or one lies inside another; otherwise those of Mount.
func (t *Type) OpenStack(ctx context.Context, lower []mountopt.Layer, upper string, key mountopt.Key, flags uintptr) (layers []vfs.FileSystem, err error) {
	if len(lower) == 0 && upper == "" {
		return nil, fmt.Errorf("sefs: a stack without layers: %w", unix.EINVAL)
	}
	all := lower
	if upper != "" {
		all = append([]mountopt.Layer{{Dir: upper}}, lower...)
	}
	names := make([]string, len(all))
	for i, l := range all {
		names[i] = l.Dir
	}
	places, err := t.places(names)
	if err != nil {
		return nil, err
	}

	layers = make([]vfs.FileSystem, len(places))
	defer func() {
		if err == nil {
			return
		}
		for _, fs := range layers {
			if fs != nil {
				// Read-only layers: there is nothing to lose.
				_ = fs.Close(context.WithoutCancel(ctx), vfs.ForceClose)
			}
		}
		layers = nil
	}()
	// The upper layer, the only one that may be made, comes last: whatever
	// fails before leaves no trace of it.
	seen := make(map[[16]byte]bool)
	for n := len(places) - 1; n >= 0; n-- {
		access, share, absent := ReadOnly, shared, absentExpose
		if n == 0 && upper != "" {
			share = exclusive
			if access = accessOf(flags); access == ReadWrite {
				absent = absentMake
			}
		}
		cfg, err := t.imageConfig(places[n], access, key)
		if err != nil {
			return layers, err
		}
		cfg.absent, cfg.mac, cfg.keyOfStack = absent, all[n].MAC, true
		if cfg.mac != nil {
			cfg.absent = absentFails
		}
		if layers[n], err = t.open(ctx, cfg, share, seen); err != nil {
			layers[n] = nil
			return layers, err
		}
	}
	return layers, nil
}

// place is a directory of the host.
type place struct {
	name string      // as the user gave it, cleaned
	real string      // absolute, without symbolic links
	info os.FileInfo // nil under Config.OpenStore
}

// place looks at a directory of the host. Errors: ENOENT, ENOTDIR, EACCES.
func (t *Type) place(name string) (place, error) {
	p := place{name: filepath.Clean(name), real: filepath.Clean(name)}
	if t.cfg.OpenStore != nil {
		return p, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return place{}, hostError(name, err)
	}
	if !info.IsDir() {
		return place{}, fmt.Errorf("sefs: image %q: %w", name, unix.ENOTDIR)
	}
	p.info = info
	if p.real, err = filepath.EvalSymlinks(name); err == nil {
		p.real, err = filepath.Abs(p.real)
	}
	if err != nil {
		return place{}, hostError(name, err)
	}
	return p, nil
}

// places looks at the directories of a stack. Errors: those of place, ELOOP.
func (t *Type) places(names []string) ([]place, error) {
	places := make([]place, len(names))
	for i, name := range names {
		p, err := t.place(name)
		if err != nil {
			return nil, err
		}
		for _, q := range places[:i] {
			if p.overlaps(q) {
				return nil, fmt.Errorf("sefs: layers %q and %q overlap: %w", q.name, p.name, unix.ELOOP)
			}
		}
		places[i] = p
	}
	return places, nil
}

// overlaps reports whether p and q are one directory or one lies inside the other.
func (p place) overlaps(q place) bool {
	if p.info != nil && q.info != nil && os.SameFile(p.info, q.info) {
		return true
	}
	return p.real == q.real || inside(p.real, q.real) || inside(q.real, p.real)
}

// inside reports whether path lies below dir.
func inside(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// hostError reports what the host says about a directory; errno that make no
// sense there become EIO.
func hostError(name string, err error) error {
	errno, ok := errors.AsType[unix.Errno](err)
	switch {
	case ok && (errno == unix.ENOENT || errno == unix.ENOTDIR || errno == unix.EACCES || errno == unix.ELOOP || errno == unix.ENAMETOOLONG):
	default:
		errno = unix.EIO
	}
	return fmt.Errorf("sefs: image %q: %w", name, errno)
}
