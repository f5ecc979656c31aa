package sefs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// reclaim frees the inodes that were open without a name when the volume was
// last committed. It corresponds to ext4_orphan_cleanup.
func (fs *FS) reclaim(ctx context.Context) error {
	const batch = 256
	from := orphanKey(0)
	var inos []uint64
	for {
		inos = inos[:0]
		err := fs.vol.Scan(from, past(from), func(k format.Key, _ []byte) bool {
			inos = append(inos, k.Off)
			return len(inos) < batch
		})
		if err != nil {
			return fmt.Errorf("sefs: read the list of orphans: %w", err)
		}
		if len(inos) == 0 {
			return nil
		}
		for _, ino := range inos {
			if err := fs.reclaimOne(ctx, ino); err != nil {
				return fmt.Errorf("sefs: free orphan %d: %w", ino, err)
			}
		}
	}
}

func (fs *FS) reclaimOne(ctx context.Context, ino uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x, err := fs.load(ino)
	if err != nil && !errors.Is(err, unix.EUCLEAN) {
		return err
	}
	if err != nil || ino == format.RootIno || x.base().snapshot().Nlink != 0 {
		return &format.ItemError{Item: "orphan", Reason: "its inode is missing or has a name"}
	}
	o, err := fs.begin(ctx)
	if err != nil {
		return err
	}
	i := x.base()
	i.orphan = true
	s := i.snapshot()
	fs.wb.workMu.Lock()
	o.free(i, &s)
	fs.wb.workMu.Unlock()
	return o.end()
}
