package treecopy

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// WriteTar writes Source as a tar archive (PAX) to w: a directory with its contents below
// "./", anything else as the one entry name. The names of a directory come in the order of their
// bytes, each directory before its contents, so equal trees give equal archives. Sockets have
// no place in an archive and are left out.
//
// Errors: *TreeError for the source; *Error for w, which it calls to.
func WriteTar(ctx context.Context, cfg ExtractConfig, w io.Writer, to, name string) (Totals, error) {
	t := &tarWriter{
		reader: newReader(ctx, cfg.Cred), ExtractConfig: cfg, to: to,
		out: w, tw: tar.NewWriter(w), links: make(map[uint64]*hostLink),
	}
	var err error
	if cfg.Source.IsDir() {
		err = t.root()
	} else {
		err = t.entry(cfg.Source, "/", name, "")
	}
	if err != nil {
		return t.totals, err
	}
	return t.totals, t.failure(t.tw.Close())
}

// tarWriter writes one archive.
type tarWriter struct {
	reader
	ExtractConfig
	totals Totals
	to     string
	out    io.Writer
	tw     *tar.Writer
	links  map[uint64]*hostLink // by inode number
}

// failure is an error of the output.
func (t *tarWriter) failure(err error) error {
	if err == nil {
		return nil
	}
	return &Error{"write", t.to, err}
}

func (t *tarWriter) done(count *int64) {
	*count++
	if t.Progress != nil {
		t.Progress(1, 0)
	}
}

func (t *tarWriter) root() error {
	_, m, err := t.meta(t.Source, "/")
	if err != nil {
		return err
	}
	h := t.header("./", "/", &m)
	h.Typeflag = tar.TypeDir
	if err := t.write(h, "/"); err != nil {
		return err
	}
	return t.dir(t.Source, "/", "./")
}

// dir writes the contents of a directory; in the archive, prefix stands before their names.
func (t *tarWriter) dir(dir vfs.Path, path, prefix string) error {
	return t.entries(dir, path, func(p vfs.Path, name string) error { return t.entry(p, path, name, prefix) })
}

func (t *tarWriter) entry(p vfs.Path, dir, name, prefix string) error {
	path := Join(dir, name)
	a, m, err := t.meta(p, path)
	if err != nil {
		return err
	}
	h := t.header(prefix+name, path, &m)
	if l := t.links[a.Ino]; l != nil {
		h.Typeflag, h.Linkname = tar.TypeLink, l.path
		if l.left--; l.left == 0 {
			delete(t.links, a.Ino)
		}
		if err := t.write(h, path); err != nil {
			return err
		}
		t.done(&t.totals.Links)
		return nil
	}
	switch m.kind() {
	case unix.S_IFDIR:
		h.Name += "/"
		h.Typeflag = tar.TypeDir
		if err := t.write(h, path); err != nil {
			return err
		}
		t.done(&t.totals.Dirs)
		return t.dir(p, path, h.Name)
	case unix.S_IFREG:
		err = t.regular(p, path, h, a.Size)
	case unix.S_IFLNK:
		if h.Linkname, err = t.readlink(p, path); err != nil {
			return err
		}
		h.Typeflag = tar.TypeSymlink
		err = t.single(h, path, &t.totals.Symlinks)
	case unix.S_IFSOCK:
		if t.Skipped == nil {
			return t.fail(path, unix.EOPNOTSUPP)
		}
		t.Skipped(path, errors.New("sockets have no place in an archive"))
		return nil
	default:
		h.Typeflag = tar.TypeFifo
		if m.kind() != unix.S_IFIFO {
			h.Typeflag = tar.TypeChar
			if m.kind() == unix.S_IFBLK {
				h.Typeflag = tar.TypeBlock
			}
			h.Devmajor, h.Devminor = int64(unix.Major(m.rdev)), int64(unix.Minor(m.rdev))
		}
		err = t.single(h, path, &t.totals.Specials)
	}
	if err == nil && a.Nlink > 1 {
		t.links[a.Ino] = &hostLink{path: h.Name, left: a.Nlink - 1}
	}
	return err
}

func (t *tarWriter) single(h *tar.Header, path string, count *int64) error {
	if err := t.write(h, path); err != nil {
		return err
	}
	t.done(count)
	return nil
}

// header returns what all types have in common.
func (t *tarWriter) header(name, path string, m *meta) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatPAX,
		Name:   name, Mode: int64(m.perm()), Uid: int(m.owner.UID), Gid: int(m.owner.GID),
		ModTime: time.Unix(m.times.Mtime.Unix()), AccessTime: time.Unix(m.times.Atime.Unix()),
	}
	for attr, value := range m.xattrs {
		if strings.Contains(attr, "=") { // ends the keyword
			if t.Skipped != nil {
				t.Skipped(path+": attribute "+attr, unix.EINVAL)
			}
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrRecord+attr] = string(value)
	}
	return h
}

// write writes a header.
func (t *tarWriter) write(h *tar.Header, path string) error {
	err := t.tw.WriteHeader(h)
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) {
		return &Error{"archive", path, err} // what it says has no place in a header
	}
	return t.failure(err)
}

// regular writes a regular file with its contents.
func (t *tarWriter) regular(p vfs.Path, path string, h *tar.Header, size int64) error {
	f, err := t.open(p, path)
	if err != nil {
		return err
	}
	defer f.Close(t.ctx)
	h.Typeflag, h.Size = tar.TypeReg, size
	pieces := []run{{0, size}}
	sparse, err := t.sparse(f, path, size)
	if err != nil {
		return err
	}
	var w io.Writer = t.tw
	if sparse == nil {
		err = t.write(h, path)
	} else {
		pieces, w = sparse, t.out
		err = t.sparseHeader(h, pieces)
	}
	if err != nil {
		return err
	}
	stored := int64(0)
	for _, piece := range pieces {
		err := t.read(f, path, piece, func(data []byte, _ int64) error {
			if _, err := w.Write(data); err != nil {
				return t.failure(err)
			}
			stored += int64(len(data))
			if t.Progress != nil {
				t.Progress(0, int64(len(data)))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.totals.Bytes += stored
	if sparse != nil {
		if _, err := w.Write(make([]byte, padding(stored))); err != nil {
			return t.failure(err)
		}
	}
	t.done(&t.totals.Files)
	return nil
}
