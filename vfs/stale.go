package vfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// WithPath walks to path from at, as Walk does, and calls do with what is there. If a driver says ESTALE,
// in the walk or in do, all of it is done once more.
//
// Errors: those of Walk and of do.
func (v *View) WithPath(ctx context.Context, at Path, path string, flags WalkFlags, do func(p Path) error) error {
	return retryStale(func(walk WalkFlags) error {
		p, err := v.Walk(ctx, at, path, flags|walk)
		if err != nil {
			return err
		}
		defer p.Put()
		return do(p)
	})
}

// retry reports whether a walk that ended with err has to be made once more, which it prepares: if it met an evicted
// dentry, and after ESTALE, when what is in the cache may be out of date (retry_estale).
//
// Preconditions: the walk has given its references back.
func (w *walker) retry(err error) bool {
	switch {
	case err == nil:
		return false
	case err == errRestart:
	case isStale(err) && w.flags&WalkReval == 0:
		w.flags |= WalkReval
	default:
		return false
	}
	w.pinned = true
	return true
}

// retryStale calls do, and once more after ESTALE, with the flag for walks that makes them ask for each
// name (fs/namei.c: retry_estale): what the cache led to was not what is there.
func retryStale(do func(walk WalkFlags) error) error {
	err := do(0)
	if isStale(err) {
		return do(WalkReval)
	}
	return err
}

func isStale(err error) bool {
	if e, ok := err.(unix.Errno); ok {
		return e == unix.ESTALE
	}
	return errors.Is(err, unix.ESTALE)
}
