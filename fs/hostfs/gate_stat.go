package hostfs

import (
	"math"
	"math/bits"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// hostID is what the host says a file is. It tells when a name has come to stand
// for another file, and which names are links of one file; it decides nothing else.
type hostID struct {
	dev, ino uint64
	typ      uint32 // S_IFMT bits
}

// Limits of st_blksize in bytes; what is outside becomes defaultBlksize.
const (
	minBlksize     = 512
	maxBlksize     = 1 << 20
	defaultBlksize = 4096
)

// defaultName is what a file system says of name lengths that makes no sense of them.
const defaultName = maxName

// stat returns the attributes of name in fd, or of fd if name is "". Attr.Ino is the
// host's.
func (g *gate) stat(fd FD, name string) (vfs.Attr, hostID, error) {
	for tries := 0; ; {
		st, err := g.host.Stat(fd, name)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return vfs.Attr{}, hostID{}, fail("stat", err)
		}
		return g.attr(&st, name)
	}
}

// statBeneath tells what path below fd is. It is not repeated when interrupted: on any error names are
// asked for one by one.
func (g *gate) statBeneath(fd FD, path string) (hostID, error) {
	if err := g.need(CanStatBeneath, unix.EOPNOTSUPP); err != nil {
		return hostID{}, err
	}
	st, err := g.host.StatBeneath(fd, path)
	if err != nil {
		return hostID{}, fail("stat", err)
	}
	_, id, err := g.attr(&st, path)
	return id, err
}

// attr converts the answer to stat.
//
// Errors: EIO for a type that there is not, and a size that no file has.
func (g *gate) attr(st *unix.Statx_t, name string) (vfs.Attr, hostID, error) {
	id := hostID{
		dev: unix.Mkdev(st.Dev_major, st.Dev_minor),
		ino: st.Ino,
		typ: uint32(st.Mode) & unix.S_IFMT,
	}
	a := vfs.Attr{
		Mask:    unix.STATX_BASIC_STATS,
		Mode:    id.typ | uint32(st.Mode)&0o7777,
		Nlink:   st.Nlink,
		Ino:     st.Ino,
		Size:    int64(st.Size),
		Blocks:  int64(min(st.Blocks, math.MaxInt64/512)),
		Blksize: st.Blksize,
		Atime:   g.time(st.Atime),
		Mtime:   g.time(st.Mtime),
		Ctime:   g.time(st.Ctime),
	}
	switch id.typ {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK:
	case unix.S_IFCHR, unix.S_IFBLK:
		a.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
		if a.IsWhiteout() {
			// A file system without whiteouts shows none: it is a file like others
			// that merely cannot be opened.
			a.Rdev = unix.Mkdev(0, 1)
		}
	default:
		return vfs.Attr{}, hostID{}, badAnswer("stat: type")
	}
	if st.Size > math.MaxInt64 {
		return vfs.Attr{}, hostID{}, badAnswer("stat: size")
	}
	if a.Nlink == 0 && name != "" {
		g.correct("st_nlink") // what has a name has a link
		a.Nlink = 1
	}
	if a.Blksize < minBlksize || a.Blksize > maxBlksize || bits.OnesCount32(a.Blksize) != 1 {
		g.correct("st_blksize")
		a.Blksize = defaultBlksize
	}
	g.owners.show(&a, st)
	if st.Mask&unix.STATX_BTIME != 0 {
		a.Mask |= unix.STATX_BTIME
		a.Btime = g.time(st.Btime)
	}
	return a, id, nil
}

// time converts a time; 1970 stands for one that is none.
func (g *gate) time(t unix.StatxTimestamp) unix.Timespec {
	if t.Nsec >= 1e9 {
		g.correct("tv_nsec")
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
}

// statfs returns the size of the host's file system. If it makes no sense, or the host
// cannot tell, that is as in noStatfs.
func (g *gate) statfs(fd FD) (unix.Statfs_t, error) {
	if g.caps&CanStatfs == 0 {
		return noStatfs(), nil
	}
	for tries := 0; ; {
		st, err := g.host.Statfs(fd)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return unix.Statfs_t{}, fail("statfs", err)
		}
		return g.space(&st), nil
	}
}

// space takes from st what programs ask for: sizes, and the length of names.
func (g *gate) space(st *unix.Statfs_t) unix.Statfs_t {
	out := unix.Statfs_t{
		Type:   unix.HOSTFS_SUPER_MAGIC,
		Bsize:  st.Bsize,
		Frsize: st.Frsize,
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree,
		Namelen: st.Namelen,
	}
	if out.Frsize == 0 {
		out.Frsize = out.Bsize
	}
	if out.Namelen < 1 || out.Namelen > maxName {
		out.Namelen = defaultName
	}
	sane := validBlock(out.Bsize) && validBlock(out.Frsize) &&
		out.Bavail <= out.Bfree && out.Bfree <= out.Blocks && out.Blocks <= uint64(math.MaxInt64/out.Frsize) &&
		out.Ffree <= out.Files && out.Files <= math.MaxInt64
	if !sane {
		g.correct("statfs")
		return noStatfs()
	}
	return out
}

func validBlock(n int64) bool {
	return n >= minBlksize && n <= maxBlksize && bits.OnesCount64(uint64(n)) == 1
}

// noStatfs is a file system of unknown size: one that says it has no blocks at all,
// as those do that do not count them.
func noStatfs() unix.Statfs_t {
	return unix.Statfs_t{
		Type: unix.HOSTFS_SUPER_MAGIC, Bsize: defaultBlksize, Frsize: defaultBlksize, Namelen: defaultName,
	}
}
