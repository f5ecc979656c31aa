package treecopy

import (
	"context"
	"errors"
	"sync"

	"cloister/fs/sefs"

	"golang.org/x/sys/unix"
)

// A HostTree is a directory of the host as sefs.BuildIntegrity reads it. No symbolic link below it
// is followed.
type HostTree struct {
	dir    *hostDir
	xattrs *sync.Pool // of *hostXattrs
}

var _ sefs.TreeDir = (*HostTree)(nil)

// OpenHostTree opens a directory of the host and returns its own attributes too.
//
// Errors: *Error names the place, here and in all methods.
func OpenHostTree(path string) (*HostTree, sefs.TreeEntry, error) {
	dir, err := openDir(unix.AT_FDCWD, path, path)
	if err != nil {
		return nil, sefs.TreeEntry{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir.fd(), &st); err != nil {
		dir.Close()
		return nil, sefs.TreeEntry{}, &Error{"stat", path, err}
	}
	return &HostTree{dir, &sync.Pool{New: func() any { return new(hostXattrs) }}}, treeEntry("", &st), nil
}

func treeEntry(name string, st *unix.Stat_t) sefs.TreeEntry {
	e := sefs.TreeEntry{
		Name: name, Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		Size: st.Size, Mtime: st.Mtim, Rdev: st.Rdev,
	}
	if st.Nlink > 1 {
		e.Link = [2]uint64{st.Dev, st.Ino}
	}
	return e
}

// Entries implements sefs.TreeDir.
func (t *HostTree) Entries(ctx context.Context) ([]sefs.TreeEntry, error) {
	names, err := t.dir.names()
	if err != nil {
		return nil, err
	}
	entries := make([]sefs.TreeEntry, 0, len(names))
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(t.dir.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, &Error{"stat", t.dir.at(name), err}
		}
		e := treeEntry(name, &st)
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			var target [unix.PathMax]byte
			n, err := unix.Readlinkat(t.dir.fd(), name, target[:])
			if err != nil {
				return nil, &Error{"readlink", t.dir.at(name), err}
			}
			e.Target = string(target[:n])
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Xattrs implements sefs.TreeDir.
func (t *HostTree) Xattrs(context.Context) (map[string][]byte, error) {
	return t.attributes(t.dir.fd(), t.dir.path)
}

func (t *HostTree) attributes(fd int, path string) (map[string][]byte, error) {
	x := t.xattrs.Get().(*hostXattrs)
	defer t.xattrs.Put(x)
	return x.read(fd, path)
}

// Dir implements sefs.TreeDir.
func (t *HostTree) Dir(_ context.Context, name string) (sefs.TreeDir, error) {
	sub, err := openDir(t.dir.fd(), name, t.dir.at(name))
	if err != nil {
		return nil, err
	}
	return &HostTree{sub, t.xattrs}, nil
}

// Close implements sefs.TreeDir.
func (t *HostTree) Close() error { return t.dir.Close() }

// Open implements sefs.TreeDir.
func (t *HostTree) Open(_ context.Context, name string) (sefs.TreeFile, error) {
	// O_NONBLOCK: a FIFO put in the file's place must not hang us.
	fd, err := unix.Openat(t.dir.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{"open", t.dir.at(name), err}
	}
	f := &hostTreeFile{t, fd, name}
	st, err := f.stat()
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = &Error{"open", f.path(), unix.EINVAL} // it was a regular file
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// hostTreeFile is an open regular file of a HostTree.
type hostTreeFile struct {
	tree *HostTree
	fd   int
	name string
}

func (f *hostTreeFile) path() string { return f.tree.dir.at(f.name) }

func (f *hostTreeFile) stat() (st unix.Stat_t, err error) {
	if err := unix.Fstat(f.fd, &st); err != nil {
		return st, &Error{"stat", f.path(), err}
	}
	return st, nil
}

// ReadAt implements sefs.TreeFile.
func (f *hostTreeFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	for done := 0; ; {
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return done, &Error{"read", f.path(), err}
		}
		if done += n; n == 0 || done == len(p) {
			return done, nil
		}
	}
}

// NextData implements sefs.TreeFile.
func (f *hostTreeFile) NextData(_ context.Context, off int64) (int64, error) {
	data, err := unix.Seek(f.fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // none up to the end
		st, err := f.stat()
		return max(off, st.Size), err
	}
	if err != nil {
		return off, nil // the host cannot tell
	}
	return max(off, data), nil
}

// Xattrs implements sefs.TreeFile.
func (f *hostTreeFile) Xattrs(context.Context) (map[string][]byte, error) {
	return f.tree.attributes(f.fd, f.path())
}

// Close implements sefs.TreeFile.
func (f *hostTreeFile) Close() error {
	if err := unix.Close(f.fd); err != nil {
		return &Error{"close", f.path(), err}
	}
	return nil
}
