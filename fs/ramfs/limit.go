package ramfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What tmpfs takes from the space of nr_inodes, in bytes (mm/shmem.c, fs/xattr.c: simple_xattr_space).
// A name beside the first of a file costs as much as a file: it takes memory as one does.
const (
	inodeSpace = 1024 // for each inode: BOGO_INODE_SIZE
	xattrSpace = 40   // for each extended attribute, beside its name and value
)

// maxInodes is the largest limit whose space can be counted.
const maxInodes = (1<<63 - 1) / inodeSpace

// inlineTarget is the longest target of a symlink that lies in the inode, in bytes. A longer
// one takes a page (mm/shmem.c: SHORT_SYMLINK_LEN).
const inlineTarget = 127

// A quota counts what is in use of something, which may be limited.
type quota struct {
	max  int64 // 0: unlimited
	used atomic.Int64
}

// take takes n, all or nothing. The last of it can be taken by one of several only, and nobody
// fails for what another one tried in vain.
//
// Errors: ENOSPC.
func (q *quota) take(n int64) error {
	if q.max == 0 {
		q.used.Add(n)
		return nil
	}
	for {
		used := q.used.Load()
		if n > q.max-used {
			return unix.ENOSPC
		}
		if q.used.CompareAndSwap(used, used+n) {
			return nil
		}
	}
}

// give gives n back.
func (q *quota) give(n int64) { q.used.Add(-n) }

// free returns how much is left, 0 without a limit.
func (q *quota) free() int64 { return max(0, q.max-q.used.Load()) }

// spaceOf returns the space that an extended attribute takes.
func spaceOf(name string, value []byte) int64 { return int64(xattrSpace + len(name) + len(value)) }

// spaceOfAll returns the space that extended attributes take.
func spaceOfAll(xattrs map[string][]byte) (n int64) {
	for name, value := range xattrs {
		n += spaceOf(name, value)
	}
	return n
}
