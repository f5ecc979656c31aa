package libos

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Close unmounts everything, the last mount first, and makes all writes
// durable. If a mount is in use or cannot be flushed, Close goes on with the
// others and fails; what is still mounted stays usable, and the caller may try
// again or call ForceClose. Once everything is unmounted the library OS is
// closed, and a second Close does nothing.
//
// Errors: EBUSY for a mount in use, named in the error, and at the very end for
// processes that have not exited; those of a failed flush.
func (l *LibOS) Close(ctx context.Context) error {
	l.closeMu.Lock()
	defer l.closeMu.Unlock()
	if l.closed {
		return nil
	}
	if err := l.unmountAll(ctx, 0); err != nil {
		return err
	}
	l.closed = true
	return l.ns.Close(ctx)
}

// ForceClose is Close that stops for nothing: it writes what can be written,
// detaches mounts that are in use, which then close with their last user, and
// gives up what cannot be flushed.
//
// Errors: the first that Close would have failed with, after everything is
// done. The others are logged.
func (l *LibOS) ForceClose(ctx context.Context) error {
	l.closeMu.Lock()
	defer l.closeMu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	first := l.ns.Sync(ctx)
	keep := func(err error) {
		switch {
		case err == nil:
		case first == nil:
			first = err
		default:
			l.log.Error("libos: close", "err", vfs.WithoutPath(err))
		}
	}
	if err := l.unmountAll(ctx, unix.MNT_FORCE); err != nil {
		keep(err)
		keep(l.unmountAll(ctx, unix.MNT_DETACH))
	}
	keep(l.ns.Close(ctx))
	return first
}

// Kill ends the library OS as kill -9 ends a process: nothing is flushed, and
// the images are as a crash at this moment leaves them. Calls in progress and
// later ones fail with EIO.
func (l *LibOS) Kill() { l.sefs.Abandon() }

// unmountAll unmounts what can be unmounted, the last mount first. A mount that lies below another
// one's mount point, hidden by it, is reached when that is gone. unmountAll returns the first of
// the errors that remain and logs the others.
func (l *LibOS) unmountAll(ctx context.Context, flags int) error {
	view := l.ns.NewView(vfs.RootCred())
	defer view.Release()
	for before := -1; ; {
		var errs []error
		mounts := view.Mounts()
		for _, m := range slices.Backward(mounts) {
			if m.Target == "/" {
				continue
			}
			if err := view.Umount2(ctx, m.Target, flags|unix.UMOUNT_NOFOLLOW); err != nil {
				errs = append(errs, fmt.Errorf("libos: umount %s: %w", m.Target, err))
			}
		}
		if len(errs) > 0 && len(mounts) != before {
			before = len(mounts)
			continue
		}
		for n, err := range errs {
			if n > 0 {
				l.log.Error("libos: close", "err", vfs.WithoutPath(err))
			}
		}
		if len(errs) > 0 {
			return errs[0]
		}
		return nil
	}
}
