package difftest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/syscall"
	"cloister/vfs"
)

// A listing is everything that calls show of a file system, but for the targets of links:
// all of struct stat but the device, entries with their numbers and positions in the order
// in which they come, content with its holes, and extended attributes. Making
// one changes no times.
type listing struct {
	t   *syscall.Task
	out []byte
	buf []byte
}

// all lists the root.
func (l *libOS) all() ([]byte, error) {
	ls := &listing{t: syscall.NewTask(l.ns, vfs.RootCred()), buf: make([]byte, bufSize)}
	defer ls.t.Exit()
	err := ls.entry("")
	return ls.out, err
}

// entry adds the file at path; "" is the root.
func (ls *listing) entry(path string) error {
	var st unix.Stat_t
	at := cmp.Or(path, "/")
	if err := ls.t.Lstat(at, &st); err != nil {
		return fmt.Errorf("lstat %s: %w", at, err)
	}
	st.Dev = 0
	ls.out = fmt.Appendf(ls.out, "%s %+v", at, st)
	if err := ls.xattrs(at); err != nil {
		return fmt.Errorf("attributes of %s: %w", at, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFDIR {
		ls.out = append(ls.out, '\n')
		return nil
	}
	fd, err := ls.t.Open(at, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NOATIME, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", at, err)
	}
	defer ls.t.Close(fd)
	if kind == unix.S_IFREG {
		return ls.content(fd, st.Size)
	}
	names, err := ls.names(fd)
	if err != nil {
		return fmt.Errorf("getdents64 of %s: %w", at, err)
	}
	for _, name := range names {
		if err := ls.entry(path + name); err != nil {
			return err
		}
	}
	return nil
}

func (ls *listing) xattrs(path string) error {
	n, err := ls.t.Llistxattr(path, ls.buf)
	if err != nil {
		return err
	}
	for rest, name := string(ls.buf[:n]), ""; rest != ""; {
		name, rest, _ = strings.Cut(rest, "\x00")
		n, err := ls.t.Lgetxattr(path, name, ls.buf)
		if err != nil {
			return err
		}
		ls.out = fmt.Appendf(ls.out, " %s=%q", name, ls.buf[:n])
	}
	return nil
}

// content adds where data are, and what.
func (ls *listing) content(fd int, size int64) error {
	for off := int64(0); off < size; {
		data, err := ls.t.Lseek(fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return err
		}
		if off, err = ls.t.Lseek(fd, data, unix.SEEK_HOLE); err != nil {
			return err
		}
		crc := uint32(0)
		for at := data; at < off; {
			n, err := ls.t.Pread64(fd, ls.buf[:min(off-at, bufSize)], at)
			if err != nil || n == 0 {
				return fmt.Errorf("pread64 at %d of %d: %d, %w", at, size, n, err)
			}
			crc = crc32.Update(crc, castagnoli, ls.buf[:n])
			at += int64(n)
		}
		ls.out = fmt.Appendf(ls.out, " %08x at %d to %d", crc, data, off)
	}
	ls.out = append(ls.out, '\n')
	return nil
}

// names adds the entries of a directory as they come and returns the names.
func (ls *listing) names(fd int) (names []string, err error) {
	for {
		n, err := ls.t.Getdents64(fd, ls.buf)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			ls.out = append(ls.out, '\n')
			return names, nil
		}
		for b := ls.buf[:n]; len(b) > 0; {
			size := binary.NativeEndian.Uint16(b[16:])
			name, _, _ := strings.Cut(string(b[19:size]), "\x00")
			ls.out = fmt.Appendf(ls.out, " %q %d %d %d", name, binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:]), b[18])
			if name != "." && name != ".." {
				names = append(names, "/"+name)
			}
			b = b[size:]
		}
	}
}
