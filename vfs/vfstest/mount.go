package vfstest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func testMount(t *testing.T, d Driver) {
	s := newSys(t, d, "m/", "m/under", "f", "n/")
	mount := func(target string, flags uintptr) error {
		return s.v.Mount(s.ctx, "src", target, "driver", flags, "")
	}
	s.ok(mount("m", 0), "mount")
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
	s.fails(unix.EBUSY, s.v.Umount2(s.ctx, "m", 0), "umount with an open file")
	f.close()
	s.ok(s.v.Umount2(s.ctx, "m", 0), "umount")
	require.Equal(t, []string{"under"}, s.list("m"))

	s.ok(mount("m", unix.MS_RDONLY), "mount read-only")
	s.fails(unix.EROFS, s.opens("m/new", unix.O_CREAT|unix.O_WRONLY, 0o644), "create")
	s.fails(unix.EROFS, s.mkdir("m/new", 0o755), "mkdir")
	s.fails(unix.EROFS, s.chmod("m", 0o755), "chmod")
	s.fails(unix.EROFS, s.access("m", unix.W_OK), "access")
	s.fails(unix.EEXIST, s.mkdir("m", 0o755), "mkdir of what exists")
	s.ok(s.v.Umount2(s.ctx, "m", 0), "umount")
}

// testCache runs with almost no dentry cache, so that everything is evicted and looked up again.
func testCache(t *testing.T, d Driver) {
	s := newSysConfig(t, d, vfs.Config{MaxDentries: 2})
	for i := range 20 {
		s.layout(fmt.Sprintf("d%d/", i), fmt.Sprintf("d%d/e/", i))
		for j := range 10 {
			s.layout(fmt.Sprintf("d%d/e/f%d", i, j))
		}
	}
	inos := map[uint64]string{}
	for range 2 {
		for i := range 20 {
			for j := range 10 {
				path := fmt.Sprintf("d%d/e/f%d", i, j)
				require.Equal(t, path, s.get(path))
				ino := s.attr(path).Ino
				if old, ok := inos[ino]; ok {
					require.Equal(t, path, old, "inode %d", ino)
				}
				inos[ino] = path
			}
		}
	}
	require.Len(t, inos, 200)
	if d.has(Links) {
		s.ok(s.link("d0/e/f0", "d1/g"), "link")
		a, b := s.file("d0/e/f0", unix.O_RDWR), s.file("d1/g", unix.O_RDWR)
		defer a.close()
		defer b.close()
		a.writeAt("one file", 0)
		require.Equal(t, "one file", b.readAt(100, 0))
		require.True(t, a.Path().Inode() == b.Path().Inode(), "two names, one inode")
	}
	for i := range 20 {
		for j := range 10 {
			s.ok(s.unlink(fmt.Sprintf("d%d/e/f%d", i, j)), "unlink")
		}
		s.ok(s.rmdir(fmt.Sprintf("d%d/e", i)), "rmdir")
	}
}
