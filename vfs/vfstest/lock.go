package vfstest

import (
	"testing"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// testLock checks that all ways to a file lead to the same locks: they live in the inode, of which a driver
// hands out one.
func testLock(t *testing.T, d Driver) {
	flock := func(s *sys, f *vfs.File) error { return f.Flock(s.ctx, unix.LOCK_EX, vfs.LockTry) }
	record := func(s *sys, f *vfs.File) error {
		return f.Setlk(s.ctx, nil, &unix.Flock_t{Type: unix.F_WRLCK, Len: 5}, vfs.LockTry)
	}
	for name, lock := range map[string]func(*sys, *vfs.File) error{"flock": flock, "record": record} {
		t.Run(name, func(t *testing.T) {
			s := newSys(t, d, "d/", "d/f", "g")
			open := func(path string) *vfs.File {
				f, err := s.open(path, unix.O_RDWR, 0)
				s.ok(err, "open %s", path)
				return f
			}
			first := open("d/f")
			s.ok(lock(s, first), "lock")
			other := open("g")
			s.ok(lock(s, other), "lock another file")
			s.ok(other.Close(s.ctx), "close")

			second := open("d/f")
			s.fails(unix.EAGAIN, lock(s, second), "lock what is locked")
			s.ok(s.rename("d/f", "h"), "rename")
			renamed := open("h")
			s.fails(unix.EAGAIN, lock(s, renamed), "lock what is locked, by its new name")
			s.ok(renamed.Close(s.ctx), "close")
			if d.has(Links) {
				s.ok(s.link("h", "l"), "link")
				linked := open("l")
				s.fails(unix.EAGAIN, lock(s, linked), "lock what is locked, by another name")
				s.ok(linked.Close(s.ctx), "close")
			}
			s.ok(first.Close(s.ctx), "close")
			s.ok(lock(s, second), "lock what is free again")
			s.ok(second.Close(s.ctx), "close")
		})
	}
}
