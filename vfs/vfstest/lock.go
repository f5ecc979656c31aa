package vfstest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// testLock checks that all ways to a file lead to the same locks: they live in the inode, of which a driver
// hands out one.
func testLock(t *testing.T, d Driver) {
	flock := func(f openFile) error { return f.Flock(unix.LOCK_EX | unix.LOCK_NB) }
	record := func(f openFile) error {
		return f.Setlk(&unix.Flock_t{Type: unix.F_WRLCK, Len: 5})
	}
	for name, lock := range map[string]func(openFile) error{"flock": flock, "record": record} {
		t.Run(name, func(t *testing.T) {
			s := newSys(t, d, "d/", "d/f", "g")
			first := s.file("d/f", unix.O_RDWR)
			s.ok(lock(first), "lock")
			other := s.file("g", unix.O_RDWR)
			s.ok(lock(other), "lock another file")
			other.close()

			second := s.file("d/f", unix.O_RDWR)
			s.fails(unix.EAGAIN, lock(second), "lock what is locked")
			s.ok(s.rename("d/f", "h"), "rename")
			renamed := s.file("h", unix.O_RDWR)
			s.fails(unix.EAGAIN, lock(renamed), "lock what is locked, by its new name")
			renamed.close()
			if d.has(Links) {
				s.ok(s.link("h", "l"), "link")
				linked := s.file("l", unix.O_RDWR)
				s.fails(unix.EAGAIN, lock(linked), "lock what is locked, by another name")
				linked.close()
			}
			first.close()
			s.ok(lock(second), "lock what is free again")
			second.close()
		})
	}
}
