package difftest

import (
	"fmt"
	"hash/crc32"

	"golang.org/x/sys/unix"
)

// A dumper prints the whole tree: types, modes, owners, link counts, sizes,
// contents, targets, which names are one file and what is on which mount.
type dumper struct {
	s     scratch
	names map[string]*pathname
	files map[[2]uint64]int // device and inode: first seen as
	devs  map[uint64]int
}

func newDumper(target *target) dumper {
	return dumper{
		s:     newScratch(target),
		names: map[string]*pathname{},
		files: map[[2]uint64]int{},
		devs:  map[uint64]int{},
	}
}

// maxContent is how much of a file is compared, in bytes.
const maxContent = 2 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tree appends the tree as sys, which is root's, sees it.
func (d *dumper) tree(sys system, buf []byte) ([]byte, unix.Errno) {
	clear(d.files)
	clear(d.devs)
	return d.entry(sys, buf, unix.AT_FDCWD, "/", "")
}

func (d *dumper) name(s string) *pathname {
	p := d.names[s]
	if p == nil {
		p = newPathname(s)
		d.names[s] = p
	}
	return p
}

// entry appends one file, and what is below it.
func (d *dumper) entry(sys system, buf []byte, dirfd int, name, prefix string) ([]byte, unix.Errno) {
	path := d.name(name)
	if _, e := sys.call(&op{call: callFstatat, fd: dirfd, path: path, flags: unix.AT_SYMLINK_NOFOLLOW}, &d.s); e != 0 {
		return fmt.Appendf(buf, "%s%s: %s\n", prefix, name, unix.ErrnoName(e)), e
	}
	st := &d.s.st
	st.Atim = unix.Timespec{} // reading for an earlier dump has changed it
	buf = append(append(append(buf, prefix...), name...), ' ')
	buf = d.s.appendStat(buf)
	buf = fmt.Appendf(buf, " file %d of mount %d", number(d.files, [2]uint64{st.Dev, st.Ino}), number(d.devs, st.Dev))
	var e unix.Errno
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		var n int
		n, e = sys.call(&op{call: callReadlinkat, fd: dirfd, path: path, n: 4096}, &d.s)
		buf = fmt.Appendf(buf, " => %q\n", d.s.buf[:max(n, 0)])
	case unix.S_IFREG:
		buf, e = d.content(sys, buf, dirfd, path)
	case unix.S_IFDIR:
		return d.dir(sys, append(buf, '\n'), dirfd, path, prefix)
	default:
		buf = append(buf, '\n')
	}
	return buf, e
}

func (d *dumper) content(sys system, buf []byte, dirfd int, path *pathname) ([]byte, unix.Errno) {
	fd, e := sys.call(&op{call: callOpenat, fd: dirfd, path: path, flags: unix.O_RDONLY | unix.O_NOFOLLOW}, &d.s)
	if e != 0 {
		return buf, e
	}
	defer sys.call(&op{call: callClose, fd: fd}, &d.s)
	crc, total := uint32(0), 0
	for total < maxContent {
		n, e := sys.call(&op{call: callRead, fd: fd, n: bufSize}, &d.s)
		if e != 0 {
			return buf, e
		}
		if n == 0 {
			break
		}
		crc = crc32.Update(crc, castagnoli, d.s.buf[:n])
		total += n
	}
	return fmt.Appendf(buf, " crc32c %08x of %d\n", crc, total), 0
}

func (d *dumper) dir(sys system, buf []byte, dirfd int, path *pathname, prefix string) ([]byte, unix.Errno) {
	fd, e := sys.call(&op{call: callOpenat, fd: dirfd, path: path, flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW}, &d.s)
	if e != 0 {
		return buf, e
	}
	defer sys.call(&op{call: callClose, fd: fd}, &d.s)
	entries, e := readDir(sys, &d.s, fd, 8192)
	if e != 0 {
		return buf, e
	}
	for _, entry := range entries {
		name := entry[:len(entry)-2]
		if name == "." || name == ".." {
			continue
		}
		if buf, e = d.entry(sys, buf, fd, name, prefix+"  "); e != 0 {
			return buf, e
		}
	}
	return buf, 0
}

// number returns the number under which m knows key, a new one if it does not.
func number[K comparable](m map[K]int, key K) int {
	n, ok := m[key]
	if !ok {
		n = len(m)
		m[key] = n
	}
	return n
}
