package treecopy

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// Rules of reading an archive that make an entry an error.
var (
	errDotDot  = errors.New("a name with '..' is refused")
	errNoEnd   = errors.New("the archive is cut off: its end mark is missing")
	errNoEntry = errors.New("the archive is empty")
	errNoTar   = errors.New("it is no tar archive, or cut off at its beginning")
	errTrail   = errors.New("too much data after the end of the archive")
	errType    = errors.New("this type of entry is not supported")
	errOwner   = errors.New("the owner is out of range")
	errDevice  = errors.New("the device number is out of range")
	errSparse  = errors.New("a sparse file of more than 1 TiB is refused")
	errTarget  = errors.New("the file to link to is not in the archive before it")
	errRoot    = errors.New("the root can only be a directory")
	errThrough = errors.New("its place lies below something that is no directory")
)

const (
	// maxSparse bounds sparse files: their holes have to be read as zeros, and cost the maker of
	// an archive nothing.
	maxSparse = 1 << 40 // bytes
	maxTrail  = 64 << 20
	maxMajor  = 1<<12 - 1
	maxMinor  = 1<<20 - 1

	xattrRecord  = "SCHILY.xattr." // keyword of extended attributes in PAX headers
	sparseRecord = "GNU.sparse."
)

// CopyTar copies a tar archive to the target; r is read to its end. name is what errors call
// the archive.
//
// Names are relative to the target, also with a slash in front, and are never followed
// through a symbolic link; ".." is refused. An entry "./" is the target itself. Missing
// parents are made with mode 0755, owner 0:0 and the time of the entry that needs them. An entry
// replaces an earlier one of the same name as Config.Replace says. The target of a hard link has to
// come before it.
//
// Errors: *Error names the entry.
func CopyTar(ctx context.Context, cfg Config, r io.Reader, name string) (Totals, error) {
	cfg.Replace = true // the later of two entries counts
	src := &endReader{r: r}
	a := &archive{target: newTarget(ctx, cfg), name: name, tr: tar.NewReader(src), dir: cfg.Target.Get()}
	defer func() { a.dir.Put() }()
	if err := a.remember(); err != nil {
		return a.totals, err
	}
	if err := a.entries(); err != nil {
		return a.totals, err
	}
	if src.ended {
		return a.totals, a.fail(errNoEnd)
	}
	// What follows may hold a checksum, and the writer of a pipe wants to get rid of it.
	n, err := io.CopyN(io.Discard, r, maxTrail)
	switch {
	case n == maxTrail:
		return a.totals, a.fail(errTrail)
	case !errors.Is(err, io.EOF):
		return a.totals, a.fail(err)
	}
	return a.totals, a.leave()
}

// archive copies the entries of one archive.
type archive struct {
	target
	name string // of the archive
	tr   *tar.Reader

	// The directory of the last entry, pinned, its name from the target, and its times, which entries must not change.
	dir     vfs.Path
	dirName string
	times   vfs.Times
}

// endReader sees whether an archive ends without a mark: then its reader runs
// into the end of the data.
type endReader struct {
	r     io.Reader
	ended bool
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.ended = e.ended || n == 0 && errors.Is(err, io.EOF)
	return n, err
}

func (a *archive) fail(err error) error { return &Error{"read", a.name, err} }

func (a *archive) entries() error {
	for first := true; ; first = false {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		h, err := a.tr.Next()
		switch {
		case errors.Is(err, io.EOF) && first:
			return a.fail(errNoEntry)
		case errors.Is(err, io.EOF):
			return nil
		case first && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)):
			return a.fail(errNoTar)
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // names are checked below
			return a.fail(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			if err := a.global(h); err != nil {
				return err
			}
			continue
		}
		if err := a.entry(h); err != nil {
			return err
		}
	}
}

// global takes a header for all that follows. git writes one with a comment; one that
// changes attributes would have to be added to each entry, which nothing needs.
func (a *archive) global(h *tar.Header) error {
	for record := range h.PAXRecords {
		if record != "comment" {
			return a.fail(fmt.Errorf("a global header with %q is not supported", record))
		}
	}
	return nil
}

// entry makes one entry.
func (a *archive) entry(h *tar.Header) error {
	where := a.name + ": " + h.Name
	name, err := memberName(h.Name)
	if err != nil {
		return &Error{"take", where, err}
	}
	m, err := a.metaOf(h, where)
	if err != nil {
		return &Error{"take", where, err}
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return &Error{"take", where, errRoot}
		}
		if err := a.enter("", where, &m); err != nil {
			return err
		}
		a.times = m.times
		return a.setMeta(where, a.Target, &m)
	}
	dir, base := path.Split(name)
	if err := a.enter(strings.TrimSuffix(dir, "/"), where, &m); err != nil {
		return err
	}
	p, err := a.make(h, where, base, &m)
	p.Put()
	return err
}

// make makes the entry in the current directory. It may be left out: the zero Path.
func (a *archive) make(h *tar.Header, where, base string, m *meta) (vfs.Path, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return a.mkdir(where, a.dir, base, m)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return a.file(h, where, base, m)
	case tar.TypeSymlink:
		return a.symlink(where, h.Linkname, a.dir, base, m)
	case tar.TypeLink:
		return vfs.Path{}, a.hardlink(h, where, base)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return a.special(where, a.dir, base, m)
	}
	return vfs.Path{}, &Error{"take", where, errType}
}

// memberName returns the names of an entry below the target with single slashes between
// them; "" is the target itself.
func memberName(name string) (string, error) {
	parts := strings.Split(name, "/")
	kept := parts[:0]
	for _, part := range parts {
		switch part {
		case "", ".":
			continue
		case "..":
			return "", errDotDot
		}
		kept = append(kept, part)
	}
	clean := strings.Join(kept, "/")
	if len(clean) >= unix.PathMax { // bounds the depth too
		return "", unix.ENAMETOOLONG
	}
	return clean, nil
}

// metaOf takes the attributes out of a header.
func (a *archive) metaOf(h *tar.Header, where string) (m meta, err error) {
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= math.MaxUint32 || int64(h.Gid) >= math.MaxUint32 {
		return m, errOwner
	}
	m.owner = vfs.Owner{UID: uint32(h.Uid), GID: uint32(h.Gid)}
	m.mode = uint32(h.Mode) & 07777
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock:
		if h.Devmajor < 0 || h.Devmajor > maxMajor || h.Devminor < 0 || h.Devminor > maxMinor {
			return m, errDevice
		}
		m.rdev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		m.mode |= unix.S_IFCHR
		if h.Typeflag == tar.TypeBlock {
			m.mode ^= unix.S_IFCHR ^ unix.S_IFBLK
		}
	case tar.TypeFifo:
		m.mode |= unix.S_IFIFO
	}
	if m.times.Mtime, err = unix.TimeToTimespec(h.ModTime); err != nil {
		return m, err
	}
	m.times.Atime = m.times.Mtime
	if !h.AccessTime.IsZero() {
		if m.times.Atime, err = unix.TimeToTimespec(h.AccessTime); err != nil {
			return m, err
		}
	}
	if h.Typeflag == tar.TypeLink { // the file has its attributes already
		return m, nil
	}
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		switch {
		case !ok:
		case copied(name) && mayHave(h.Typeflag, name):
			if m.xattrs == nil {
				m.xattrs = make(map[string][]byte)
			}
			m.xattrs[name] = []byte(value)
		case a.Skipped != nil:
			a.Skipped(where+": attribute "+name, unix.EOPNOTSUPP)
		}
	}
	return m, nil
}

// mayHave reports whether a file of a type can have an attribute (xattr(7)).
func mayHave(typeflag byte, attribute string) bool {
	switch typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, tar.TypeDir:
		return true
	}
	return strings.HasPrefix(attribute, "trusted.")
}

// hardlink makes a further name of an earlier entry.
func (a *archive) hardlink(h *tar.Header, where, base string) error {
	name, err := memberName(h.Linkname)
	if err != nil {
		return &Error{"link", where, err}
	}
	file, err := a.find(name)
	if err != nil {
		return &Error{"link", where, errTarget}
	}
	defer file.Put()
	if file.IsDir() {
		return &Error{"link", where, unix.EPERM}
	}
	return a.link(where, file, a.dir, base)
}

// find looks an earlier entry up.
func (a *archive) find(name string) (vfs.Path, error) {
	p := a.Target.Get()
	for part := range strings.SplitSeq(name, "/") {
		next, err := a.existing(p, part)
		p.Put()
		if err != nil {
			return vfs.Path{}, err
		}
		p = next
	}
	return p, nil
}
