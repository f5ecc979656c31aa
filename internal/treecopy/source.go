package treecopy

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// hostDir is an open directory of the host.
type hostDir struct {
	file *os.File
	path string // for messages
}

func openDir(at int, name, path string) (*hostDir, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if at != unix.AT_FDCWD {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat(at, name, flags, 0)
	if err != nil {
		return nil, &Error{"open", path, err}
	}
	return &hostDir{file: os.NewFile(uintptr(fd), path), path: path}, nil
}

func (d *hostDir) fd() int               { return int(d.file.Fd()) }
func (d *hostDir) Close() error          { return d.file.Close() }
func (d *hostDir) at(name string) string { return filepath.Join(d.path, name) } // for messages

// names lists the directory in the order of bytes, so that equal trees are
// copied in equal order.
func (d *hostDir) names() ([]string, error) {
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

// ScanEntry counts what CopyEntry of a path will copy.
//
// Errors: as Scan.
func ScanEntry(ctx context.Context, source string) (t Totals, err error) {
	parent, name := splitPath(source)
	dir, err := openDir(unix.AT_FDCWD, parent, parent)
	if err != nil {
		return t, err
	}
	defer dir.Close()
	return t, t.scanEntry(ctx, dir, name, make(map[fileID]struct{}))
}

// splitPath returns the directory of a path and the name there.
func splitPath(path string) (dir, name string) {
	clean := filepath.Clean(path)
	return filepath.Dir(clean), filepath.Base(clean)
}

func (t *Totals) scan(ctx context.Context, dir *hostDir, linked map[fileID]struct{}) error {
	names, err := dir.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.scanEntry(ctx, dir, name, linked); err != nil {
			return err
		}
	}
	return nil
}

func (t *Totals) scanEntry(ctx context.Context, dir *hostDir, name string, linked map[fileID]struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &Error{"stat", dir.at(name), err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		t.Dirs++
		sub, err := openDir(dir.fd(), name, dir.at(name))
		if err != nil {
			return err
		}
		defer sub.Close()
		return t.scan(ctx, sub, linked)
	}
	if st.Nlink > 1 {
		id := fileID{st.Dev, st.Ino}
		if _, ok := linked[id]; ok {
			t.Links++
			return nil
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
	return nil
}

// dataBytes estimates how many bytes of a file are data and not holes.
func dataBytes(st *unix.Stat_t) int64 { return min(st.Size, st.Blocks*512) }
