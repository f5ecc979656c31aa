package format_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

func sampleInode() format.Inode {
	return format.Inode{
		Mode: unix.S_IFREG | 0o4755, UID: 1, GID: 2, Nlink: 3, Xattrs: 4, Size: 5, Blocks: 6,
		Atime: unix.Timespec{Sec: -7, Nsec: 8}, Mtime: unix.Timespec{Sec: 9, Nsec: 999999999},
		Ctime: unix.Timespec{Sec: 1 << 40}, Btime: unix.Timespec{Sec: 10, Nsec: 11},
	}
}

// TestInodeBytes pins the layout: a change of it is a change of the format.
func TestInodeBytes(t *testing.T) {
	n := sampleInode()
	n.Mode, n.Rdev = unix.S_IFCHR|0o600, 0x1122
	want := "01000000" + "80210000" + "01000000" + "02000000" + "03000000" + "04000000" +
		"0500000000000000" + "0600000000000000" + "2211000000000000" + "0000000000000000" +
		"f9ffffffffffffff08000000" + "0900000000000000ffc99a3b" + "000000000001000000000000" + "0a000000000000000b000000" +
		"0000000000000000"
	require.Equal(t, want, fmt.Sprintf("%x", n.Append(nil)))
}

func TestInodeRoundTrip(t *testing.T) {
	for name, change := range map[string]func(n *format.Inode){
		"file":      func(n *format.Inode) {},
		"largest":   func(n *format.Inode) { n.Size = format.MaxFileSize },
		"directory": func(n *format.Inode) { n.Mode, n.Size, n.Parent = unix.S_IFDIR|0o1777, 64, 1 },
		"symlink":   func(n *format.Inode) { n.Mode = unix.S_IFLNK | 0o777 },
		"fifo":      func(n *format.Inode) { n.Mode = unix.S_IFIFO },
		"socket":    func(n *format.Inode) { n.Mode = unix.S_IFSOCK },
		"device":    func(n *format.Inode) { n.Mode, n.Rdev = unix.S_IFBLK, 1<<40 },
		"orphan":    func(n *format.Inode) { n.Nlink = 0 },
	} {
		n := sampleInode()
		change(&n)
		got, err := format.DecodeInode(n.Append(nil))
		require.NoError(t, err, name)
		require.Equal(t, n, got, name)
	}
}

func TestInodeRefusesTheImpossible(t *testing.T) {
	for name, change := range map[string]func(n *format.Inode){
		"type":            func(n *format.Inode) { n.Mode = 0o644 },
		"mode bits":       func(n *format.Inode) { n.Mode |= 1 << 20 },
		"size":            func(n *format.Inode) { n.Size = format.MaxFileSize + 1 },
		"blocks":          func(n *format.Inode) { n.Blocks = 1 << 50 },
		"directory size":  func(n *format.Inode) { n.Mode, n.Parent, n.Size = unix.S_IFDIR, 1, 33 },
		"link length":     func(n *format.Inode) { n.Mode, n.Size = unix.S_IFLNK, 4096 },
		"empty link":      func(n *format.Inode) { n.Mode, n.Size = unix.S_IFLNK, 0 },
		"time":            func(n *format.Inode) { n.Ctime.Nsec = 1e9 },
		"device number":   func(n *format.Inode) { n.Rdev = 1 },
		"parent":          func(n *format.Inode) { n.Parent = 1 },
		"no parent":       func(n *format.Inode) { n.Mode, n.Size = unix.S_IFDIR, 0 },
		"parent too high": func(n *format.Inode) { n.Mode, n.Size, n.Parent = unix.S_IFDIR, 0, format.MaxIno },
	} {
		n := sampleInode()
		change(&n)
		_, err := format.DecodeInode(n.Append(nil))
		requireItemError(t, err, name)
	}
	n := sampleInode()
	good := n.Append(nil)
	for off, name := range map[int]string{0: "version", 1: "reserved", 104: "reserved", 111: "reserved"} {
		bad := append([]byte(nil), good...)
		bad[off]++
		_, err := format.DecodeInode(bad)
		requireItemError(t, err, name)
	}
	for _, n := range []int{0, 1, format.InodeLen - 1} {
		_, err := format.DecodeInode(good[:n])
		requireItemError(t, err, "short")
	}
	_, err := format.DecodeInode(append(good, 0))
	requireItemError(t, err, "long")
}

func requireItemError(t *testing.T, err error, what string) {
	t.Helper()
	require.ErrorIs(t, err, unix.EUCLEAN, what)
	var item *format.ItemError
	require.ErrorAs(t, err, &item, what)
}

func TestDirentChain(t *testing.T) {
	var val []byte
	var err error
	for n := range 5 {
		val, err = format.SetDirent(nil, val, fmt.Sprint("name", n), uint64(n+16), unix.DT_REG)
		require.NoError(t, err)
	}
	val, err = format.RemoveDirent(nil, val, "name1")
	require.NoError(t, err)
	require.Equal(t, "name0@0 name2@2 name3@3 name4@4", chain(t, val), "slots stay")
	val, err = format.SetDirent(nil, val, "name3", 0, format.Whiteout)
	require.NoError(t, err)
	d, err := format.FindDirent(val, "name3")
	require.NoError(t, err)
	require.EqualValues(t, format.Whiteout, d.Type, "replaced in place")
	val, err = format.SetDirent(nil, val, "new", 99, unix.DT_DIR)
	require.NoError(t, err)
	require.Equal(t, "name0@0 new@1 name2@2 name3@3 name4@4", chain(t, val), "the lowest free slot")
	_, err = format.FindDirent(val, "name1")
	require.ErrorIs(t, err, unix.ENOENT)
	_, err = format.RemoveDirent(nil, val, "name1")
	require.ErrorIs(t, err, unix.ENOENT)

	val, err = format.RemoveDirent(nil, val, "name0")
	require.NoError(t, err)
	val, err = format.SetDirent([]byte("kept"), val, "first", 7, unix.DT_REG)
	require.NoError(t, err)
	require.Equal(t, "kept", string(val[:4]), "appends")
	require.Equal(t, "first@0 new@1 name2@2 name3@3 name4@4", chain(t, val[4:]))
	val, err = format.SetDirent([]byte("kept"), val[4:], "new", 8, unix.DT_REG)
	require.NoError(t, err)
	d, err = format.FindDirent(val[4:], "new")
	require.NoError(t, err)
	require.EqualValues(t, 8, d.Ino)
}

func chain(t *testing.T, val []byte) string {
	var out []string
	it := format.Dirents(val)
	for d, ok := it.Next(); ok; d, ok = it.Next() {
		out = append(out, fmt.Sprintf("%s@%d", d.Name, d.Slot))
	}
	require.NoError(t, it.Err())
	return strings.Join(out, " ")
}

func TestDirentChainIsBounded(t *testing.T) {
	var val []byte
	n := 0
	for {
		next, err := format.SetDirent(nil, val, fmt.Sprintf("%0255d", n), 16, unix.DT_REG)
		if err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			break
		}
		val = next
		n++
	}
	require.Equal(t, 9, n, "names of 255 bytes")
	require.LessOrEqual(t, len(val), format.MaxDirents)
	require.LessOrEqual(t, format.MaxDirents, format.MaxValue)
	val, n = nil, 0
	for {
		next, err := format.SetDirent(nil, val, string(rune('A'+n)), 16, unix.DT_REG)
		if err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			break
		}
		val = next
		n++
	}
	require.Equal(t, 64, n, "short names")
}

func TestDirentRefusesTheImpossible(t *testing.T) {
	for name, val := range map[string]string{
		"empty":              "",
		"short":              "\x10\x00\x00\x00",
		"name cut":           "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x03ab",
		"no name":            "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00",
		"dot":                "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01.",
		"dotdot":             "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x02..",
		"slash":              "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01/",
		"NUL":                "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01\x00",
		"type":               "\x10\x00\x00\x00\x00\x00\x00\x00\x07\x00\x01a",
		"inode 0":            "\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01a",
		"inode too high":     "\x00\x00\x00\x00\x00\x00\x01\x00\x08\x00\x01a",
		"whiteout, inode":    "\x10\x00\x00\x00\x00\x00\x00\x00\x0e\x00\x01a",
		"slot":               "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x40\x01a",
		"slots out of order": "\x10\x00\x00\x00\x00\x00\x00\x00\x08\x01\x01a\x10\x00\x00\x00\x00\x00\x00\x00\x08\x01\x01b",
		"too long":           strings.Repeat("\x10\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01a", 300),
	} {
		_, err := format.FindDirent([]byte(val), "absent")
		requireItemError(t, err, name)
		if val != "" {
			_, err = format.SetDirent(nil, []byte(val), "absent", 16, unix.DT_REG)
			requireItemError(t, err, name)
		}
		_, err = format.RemoveDirent(nil, []byte(val), "absent")
		requireItemError(t, err, name)
	}
}

func TestDirentPositions(t *testing.T) {
	for _, hash := range []uint64{0, 1, 63, 64, 127, 128, 1 << 40, 1<<63 - 1, 1 << 63, ^uint64(0)} {
		off := format.DirentOff(hash)
		require.Zero(t, off%64)
		require.GreaterOrEqual(t, off, uint64(3))
		require.Less(t, format.DirentPos(off, 63), uint64(1<<63))
		require.Equal(t, off, format.DirentOff(format.DirentPos(off, 63)<<1), "a position leads back to its item")
	}
}

func TestXattrPieces(t *testing.T) {
	for _, n := range []int{0, 1, format.XattrPiece - 1, format.XattrPiece, format.XattrPiece + 1, format.MaxXattr} {
		value := []byte(strings.Repeat("v", n))
		head := format.AppendXattrHead(nil, "user.x", value)
		require.LessOrEqual(t, len(head), format.MaxValue)
		h, err := format.DecodeXattrHead(head)
		require.NoError(t, err, "%d bytes", n)
		require.Equal(t, "user.x", string(h.Name))
		got := append([]byte{}, h.First...)
		for i := 1; i < format.Pieces(n); i++ {
			got, err = h.AppendXattrPiece(got, format.XattrPieceOf(value, i), i)
			require.NoError(t, err)
		}
		require.Equal(t, string(value), string(got), "%d bytes", n)
		_, err = h.AppendXattrPiece(got, []byte("more"), format.Pieces(n))
		requireItemError(t, err, "one piece too many")
	}
	require.LessOrEqual(t, format.Pieces(format.MaxXattr), format.XattrLane)
	long := format.AppendXattrHead(nil, strings.Repeat("n", 255), make([]byte, format.XattrPiece))
	require.LessOrEqual(t, len(long), format.MaxValue)
}

func TestXattrRefusesTheImpossible(t *testing.T) {
	for name, val := range map[string]string{
		"empty":         "",
		"short":         "\x01\x00\x00\x00",
		"name cut":      "\x05\x00\x00\x00\x00user",
		"no name":       "\x00\x00\x00\x00\x00",
		"NUL":           "\x01\x00\x00\x00\x00\x00",
		"value missing": "\x01\x02\x00\x00\x00av",
		"value extra":   "\x01\x00\x00\x00\x00av",
		"value long":    "\x01\x01\x00\x01\x00a",
	} {
		_, err := format.DecodeXattrHead([]byte(val))
		requireItemError(t, err, name)
	}
}

func TestSymlinkAndNumbers(t *testing.T) {
	require.NoError(t, format.CheckSymlink([]byte("a/b"), 3))
	requireItemError(t, format.CheckSymlink([]byte("a/b"), 4), "length")
	requireItemError(t, format.CheckSymlink([]byte("a\x00b"), 3), "NUL")
	requireItemError(t, format.CheckSymlink(nil, 0), "empty")

	ino, err := format.DecodeNextIno(format.AppendNextIno(nil, 4711))
	require.NoError(t, err)
	require.EqualValues(t, 4711, ino)
	for _, bad := range [][]byte{nil, {1}, format.AppendNextIno(nil, 1), format.AppendNextIno(nil, format.MaxIno+1)} {
		_, err := format.DecodeNextIno(bad)
		requireItemError(t, err, "next inode number")
	}
}

func FuzzDecodeInode(f *testing.F) {
	n := sampleInode()
	f.Add(n.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, val []byte) {
		n, err := format.DecodeInode(val)
		if err != nil {
			requireItemError(t, err, "inode")
			return
		}
		require.Equal(t, val, n.Append(nil), "what decodes is what encodes")
	})
}

func FuzzDirents(f *testing.F) {
	val, _ := format.SetDirent(nil, nil, "name", 16, unix.DT_REG)
	val, _ = format.SetDirent(nil, val, "other", 0, format.Whiteout)
	f.Add(val, "name")
	f.Add([]byte{}, "x")
	f.Fuzz(func(t *testing.T, val []byte, name string) {
		it := format.Dirents(val)
		count := 0
		for d, ok := it.Next(); ok; d, ok = it.Next() {
			count++
			require.NotEmpty(t, d.Name)
		}
		if it.Err() != nil {
			requireItemError(t, it.Err(), "dirents")
			return
		}
		if len(name) == 0 || len(name) > 255 || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			return
		}
		next, err := format.SetDirent(nil, val, name, 99, unix.DT_DIR)
		if err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			return
		}
		d, err := format.FindDirent(next, name)
		require.NoError(t, err)
		require.EqualValues(t, 99, d.Ino)
		next, err = format.RemoveDirent(nil, next, name)
		require.NoError(t, err)
		if len(next) > 0 {
			_, err = format.FindDirent(next, name)
			require.NotNil(t, err)
		}
	})
}

func FuzzDecodeXattrHead(f *testing.F) {
	f.Add(format.AppendXattrHead(nil, "user.a", []byte("value")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, val []byte) {
		h, err := format.DecodeXattrHead(val)
		if err != nil {
			requireItemError(t, err, "xattr")
			return
		}
		require.LessOrEqual(t, h.Len, format.MaxXattr)
		require.LessOrEqual(t, len(h.First), h.Len)
	})
}
