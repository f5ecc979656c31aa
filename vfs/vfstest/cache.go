package vfstest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// testCache runs with almost no dentry cache, so that everything is evicted and looked up again.
func testCache(t *testing.T, d Driver) {
	s, _ := newView(t, d, vfs.Config{MaxDentries: 2})
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
		require.True(t, inode(a) == inode(b), "two names, one inode")
	}
	for i := range 20 {
		for j := range 10 {
			s.ok(s.unlink(fmt.Sprintf("d%d/e/f%d", i, j)), "unlink")
		}
		s.ok(s.rmdir(fmt.Sprintf("d%d/e", i)), "rmdir")
	}
}

// inode returns the inode of a file that a view has open.
func inode(f *file) vfs.Inode { return f.openFile.(*viewFile).Path().Inode() }

// testCacheRace is testConcurrent with almost no dentry cache.
func testCacheRace(t *testing.T, d Driver) {
	s, _ := newView(t, d, vfs.Config{MaxDentries: 4})
	s.concurrently()
}
