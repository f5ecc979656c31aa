package ramfs

import (
	"context"
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

const (
	pageSize    = 4096                         // bytes
	maxFileSize = math.MaxInt64 - pageSize + 1 // bytes
)

// file is a regular file: its pages by number; those that are absent are holes. What a
// page holds past the end of file is zero.
type file struct {
	inode

	mu       sync.RWMutex
	pages    map[int64]*[pageSize]byte
	reserved bool // FALLOC_FL_KEEP_SIZE may have made pages past the end of file
}

// Errors: ENOSPC.
func newFile(fs *FS, a vfs.CreateAttr) (*file, error) {
	f := &file{pages: make(map[int64]*[pageSize]byte)}
	if err := f.init(fs, unix.S_IFREG, a); err != nil {
		return nil, err
	}
	return f, nil
}

// Open returns the file itself: there is no state in an open file.
func (f *file) Open(ctx context.Context, flags int) (vfs.Handle, error) { return (*handle)(f), nil }

// Evict frees the pages.
func (f *file) Evict(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fs.pages.give(int64(len(f.pages)))
	f.pages = nil
	return f.inode.Evict(ctx)
}

// Setattr changes attributes, the size among them.
//
// Errors: EFBIG.
func (f *file) Setattr(ctx context.Context, sa vfs.SetAttr) error {
	if sa.Mask&unix.STATX_SIZE == 0 {
		return f.inode.Setattr(ctx, sa)
	}
	if sa.Size > maxFileSize {
		return unix.EFBIG
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if size := f.size.Load(); sa.Size < size || sa.Size == size && f.reserved {
		f.zeroLocked(sa.Size, maxFileSize)
		f.reserved = false
	}
	f.change(func() {
		f.applyLocked(sa)
		f.setSizeLocked(sa.Size)
	})
	return nil
}

// setSizeLocked sets the size and the count of blocks. The attributes' lock is held too.
func (f *file) setSizeLocked(size int64) {
	f.size.Store(size)
	f.blocks.Store(int64(len(f.pages)) * (pageSize / 512))
}

// zeroLocked makes a hole from byte offset from up to, not including, to.
func (f *file) zeroLocked(from, to int64) {
	if from >= to {
		return
	}
	first, last := from/pageSize, (to-1)/pageSize
	if last-first > int64(len(f.pages)) {
		for n := range f.pages {
			if first <= n && n <= last {
				f.zeroPageLocked(n, from, to)
			}
		}
		return
	}
	for n := first; n <= last; n++ {
		f.zeroPageLocked(n, from, to)
	}
}

// zeroPageLocked zeroes what of page n lies in from..to and drops the page if that is all.
func (f *file) zeroPageLocked(n, from, to int64) {
	p := f.pages[n]
	if p == nil {
		return
	}
	start, end := max(from-n*pageSize, 0), min(to-n*pageSize, pageSize)
	if start == 0 && end == pageSize {
		delete(f.pages, n)
		f.fs.pages.give(1)
		return
	}
	clear(p[start:end])
}

// pageLocked returns page n, made if need be.
//
// Errors: ENOSPC.
func (f *file) pageLocked(n int64) (*[pageSize]byte, error) {
	if p := f.pages[n]; p != nil {
		return p, nil
	}
	if err := f.fs.pages.take(1); err != nil {
		return nil, err
	}
	p := new([pageSize]byte)
	f.pages[n] = p
	return p, nil
}

// writeLocked writes p at off.
func (f *file) writeLocked(p []byte, off int64) (n int, err error) {
	if off >= maxFileSize {
		return 0, unix.EFBIG
	}
	if room := maxFileSize - off; int64(len(p)) > room {
		p = p[:room]
	}
	for n < len(p) {
		at := off + int64(n)
		page, perr := f.pageLocked(at / pageSize)
		if perr != nil {
			err = perr
			break
		}
		n += copy(page[at%pageSize:], p[n:])
	}
	if n > 0 {
		f.writtenLocked(off + int64(n))
	}
	return n, err
}

// writtenLocked updates the attributes after a change of content up to end.
func (f *file) writtenLocked(end int64) {
	now := f.fs.time()
	i := &f.inode
	i.mu.Lock()
	defer i.mu.Unlock()
	i.beginLocked()
	defer i.endLocked()
	i.mtime.store(now)
	i.ctime.store(now)
	f.setSizeLocked(max(end, i.size.Load()))
}

// handle is an open file.
type handle file

// ReadAt reads; holes read as zeros.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	f := (*file)(h)
	f.mu.RLock()
	defer f.mu.RUnlock()
	size := f.size.Load()
	if off >= size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), size-off)]
	for n < len(p) {
		at := off + int64(n)
		rest := p[n:min(len(p), n+int(pageSize-at%pageSize))]
		if page := f.pages[at/pageSize]; page != nil {
			copy(rest, page[at%pageSize:])
		} else {
			clear(rest)
		}
		n += len(rest)
	}
	return n, nil
}

// WriteAt writes.
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	f := (*file)(h)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writeLocked(p, off)
}

// Append writes at the end of file.
func (h *handle) Append(ctx context.Context, p []byte) (n int, end int64, err error) {
	f := (*file)(h)
	f.mu.Lock()
	defer f.mu.Unlock()
	off := f.size.Load()
	n, err = f.writeLocked(p, off)
	return n, off + int64(n), err
}

// Seek finds data or a hole, page by page.
func (h *handle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	f := (*file)(h)
	f.mu.RLock()
	defer f.mu.RUnlock()
	size := f.size.Load()
	if off < 0 || off >= size {
		return 0, unix.ENXIO
	}
	if whence == unix.SEEK_HOLE {
		for n := off / pageSize; ; n++ {
			if f.pages[n] == nil {
				return min(max(off, n*pageSize), size), nil
			}
		}
	}
	next := int64(math.MaxInt64)
	if f.pages[off/pageSize] != nil {
		return off, nil
	}
	for n := range f.pages {
		if n > off/pageSize {
			next = min(next, n)
		}
	}
	if next == math.MaxInt64 || next*pageSize >= size {
		return 0, unix.ENXIO
	}
	return next * pageSize, nil
}

// Fsync does nothing.
func (h *handle) Fsync(ctx context.Context, datasync bool) error { return nil }

// Release does nothing.
func (h *handle) Release(ctx context.Context) error { return nil }
