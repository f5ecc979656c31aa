package vfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Errno is the only converter of an error to an errno: 0 for nil, EINTR for a
// cancelled context, EIO for an error that holds no errno.
func Errno(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[unix.Errno](err); ok && e != 0 {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return unix.EINTR
	}
	return unix.EIO
}
