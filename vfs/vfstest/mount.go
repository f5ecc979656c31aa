package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testMount(t *testing.T, d Driver) {
	s := newSys(t, d, "m/", "m/under", "f", "n/")
	s.ok(s.mount("m", 0), "mount")
	require.Empty(t, s.list("m"))
	s.put("m/x", "inside")
	s.fails(unix.EXDEV, s.rename("m/x", "x"), "rename out")
	s.fails(unix.EXDEV, s.rename("f", "m/f"), "rename in")
	s.fails(unix.EXDEV, s.link("f", "m/f"), "link in")
	s.fails(unix.EBUSY, s.rmdir("m"), "rmdir of the mount point")
	s.fails(unix.EBUSY, s.rename("m", "k"), "rename of the mount point")
	s.fails(unix.EBUSY, s.rename("n", "m"), "rename over the mount point")
	require.Equal(t, s.attr("/").Ino, s.attr("m/..").Ino)
	f := s.file("m/x", unix.O_RDONLY)
	s.fails(unix.EBUSY, s.umount("m"), "umount with an open file")
	f.close()
	s.ok(s.umount("m"), "umount")
	require.Equal(t, []string{"under"}, s.list("m"))

	s.ok(s.mount("m", unix.MS_RDONLY), "mount read-only")
	s.fails(unix.EROFS, s.opens("m/new", unix.O_CREAT|unix.O_WRONLY, 0o644), "create")
	s.fails(unix.EROFS, s.mkdir("m/new", 0o755), "mkdir")
	s.fails(unix.EROFS, s.chmod("m", 0o755), "chmod")
	s.fails(unix.EROFS, s.access("m", unix.W_OK), "access")
	s.fails(unix.EEXIST, s.mkdir("m", 0o755), "mkdir of what exists")
	s.ok(s.umount("m"), "umount")
}
