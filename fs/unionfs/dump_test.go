package unionfs_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// dumpFlags say what a dump shows beside type, name, mode, owner and content.
type dumpFlags int

const (
	dumpLinks   dumpFlags = 1 << iota // number of links, but of directories
	dumpIno                           // inode numbers
	dumpMtime                         // modification times
	dumpPrivate                       // the attributes of the union
	dumpAll     = dumpLinks | dumpIno | dumpMtime | dumpPrivate
)

// dump describes everything in the tree, one line for each name.
func (tr *tree) dump(flags dumpFlags) []string {
	tr.t.Helper()
	var lines []string
	tr.dumpDir("/", flags, &lines)
	return lines
}

func (tr *tree) dumpDir(path string, flags dumpFlags, lines *[]string) {
	tr.t.Helper()
	*lines = append(*lines, tr.describe(path, flags))
	list, err := tr.readdir(path)
	require.NoError(tr.t, err, "readdir %s", path)
	slices.SortFunc(list, func(a, b vfs.Dirent) int { return strings.Compare(a.Name, b.Name) })
	for i, e := range list {
		require.False(tr.t, i > 0 && list[i-1].Name == e.Name, "readdir %s has %s twice", path, e.Name)
		child := strings.TrimSuffix(path, "/") + "/" + e.Name
		attr := tr.mustStat(child)
		require.Equal(tr.t, attr.Ino, e.Ino, "d_ino of %s", child)
		require.Equal(tr.t, uint8(attr.Mode>>12), e.Type, "d_type of %s", child)
		if attr.Mode&unix.S_IFMT == unix.S_IFDIR {
			tr.dumpDir(child, flags, lines)
		} else {
			*lines = append(*lines, tr.describe(child, flags))
		}
	}
}

func (tr *tree) describe(path string, flags dumpFlags) string {
	tr.t.Helper()
	attr := tr.mustStat(path)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %06o %d:%d", path, attr.Mode, attr.UID, attr.GID)
	isDir := attr.Mode&unix.S_IFMT == unix.S_IFDIR
	if flags&dumpLinks != 0 && !isDir {
		fmt.Fprintf(&b, " links=%d", attr.Nlink)
	}
	if flags&dumpIno != 0 {
		fmt.Fprintf(&b, " ino=%#x", attr.Ino)
	}
	if flags&dumpMtime != 0 {
		fmt.Fprintf(&b, " mtime=%d.%09d", attr.Mtime.Sec, attr.Mtime.Nsec)
	}
	p, err := tr.walk(path)
	require.NoError(tr.t, err)
	defer p.Put()
	switch attr.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		fmt.Fprintf(&b, " %q", tr.mustRead(path))
	case unix.S_IFLNK:
		target, err := vfs.Readlink(context.Background(), p)
		require.NoError(tr.t, err)
		fmt.Fprintf(&b, " -> %q", target)
	case unix.S_IFCHR:
		fmt.Fprintf(&b, " %#x", attr.Rdev)
	}
	tr.describeXattrs(&b, p, flags)
	return b.String()
}

func (tr *tree) describeXattrs(b *strings.Builder, p vfs.Path, flags dumpFlags) {
	tr.t.Helper()
	x := p.Inode().Xattrs()
	if x == nil {
		return
	}
	names, err := x.Listxattr(context.Background())
	require.NoError(tr.t, err)
	slices.Sort(names)
	for _, name := range names {
		if flags&dumpPrivate == 0 && strings.HasPrefix(name, "overlay.") {
			continue
		}
		v, err := x.Getxattr(context.Background(), name)
		require.NoError(tr.t, err)
		fmt.Fprintf(b, " %s=%q", name, v)
	}
}

// brief lists what is below path: "/d/" for a directory, "/f=text", "/l -> target".
func (tr *tree) brief(path string) []string {
	tr.t.Helper()
	lines := []string{}
	for _, name := range tr.names(path) {
		child := strings.TrimSuffix(path, "/") + "/" + name
		switch tr.mustStat(child).Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			lines = append(append(lines, child+"/"), tr.brief(child)...)
		case unix.S_IFREG:
			lines = append(lines, child+"="+tr.mustRead(child))
		case unix.S_IFLNK:
			p, err := tr.walk(child)
			require.NoError(tr.t, err)
			target, err := vfs.Readlink(context.Background(), p)
			p.Put()
			require.NoError(tr.t, err)
			lines = append(lines, child+" -> "+target)
		case unix.S_IFCHR:
			lines = append(lines, child+"!")
		default:
			lines = append(lines, child+"|")
		}
	}
	return lines
}
