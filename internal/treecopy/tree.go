package treecopy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// TreeError is a failure to read one place of a VFS tree.
type TreeError struct {
	Tree string // which one, if there are two
	Path string // from where reading began, with a slash in front
	Err  error
}

func (e *TreeError) Error() string {
	if e.Tree != "" {
		return fmt.Sprintf("%s: %s: %v", e.Tree, e.Path, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Path, e.Err)
}
func (e *TreeError) Unwrap() error { return e.Err }

// ReadDir lists a directory without "." and ".." in the order of the names' bytes, and
// leaves its access time as it is.
func ReadDir(ctx context.Context, cred *vfs.Cred, dir vfs.Path) (entries []vfs.Dirent, err error) {
	f, err := vfs.OpenPath(ctx, cred, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return nil, err
	}
	defer f.Close(ctx)
	err = f.ReadDir(ctx, func(e vfs.Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			entries = append(entries, e)
		}
		return true
	})
	slices.SortFunc(entries, func(a, b vfs.Dirent) int { return cmp.Compare(a.Name, b.Name) })
	return entries, err
}

// treeXattrs returns the attributes of p that a copy keeps; nil: none.
func treeXattrs(ctx context.Context, cred *vfs.Cred, p vfs.Path) (map[string][]byte, error) {
	names, err := vfs.Listxattr(ctx, cred, p)
	if errors.Is(err, unix.EOPNOTSUPP) || len(names) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var xattrs map[string][]byte
	for _, name := range names {
		if !copied(name) {
			continue
		}
		value, err := vfs.Getxattr(ctx, cred, p, name)
		if errors.Is(err, unix.ENODATA) {
			continue // "user." means nothing on a symbolic link
		}
		if err != nil {
			return nil, err
		}
		if xattrs == nil {
			xattrs = make(map[string][]byte)
		}
		xattrs[name] = value
	}
	return xattrs, nil
}

// reader reads files of a VFS tree.
type reader struct {
	tree string // for messages; "" if it is the only one
	ctx  context.Context
	cred *vfs.Cred
	buf  []byte
}

func newReader(ctx context.Context, cred *vfs.Cred) reader {
	return reader{ctx: ctx, cred: cred, buf: make([]byte, bufferSize)}
}

func (r *reader) fail(path string, err error) error { return &TreeError{r.tree, path, err} }

// meta returns the attributes of p with all that a copy keeps.
func (r *reader) meta(p vfs.Path, path string) (vfs.Attr, meta, error) {
	a, err := vfs.Getattr(r.ctx, p, unix.STATX_BASIC_STATS)
	if err != nil {
		return a, meta{}, r.fail(path, err)
	}
	m := meta{
		mode: a.Mode, rdev: a.Rdev,
		owner: vfs.Owner{UID: a.UID, GID: a.GID},
		times: vfs.Times{Atime: a.Atime, Mtime: a.Mtime},
	}
	if m.xattrs, err = treeXattrs(r.ctx, r.cred, p); err != nil {
		return a, m, r.fail(path, err)
	}
	return a, m, nil
}

// open opens a regular file for reading.
func (r *reader) open(p vfs.Path, path string) (*vfs.File, error) {
	f, err := vfs.OpenPath(r.ctx, r.cred, p, unix.O_RDONLY|unix.O_NOATIME)
	if err != nil {
		return nil, r.fail(path, err)
	}
	return f, nil
}

func (r *reader) readlink(p vfs.Path, path string) (string, error) {
	target, err := vfs.Readlink(r.ctx, p)
	if err != nil {
		return "", r.fail(path, err)
	}
	return target, nil
}

// entries calls do for each entry of a directory in the order of names.
func (r *reader) entries(dir vfs.Path, path string, do func(p vfs.Path, name string) error) error {
	list, err := ReadDir(r.ctx, r.cred, dir)
	if err != nil {
		return r.fail(path, err)
	}
	for _, e := range list {
		if err := r.entry(dir, path, e.Name, do); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(dir vfs.Path, path, name string, do func(p vfs.Path, name string) error) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	p, err := vfs.Lookup(r.ctx, r.cred, dir, name)
	if err != nil {
		return r.fail(Join(path, name), err)
	}
	defer p.Put()
	return do(p, name)
}

// Join appends a name to a path of a tree.
func Join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// run is a piece of a file, in bytes.
type run struct{ off, end int64 }

// runs calls do for the pieces of a file of size bytes that are no holes, in order.
func (r *reader) runs(f *vfs.File, path string, size int64, do func(run) error) error {
	for off := int64(0); off < size; {
		start, err := f.Seek(r.ctx, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return r.fail(path, err)
		}
		end, err := f.Seek(r.ctx, start, unix.SEEK_HOLE)
		if err != nil {
			return r.fail(path, err)
		}
		if start >= size {
			return nil
		}
		if end = min(end, size); end <= start {
			return r.fail(path, unix.EIO)
		}
		if err := do(run{start, end}); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// read reads a piece of a file and gives it to emit bit by bit.
func (r *reader) read(f *vfs.File, path string, piece run, emit func(data []byte, off int64) error) error {
	for off := piece.off; off < piece.end; {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(r.ctx, r.buf[:min(int64(len(r.buf)), piece.end-off)], off)
		if err != nil {
			return r.fail(path, err)
		}
		if n == 0 { // the size said more
			return r.fail(path, unix.EIO)
		}
		if err := emit(r.buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
