package sefs

import (
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// inoBatch is how many inode numbers one NEXTINO item reserves.
const inoBatch = 4096

// newIno takes the next inode number. Numbers rise and never come back: the
// reservation reaches the disk not later than the first inode that needs it.
// ENOSPC sticks when they are used up.
func (o *op) newIno() uint64 {
	fs := o.fs
	fs.inoMu.Lock()
	defer fs.inoMu.Unlock()
	if fs.nextIno == fs.inoLimit {
		limit := min(fs.inoLimit+inoBatch, format.MaxIno)
		if limit == fs.nextIno {
			o.fail(unix.ENOSPC)
			return 0
		}
		o.put(nextInoKey, format.AppendNextIno(nil, limit))
		if o.err != nil {
			return 0
		}
		fs.inoLimit = limit
	}
	ino := fs.nextIno
	fs.nextIno++
	return ino
}
