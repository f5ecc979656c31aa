package ramfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Fallocate changes the space of a range. All modes of fallocate(2) work; FALLOC_FL_COLLAPSE_RANGE and
// FALLOC_FL_INSERT_RANGE on whole pages.
//
// Errors: EFBIG; ENOSPC; EINVAL for a range that is not of whole pages, or reaches the end of file.
func (h *handle) Fallocate(ctx context.Context, mode uint32, off, n int64) error {
	f := (*file)(h)
	if off+n > maxFileSize {
		return unix.EFBIG
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.size.Load()
	keep := mode&unix.FALLOC_FL_KEEP_SIZE != 0
	var err error
	switch mode &^ (unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_UNSHARE_RANGE) {
	case unix.FALLOC_FL_ALLOCATE_RANGE:
		err = f.allocateLocked(off, n)
		f.reserved = f.reserved || keep
	case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
		f.zeroLocked(off, off+n)
	case unix.FALLOC_FL_COLLAPSE_RANGE:
		keep = true
		size, err = f.collapseLocked(off, n)
	case unix.FALLOC_FL_INSERT_RANGE:
		keep = true
		size, err = f.insertLocked(off, n)
	default:
		return unix.EOPNOTSUPP
	}
	if err != nil {
		return err
	}
	if !keep {
		size = max(size, off+n)
	}
	now := f.fs.time()
	f.change(func() {
		f.setSizeLocked(size)
		f.mtime.store(now)
		f.ctime.store(now)
	})
	return nil
}

// allocateLocked makes the pages of a range where space is limited, so that later writes
// cannot fail. Where it is not, they cannot fail anyway.
func (f *file) allocateLocked(off, n int64) error {
	if f.fs.pages.max == 0 {
		return nil
	}
	first, last := off/pageSize, (off+n-1)/pageSize
	if last-first >= f.fs.pages.max {
		return unix.ENOSPC
	}
	var made []int64
	for i := first; i <= last; i++ {
		if f.pages[i] != nil {
			continue
		}
		if _, err := f.pageLocked(i); err != nil {
			for _, m := range made {
				f.zeroPageLocked(m, m*pageSize, (m+1)*pageSize)
			}
			return err
		}
		made = append(made, i)
	}
	return nil
}

// collapseLocked takes a range out and returns the new size.
func (f *file) collapseLocked(off, n int64) (size int64, err error) {
	size = f.size.Load()
	if off%pageSize != 0 || n%pageSize != 0 || off+n >= size {
		return 0, unix.EINVAL
	}
	f.zeroLocked(off, off+n)
	f.shiftLocked((off+n)/pageSize, -n/pageSize)
	return size - n, nil
}

// insertLocked makes room for a hole and returns the new size.
func (f *file) insertLocked(off, n int64) (size int64, err error) {
	size = f.size.Load()
	if off%pageSize != 0 || n%pageSize != 0 || off >= size {
		return 0, unix.EINVAL
	}
	if size > maxFileSize-n {
		return 0, unix.EFBIG
	}
	f.shiftLocked(off/pageSize, n/pageSize)
	return size + n, nil
}

// shiftLocked moves the pages from number first on by delta numbers.
func (f *file) shiftLocked(first, delta int64) {
	moved := make(map[int64]*[pageSize]byte, len(f.pages))
	for n, p := range f.pages {
		if n >= first {
			n += delta
		}
		moved[n] = p
	}
	f.pages = moved
}
