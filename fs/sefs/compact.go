package sefs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Compact moves data together and gives space back to the host, until it holds at most about 1.4 times what
// is in use, or as near to that as whole segments of 64 MiB allow. The image can be used meanwhile.
// moved, if not nil, is told of the bytes moved since the last call.
//
// Errors: EROFS, ENOSPC, EDQUOT, EIO, that of ctx. Nothing is lost then, and what was moved stays so.
func (fs *FS) Compact(ctx context.Context, moved func(bytes int64)) error {
	if fs.readOnly {
		return unix.EROFS
	}
	if fs.failed.Load() {
		return errFailed
	}
	return fs.vol.Compact(ctx, moved)
}
