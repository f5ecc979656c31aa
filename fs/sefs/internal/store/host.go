package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// LockName is the name of the lock file within the directory of a volume.
const LockName = "lock"

// maxIO bounds one read or write call, in bytes; larger ones are split.
const maxIO = 1 << 20

// Host is a Store over a directory of the host, reached by path.
type Host struct {
	dir    string
	access Access
	cut    atomic.Bool

	// mu is held shared while descriptors are made and names change, and
	// exclusively by Cut and Close.
	mu    sync.RWMutex
	setMu sync.Mutex // guards files
	files map[*hostFile]struct{}
}

// OpenHost returns the store in the existing directory dir. It locks nothing
// and makes nothing. A ReadOnly store refuses with EROFS whatever would change
// the directory.
//
// Errors: ENOENT, ENOTDIR, EACCES, as from stat(2).
func OpenHost(dir string, access Access) (*Host, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Stat(dir, &st) })
	if err != nil {
		return nil, hostError("stat", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, hostError("open", dir, unix.ENOTDIR)
	}
	return &Host{dir: dir, access: access, files: make(map[*hostFile]struct{})}, nil
}

// Cut makes every later call fail with EIO and without effect, and closes all
// descriptors, which releases the lock: what a killed process leaves behind.
// Only a new store on the same directory works again.
func (h *Host) Cut() {
	h.cut.Store(true)
	h.Close()
}

// Close implements Store.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var first error
	for _, f := range h.open() {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (h *Host) open() []*hostFile {
	h.setMu.Lock()
	defer h.setMu.Unlock()
	return slices.Collect(maps.Keys(h.files))
}

func (h *Host) path(name string) string { return h.dir + "/" + name }

// Open implements Store.
func (h *Host) Open(name string, access Access) (File, error) {
	flags := unix.O_RDONLY
	if access == ReadWrite {
		flags = unix.O_RDWR
	}
	f, err := h.openFile(name, flags)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Create implements Store.
func (h *Host) Create(name string) (File, error) {
	f, err := h.openFile(name, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (h *Host) openFile(name string, flags int) (*hostFile, error) {
	fd := -1
	var f *hostFile
	err := h.call("open", name, flags != unix.O_RDONLY, func() (err error) {
		fd, err = unix.Open(h.path(name), flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return err
		}
		if fd < 0 {
			return unix.EIO
		}
		f = &hostFile{host: h, name: name, fd: fd}
		h.setMu.Lock()
		defer h.setMu.Unlock()
		h.files[f] = struct{}{}
		return nil
	})
	return f, err
}

// Mkdir implements Store.
func (h *Host) Mkdir(name string) error {
	return h.call("mkdir", name, true, func() error { return unix.Mkdir(h.path(name), 0o700) })
}

// Unlink implements Store.
func (h *Host) Unlink(name string) error {
	return h.call("unlink", name, true, func() error {
		err := unix.Unlink(h.path(name))
		if err == unix.EISDIR || err == unix.EPERM {
			return unix.Rmdir(h.path(name))
		}
		return err
	})
}

// Rename implements Store.
func (h *Host) Rename(from, to string) error {
	return h.call("rename", from, true, func() error { return unix.Rename(h.path(from), h.path(to)) })
}

// SyncDir implements Store.
func (h *Host) SyncDir() error {
	return h.call("fsync", ".", true, func() error {
		fd, err := unix.Open(h.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		switch err := unix.Fsync(fd); err {
		case unix.EINVAL, unix.EBADF, unix.ENOSYS, unix.EOPNOTSUPP:
			return nil // directories cannot be synced here
		default:
			return err
		}
	})
}

// Empty implements Store.
func (h *Host) Empty() (bool, error) {
	empty := false
	err := h.call("read directory", ".", false, func() error {
		d, err := os.Open(h.dir)
		if err != nil {
			return err
		}
		defer d.Close()
		names, err := d.Readdirnames(1)
		empty = len(names) == 0
		if empty {
			return nil // io.EOF
		}
		return err
	})
	return empty, err
}

// List implements Store.
func (h *Host) List(most int) (names []string, err error) {
	err = h.call("read directory", ".", false, func() error {
		d, err := os.Open(h.dir)
		if err != nil {
			return err
		}
		defer d.Close()
		names, err = d.Readdirnames(most)
		if err == io.EOF {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

func (h *Host) call(op, name string, changes bool, fn func() error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.cut.Load() {
		return hostError(op, name, unix.EIO)
	}
	if changes && h.access == ReadOnly {
		return hostError(op, name, unix.EROFS)
	}
	if err := retry(fn); err != nil {
		return hostError(op, name, err)
	}
	return nil
}

// Lock implements Store. The error of a lock that is held names the directory
// and, when the lock file tells, the holder's process number.
func (h *Host) Lock(access Access) (File, error) {
	flags, how := unix.O_RDONLY, unix.LOCK_SH
	if access == ReadWrite {
		flags, how = unix.O_RDWR|unix.O_CREAT, unix.LOCK_EX
	}
	f, err := h.openFile(LockName, flags)
	if err != nil {
		return nil, err
	}
	err = h.call("flock", LockName, false, func() error { return unix.Flock(f.fd, how|unix.LOCK_NB) })
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EAGAIN) {
		err = fmt.Errorf("sefs store: %s is in use%s: %w", h.dir, f.holder(), unix.EBUSY)
	}
	f.Close()
	return nil, err
}

// holder reads the process number from the lock file. It is a hint for people.
func (f *hostFile) holder() string {
	var b [16]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil {
		return ""
	}
	text, _, _ := bytes.Cut(b[:n], []byte("\n"))
	pid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31)
	if err != nil || pid == 0 {
		return ""
	}
	return fmt.Sprintf(" by process %d", pid)
}

type hostFile struct {
	host *Host
	name string

	mu sync.RWMutex // held shared during a call
	fd int          // -1 once closed
}

// ReadAt implements File.
func (f *hostFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter("pread"); err != nil {
		return 0, err
	}
	defer f.mu.RUnlock()
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+maxIO)]
		n, err := unix.Pread(f.fd, part, off+int64(done))
		if err == unix.EINTR {
			continue
		}
		// A host that says it read more than there was room for lies.
		if err != nil || n < 0 || n > len(part) {
			return done, hostError("pread", f.name, unix.EIO)
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

// WriteAt implements File.
func (f *hostFile) WriteAt(p []byte, off int64) error {
	if err := f.enter("pwrite"); err != nil {
		return err
	}
	defer f.mu.RUnlock()
	for done := 0; done < len(p); {
		part := p[done:min(len(p), done+maxIO)]
		n, err := unix.Pwrite(f.fd, part, off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err == nil && (n <= 0 || n > len(part)) {
			err = unix.EIO
		}
		if err != nil {
			return hostError("pwrite", f.name, spaceError(err))
		}
		done += n
	}
	return nil
}

// Sync implements File.
func (f *hostFile) Sync() error {
	if err := f.enter("fdatasync"); err != nil {
		return err
	}
	defer f.mu.RUnlock()
	// Not repeated after EINTR: the kernel may have given up pages already.
	if err := unix.Fdatasync(f.fd); err != nil {
		return hostError("fdatasync", f.name, spaceError(err))
	}
	return nil
}

// Close implements File.
func (f *hostFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return nil
	}
	fd := f.fd
	f.fd = -1
	f.host.setMu.Lock()
	delete(f.host.files, f)
	f.host.setMu.Unlock()
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return hostError("close", f.name, unix.EIO)
	}
	return nil
}

// enter begins a call on an open file; the caller ends it with f.mu.RUnlock.
func (f *hostFile) enter(op string) error {
	f.mu.RLock()
	if f.fd < 0 || f.host.cut.Load() {
		f.mu.RUnlock()
		return hostError(op, f.name, unix.EIO)
	}
	return nil
}

// retry repeats fn while it is interrupted.
func retry(fn func() error) error {
	for {
		err := fn()
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func hostError(op, name string, err error) error {
	return fmt.Errorf("sefs store: %s %s: %w", op, name, allowed(err))
}

// spaceError leaves the errno that tell of a full or read-only host; whatever
// else moving bytes fails with is an I/O error.
func spaceError(err error) unix.Errno {
	switch e := allowed(err); e {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EROFS:
		return e
	}
	return unix.EIO
}

// allowed reduces what the host answered to the errno that may reach a caller.
func allowed(err error) unix.Errno {
	e, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return unix.EIO
	}
	switch e {
	case unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.EEXIST, unix.ENOTEMPTY, unix.ELOOP, unix.ENAMETOOLONG,
		unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC, unix.EDQUOT, unix.EFBIG,
		unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EBUSY, unix.EAGAIN, unix.ENXIO:
		return e
	}
	return unix.EIO
}
