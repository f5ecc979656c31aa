package hostfs

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// restrictedHost is a Host that makes only the calls on files that EGo's host file system has. All but those on open
// files go by whole paths, and the host follows every link.
//
// It keeps the path of each FD itself, and the renames made through it take along the FDs at and below what they
// move (see names). An FD also holds a descriptor of the host where there can be one, so that a file that loses its
// name stays usable. What has been moved by others is not followed: before it changes something in a directory, the
// host asks whether the directory is still where it was (ESTALE).
type restrictedHost struct {
	names *names

	mu    sync.RWMutex
	files []*pathFile // by FD; nil: free
	free  []FD
}

// pathFile is what an FD of a restrictedHost stands for.
type pathFile struct {
	at *dentry
	fd int // of the host; -1: there is none, the path is all there is
	id fileID

	appendMu sync.RWMutex // held for reading by writes that need O_APPEND clear, for writing by those that change or need it
	appends  bool         // the descriptor has O_APPEND
}

// fileID is what the host says a file is.
type fileID struct{ dev, ino uint64 }

var _ Host = (*restrictedHost)(nil)

// NewRestricted returns a Host for where there are only paths, as inside an enclave with EGo. Of Caps it has CanLink.
//
// It is no boundary on the host: each link is followed, so dir leads wherever links below it lead. It is for hosts of
// which all that can be reached is as untrusted as dir.
func NewRestricted() Host { return &restrictedHost{names: newNames()} }

func (h *restrictedHost) Caps() Caps { return CanLink }

// file returns what fd stands for. Errors: EBADF.
func (h *restrictedHost) file(fd FD) (*pathFile, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if fd < 0 || int(fd) >= len(h.files) || h.files[fd] == nil {
		return nil, unix.EBADF
	}
	return h.files[fd], nil
}

// real returns the descriptor of the host that fd has. Errors: EBADF.
func (h *restrictedHost) real(fd FD) (int, error) {
	f, err := h.file(fd)
	if err != nil {
		return -1, err
	}
	if f.fd < 0 {
		return -1, unix.EBADF
	}
	return f.fd, nil
}

// add makes an FD of f.
func (h *restrictedHost) add(f *pathFile) FD {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.free); n > 0 {
		fd := h.free[n-1]
		h.free = h.free[:n-1]
		h.files[fd] = f
		return fd
	}
	h.files = append(h.files, f)
	return FD(len(h.files) - 1)
}

func (h *restrictedHost) Close(fd FD) error {
	f, err := h.file(fd)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.files[fd] = nil
	h.free = append(h.free, fd)
	h.mu.Unlock()
	h.names.unpin(f.at)
	if f.fd < 0 {
		return nil
	}
	return unix.Close(f.fd)
}

// openFlags are those of every open. With O_NONBLOCK none waits, whatever the name has become.
const openFlags = unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY

// OpenRoot keeps the path as it is now: a relative one gets the working directory put in front.
func (h *restrictedHost) OpenRoot(dir string) (FD, error) {
	path, err := absolute(dir)
	if err != nil {
		return -1, err
	}
	f := &pathFile{fd: -1}
	if err := f.refer(path); err != nil {
		return -1, err
	}
	f.at = h.names.pinRoot(path)
	return h.add(f), nil
}

func absolute(path string) (string, error) {
	if path != "" && path[0] == '/' {
		return path, nil
	}
	var buf [unix.PathMax]byte
	n, err := unix.Getcwd(buf[:])
	if err != nil {
		return "", err
	}
	if n < 1 || n > len(buf) || buf[0] != '/' {
		return "", unix.EIO
	}
	return string(buf[:n-1]) + "/" + path, nil // n counts the NUL
}

// open makes an FD of name in dir by call, which fills in the file.
func (h *restrictedHost) open(dir FD, name string, why purpose, call func(f *pathFile, path string) error) (FD, error) {
	d, err := h.file(dir)
	if err != nil {
		return -1, err
	}
	f := &pathFile{fd: -1}
	f.at, err = h.names.open(use{dir: d.at, name: name, why: why}, func(path string) error {
		if why != looks {
			if err := d.verify(path, name); err != nil {
				return err
			}
		}
		return call(f, path)
	})
	if err != nil {
		return -1, err
	}
	return h.add(f), nil
}

func (h *restrictedHost) OpenPath(dir FD, name string) (FD, error) {
	return h.open(dir, name, looks, (*pathFile).refer)
}

func (h *restrictedHost) OpenFile(dir FD, name string, flags int) (FD, error) {
	return h.open(dir, name, looks, func(f *pathFile, path string) error {
		return f.open(path, flags&unix.O_ACCMODE, 0)
	})
}

func (h *restrictedHost) OpenDir(dir FD) (FD, error) {
	d, err := h.file(dir)
	if err != nil {
		return -1, err
	}
	return h.open(dir, "", looks, func(f *pathFile, path string) error {
		if err := f.open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
			return err
		}
		if f.id != d.id {
			return f.discard(unix.ESTALE)
		}
		return nil
	})
}

func (h *restrictedHost) Create(dir FD, name string, mode uint32) (FD, error) {
	return h.open(dir, name, gives, func(f *pathFile, path string) error {
		return f.open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, mode)
	})
}

// refer opens what is at path as far as that does nothing to it: directories and regular files that this process
// may read. Of all others it notes what they are.
func (f *pathFile) refer(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	f.id = idOf(&st)
	flags := unix.O_RDONLY
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		flags |= unix.O_DIRECTORY
	case unix.S_IFREG:
	default:
		return nil
	}
	was := f.id
	switch err := f.open(path, flags, 0); {
	case err == unix.EACCES || err == unix.EPERM:
		return nil
	case err != nil:
		return err
	case f.id != was:
		return f.discard(unix.ESTALE)
	}
	return nil
}

// open opens path and notes what it is.
func (f *pathFile) open(path string, flags int, mode uint32) error {
	fd, err := unix.Open(path, flags|openFlags, mode)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd) // nothing was written
		return err
	}
	f.fd, f.id = fd, idOf(&st)
	return nil
}

// discard closes what open has opened, and returns why.
func (f *pathFile) discard(why unix.Errno) error {
	_ = unix.Close(f.fd) // nothing was written
	f.fd = -1
	return why
}

// verify checks that the directory is still the one on path, which ends in name. Errors: ESTALE.
func (f *pathFile) verify(path, name string) error {
	dir := path[:len(path)-len(name)]
	if len(dir) > 1 {
		dir = dir[:len(dir)-1]
	}
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	if err == nil && idOf(&st) != f.id {
		return unix.ESTALE
	}
	return err
}

func idOf(st *unix.Stat_t) fileID { return fileID{dev: uint64(st.Dev), ino: st.Ino} }

// Stat follows links: the host has no call that does not.
func (h *restrictedHost) Stat(fd FD, name string) (stx unix.Statx_t, err error) {
	f, err := h.file(fd)
	if err != nil {
		return stx, err
	}
	var st unix.Stat_t
	switch {
	case name == "" && f.fd >= 0:
		err = unix.Fstat(f.fd, &st)
	default:
		err = h.names.look(use{dir: f.at, name: name}, func(path string) error { return unix.Stat(path, &st) })
		if name == "" && missing(err) {
			err = unix.ESTALE
		}
	}
	if err != nil {
		return stx, err
	}
	return statxOf(&st), nil
}

// statxOf converts. What does not fit becomes a value that the gate takes for impossible, as it is.
func statxOf(st *unix.Stat_t) unix.Statx_t {
	return unix.Statx_t{
		Mask:       unix.STATX_BASIC_STATS,
		Mode:       uint16(st.Mode),
		Nlink:      uint32(min(uint64(st.Nlink), math.MaxUint32)),
		Uid:        st.Uid,
		Gid:        st.Gid,
		Ino:        st.Ino,
		Size:       uint64(st.Size),
		Blocks:     uint64(max(st.Blocks, 0)),
		Blksize:    uint32(max(0, min(int64(st.Blksize), math.MaxUint32))),
		Atime:      statxTime(st.Atim),
		Mtime:      statxTime(st.Mtim),
		Ctime:      statxTime(st.Ctim),
		Rdev_major: unix.Major(uint64(st.Rdev)),
		Rdev_minor: unix.Minor(uint64(st.Rdev)),
		Dev_major:  unix.Major(uint64(st.Dev)),
		Dev_minor:  unix.Minor(uint64(st.Dev)),
	}
}

func statxTime(t unix.Timespec) unix.StatxTimestamp {
	nsec := uint32(math.MaxUint32)
	if t.Nsec >= 0 && t.Nsec < 1e9 {
		nsec = uint32(t.Nsec)
	}
	return unix.StatxTimestamp{Sec: int64(t.Sec), Nsec: nsec}
}

// change makes a call that changes what name in dir stands for.
func (h *restrictedHost) change(dir FD, name string, why purpose, call func(path string) error) error {
	d, err := h.file(dir)
	if err != nil {
		return err
	}
	return h.names.change(use{dir: d.at, name: name, why: why}, func(path string) error {
		if err := d.verify(path, name); err != nil {
			return err
		}
		return call(path)
	})
}

func (h *restrictedHost) Mkdir(dir FD, name string, mode uint32) error {
	return h.change(dir, name, gives, func(path string) error { return unix.Mkdir(path, mode) })
}

func (h *restrictedHost) Unlink(dir FD, name string) error {
	return h.change(dir, name, takes, unix.Unlink)
}

func (h *restrictedHost) Rmdir(dir FD, name string) error {
	return h.change(dir, name, takes, unix.Rmdir)
}

func (h *restrictedHost) Link(oldDir FD, oldName string, dir FD, name string) error {
	return h.change2(oldDir, oldName, looks, dir, name, unix.Link)
}

func (h *restrictedHost) Rename(oldDir FD, oldName string, dir FD, name string, flags uint32) error {
	if flags != 0 {
		return unix.EINVAL
	}
	return h.change2(oldDir, oldName, takes, dir, name, unix.Rename)
}

// change2 makes a call that gives name in dir to what oldName in oldDir stands for.
func (h *restrictedHost) change2(oldDir FD, oldName string, why purpose, dir FD, name string, call func(from, to string) error) error {
	od, err := h.file(oldDir)
	if err != nil {
		return err
	}
	d, err := h.file(dir)
	if err != nil {
		return err
	}
	from, to := use{dir: od.at, name: oldName, why: why}, use{dir: d.at, name: name, why: gives}
	return h.names.change2(from, to, func(from, to string) error {
		if err := od.verify(from, oldName); err != nil {
			return err
		}
		if err := d.verify(to, name); err != nil {
			return err
		}
		return call(from, to)
	})
}
