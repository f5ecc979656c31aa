package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testTmpfile(t *testing.T, d Driver) {
	const flags = unix.O_TMPFILE | unix.O_RDWR
	s := newSys(t, d, "d/", "f")
	s.fails(unix.EINVAL, s.opens("d", unix.O_TMPFILE|unix.O_RDONLY, 0o644), "O_TMPFILE read-only")
	s.fails(unix.ENOTDIR, s.opens("f", flags, 0o644), "O_TMPFILE in a file")
	if !d.has(Tmpfile) {
		s.fails(unix.EOPNOTSUPP, s.opens("d", flags, 0o644), "O_TMPFILE")
		return
	}
	f := s.file("d", flags)
	f.write("unnamed")
	require.EqualValues(t, 0, f.attr().Nlink)
	require.Empty(t, s.list("d"))
	if d.has(Links) {
		s.ok(s.linkat(f.openFile, "", "d/named", unix.AT_EMPTY_PATH), "linkat")
		require.EqualValues(t, 1, f.attr().Nlink)
		require.Equal(t, "unnamed", s.get("d/named"))
		require.Equal(t, f.attr().Ino, s.attr("d/named").Ino)
		s.ok(s.unlink("d/named"), "unlink")
		s.fails(unix.ENOENT, s.linkat(f.openFile, "", "d/again", unix.AT_EMPTY_PATH), "linkat after unlink")
	}
	f.close()
	e := s.file("d", flags|unix.O_EXCL)
	defer e.close()
	if d.has(Links) {
		s.fails(unix.ENOENT, s.linkat(e.openFile, "", "d/x", unix.AT_EMPTY_PATH), "linkat with O_EXCL")
	}
	u := s.as(alice, alice)
	s.fails(unix.EACCES, u.opens("d", flags, 0o644), "O_TMPFILE without write permission")
}
