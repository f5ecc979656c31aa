package treecopy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// sourceDir is an open directory of the host.
type sourceDir struct {
	file *os.File
	path string // for messages
}

func openDir(at int, name, path string) (*sourceDir, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if at != unix.AT_FDCWD {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat(at, name, flags, 0)
	if err != nil {
		return nil, &Error{"open", path, err}
	}
	return &sourceDir{file: os.NewFile(uintptr(fd), path), path: path}, nil
}

func (d *sourceDir) fd() int      { return int(d.file.Fd()) }
func (d *sourceDir) Close() error { return d.file.Close() }

// names lists the directory in the order of bytes, so that equal trees are
// copied in equal order.
func (d *sourceDir) names() ([]string, error) {
	names, err := d.file.Readdirnames(-1)
	if err != nil {
		return nil, &Error{"read directory", d.path, err}
	}
	slices.Sort(names)
	return names, nil
}

// Scan counts what Copy of a tree will copy.
//
// Errors: *Error names the place.
func Scan(ctx context.Context, source string) (Totals, error) {
	dir, err := openDir(unix.AT_FDCWD, source, source)
	if err != nil {
		return Totals{}, err
	}
	defer dir.Close()
	var t Totals
	return t, t.scan(ctx, dir, make(map[fileID]struct{}))
}

func (t *Totals) scan(ctx context.Context, dir *sourceDir, linked map[fileID]struct{}) error {
	names, err := dir.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(dir.path, name)
		var st unix.Stat_t
		if err := unix.Fstatat(dir.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &Error{"stat", path, err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			t.Dirs++
			sub, err := openDir(dir.fd(), name, path)
			if err != nil {
				return err
			}
			err = t.scan(ctx, sub, linked)
			sub.Close()
			if err != nil {
				return err
			}
			continue
		}
		if st.Nlink > 1 {
			id := fileID{st.Dev, st.Ino}
			if _, ok := linked[id]; ok {
				t.Links++
				continue
			}
			linked[id] = struct{}{}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			t.Files++
			t.Bytes += dataBytes(&st)
		case unix.S_IFLNK:
			t.Symlinks++
		default:
			t.Specials++
		}
	}
	return nil
}

// dataBytes estimates how many bytes of a file are data and not holes.
func dataBytes(st *unix.Stat_t) int64 { return min(st.Size, st.Blocks*512) }

// xattrs reads the attributes of the namespace "user." of an open file.
func (c *copier) xattrs(fd int, path string) (map[string][]byte, error) {
	if c.names == nil {
		c.names = make([]byte, 64<<10) // the largest list (XATTR_LIST_MAX)
	}
	n, err := unix.Flistxattr(fd, c.names)
	if n == 0 || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{"list attributes of", path, err}
	}
	var xattrs map[string][]byte
	for raw := range bytes.SplitSeq(c.names[:n], []byte{0}) {
		name := string(raw)
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10) // the largest value (XATTR_SIZE_MAX)
		n, err := unix.Fgetxattr(fd, name, value)
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, &Error{"read attribute of", path, err}
		}
		if xattrs == nil {
			xattrs = make(map[string][]byte)
		}
		xattrs[name] = slices.Clone(value[:n])
	}
	return xattrs, nil
}
