package libos

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// readKeyFile reads the key in a file of the LibOS, for the mount option keyfile=. path starts at
// the root of the LibOS, also for a caller with another root. The file must be one that keeps a secret: not
// on hostfs, whose files the host reads and writes, and not for others than its owner.
//
// Errors: those of open(2) as cred; EACCES if the host or other users could read or change the file; EISDIR, or
// EINVAL for what is no regular file; EINVAL if it holds no key.
func (l *LibOS) readKeyFile(ctx context.Context, cred *vfs.Cred, path string) (mountopt.Key, error) {
	if l.ns == nil {
		return mountopt.Key{}, fmt.Errorf("libos: key file %q for the root itself: %w", path, unix.ENOENT)
	}
	key, err := l.keyIn(ctx, cred, path)
	if err != nil {
		return mountopt.Key{}, fmt.Errorf("libos: key file %q: %w", path, err)
	}
	return key, nil
}

func (l *LibOS) keyIn(ctx context.Context, cred *vfs.Cred, path string) (mountopt.Key, error) {
	view := l.ns.NewView(cred)
	defer view.Release()
	f, err := view.OpenAt(ctx, vfs.Path{}, path, vfs.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC})
	if err != nil {
		return mountopt.Key{}, err
	}
	defer f.Close(ctx) // nothing was written: there is nothing to lose
	if err := checkKeyFile(ctx, f.Path()); err != nil {
		return mountopt.Key{}, err
	}
	return mountopt.LoadKey(fileReader{ctx, f})
}

// checkKeyFile checks that a file can keep a secret.
func checkKeyFile(ctx context.Context, p vfs.Path) error {
	switch {
	case p.Kind() == unix.S_IFDIR:
		return unix.EISDIR
	case p.Kind() != unix.S_IFREG:
		return unix.EINVAL
	case p.Mount().Type() == "hostfs":
		return fmt.Errorf("it lies on hostfs, where the host reads and writes it: %w", unix.EACCES)
	}
	a, err := vfs.Getattr(ctx, p, unix.STATX_MODE)
	if err != nil {
		return err
	}
	if a.Mode&0o077 != 0 {
		return fmt.Errorf("its mode is %04o, others may use it (chmod 600): %w", a.Mode&0o7777, unix.EACCES)
	}
	return nil
}

// fileReader reads an open file as an io.Reader.
type fileReader struct {
	ctx  context.Context
	file *vfs.File
}

func (r fileReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(r.ctx, p)
	if n == 0 && err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return n, err
}
