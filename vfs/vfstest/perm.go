package vfstest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	alice, bob = 1001, 1002 // users, and their groups
	team       = 2000
)

func testPermission(t *testing.T, d Driver) {
	t.Run("search", func(t *testing.T) {
		s := newSys(t, d, "d/", "d/e/", "d/e/f")
		s.ok(s.chmod("d/e", 0o600), "chmod")
		u := s.as(alice, alice)
		_, err := u.stat("d/e/f")
		s.fails(unix.EACCES, err, "stat")
		_, err = u.stat("d/e/missing")
		s.fails(unix.EACCES, err, "stat of a missing file")
		s.fails(unix.EACCES, u.opens("d/e/new", unix.O_CREAT|unix.O_WRONLY, 0o644), "create")
		s.fails(unix.EACCES, u.unlink("d/e/f"), "unlink")
		s.fails(unix.EACCES, u.rename("d/e/f", "d/g"), "rename")
		_, err = u.stat("d/e/.")
		s.fails(unix.EACCES, err, "stat of dot")
		_, err = u.stat("d/e")
		s.ok(err, "stat of the directory itself")
		s.ok(s.chmod("d/e", 0o711), "chmod")
		_, err = u.stat("d/e/f")
		s.ok(err, "stat")
		s.fails(unix.EACCES, u.opens("d/e", unix.O_RDONLY, 0), "list")
	})
	t.Run("write to the directory", func(t *testing.T) {
		s := newSys(t, d, "d/", "d/f", "d/sub/")
		u := s.as(alice, alice)
		s.fails(unix.EACCES, u.opens("d/new", unix.O_CREAT|unix.O_WRONLY, 0o644), "create")
		s.fails(unix.EACCES, u.mkdir("d/new", 0o755), "mkdir")
		s.fails(unix.EACCES, u.unlink("d/f"), "unlink")
		s.fails(unix.EACCES, u.rmdir("d/sub"), "rmdir")
		s.fails(unix.EACCES, u.rename("d/f", "d/g"), "rename")
		s.fails(unix.EEXIST, u.mkdir("d/f", 0o755), "mkdir: EEXIST goes before EACCES")
		s.fails(unix.ENOENT, u.unlink("d/x"), "unlink: ENOENT goes before EACCES")
		s.fails(unix.EACCES, u.opens("d/f", unix.O_WRONLY, 0), "write")
		s.ok(u.opens("d/f", unix.O_RDONLY|unix.O_CREAT, 0), "O_CREAT on an existing file needs no write permission")
		if d.has(Symlinks) {
			s.fails(unix.EACCES, u.symlink("x", "d/l"), "symlink")
		}
	})
	t.Run("root", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		s.ok(s.chmod("f", 0), "chmod")
		s.ok(s.chmod("d", 0), "chmod")
		s.ok(s.access("f", unix.R_OK|unix.W_OK), "access")
		s.fails(unix.EACCES, s.access("f", unix.X_OK), "access X_OK without any x")
		s.ok(s.access("d", unix.R_OK|unix.W_OK|unix.X_OK), "access of a directory")
		s.ok(s.chmod("f", 0o001), "chmod")
		s.ok(s.access("f", unix.X_OK), "access X_OK with some x")
		s.ok(s.opens("f", unix.O_RDWR, 0), "open")
	})
	if !d.has(Owners) {
		return
	}
	// The owner's bits count for the owner even if others have more; likewise the group's.
	for _, c := range []struct {
		mode             uint32
		owner, in, other uint32
	}{
		{0o700, 7, 0, 0}, {0o070, 0, 7, 0}, {0o007, 0, 0, 7}, {0o421, 4, 2, 1}, {0o124, 1, 2, 4}, {0o077, 0, 7, 7}, {0o640, 6, 4, 0},
	} {
		t.Run(fmt.Sprintf("mode %03o", c.mode), func(t *testing.T) {
			s := newSys(t, d, "f")
			s.ok(s.chown("f", alice, team), "chown")
			s.ok(s.chmod("f", c.mode), "chmod")
			for _, who := range []struct {
				name string
				u    *sys
				bits uint32
			}{
				{"owner", s.as(alice, alice), c.owner},
				{"group", s.as(bob, team), c.in},
				{"supplementary group", s.as(bob, bob, 5, team), c.in},
				{"owner in the group", s.as(alice, team), c.owner},
				{"other", s.as(bob, bob), c.other},
			} {
				for _, bit := range []uint32{1, 2, 4, 6} {
					want := unix.Errno(0)
					if bit&^who.bits != 0 {
						want = unix.EACCES
					}
					s.fails(want, who.u.access("f", bit), "access %s %o", who.name, bit)
				}
			}
		})
	}
	t.Run("ownership", func(t *testing.T) {
		s := newSys(t, d, "f")
		s.ok(s.chown("f", alice, alice), "chown")
		s.ok(s.chmod("f", 0o666), "chmod")
		a, b := s.as(alice, alice, team), s.as(bob, bob)
		s.fails(unix.EPERM, b.chmod("f", 0o777), "chmod by another")
		s.ok(a.chmod("f", 0o666), "chmod by the owner")
		s.fails(unix.EPERM, a.chown("f", bob, alice), "giving away")
		s.ok(a.chown("f", alice, team), "chgrp to an own group")
		s.fails(unix.EPERM, a.chown("f", alice, bob), "chgrp to another's group")
		s.fails(unix.EPERM, b.chown("f", bob, bob), "chown by another")
		now, omit := unix.Timespec{Nsec: unix.UTIME_NOW}, unix.Timespec{Nsec: unix.UTIME_OMIT}
		s.ok(b.utimens("f", now, now), "utimensat NOW with write permission")
		s.fails(unix.EPERM, b.utimens("f", omit, now), "utimensat of one NOW by another")
		s.fails(unix.EPERM, b.utimens("f", omit, unix.Timespec{}), "utimensat by another")
		s.ok(a.chmod("f", 0o644), "chmod")
		s.fails(unix.EACCES, b.utimens("f", now, now), "utimensat NOW without write permission")
		s.fails(unix.EACCES, b.truncate("f", 0), "truncate without write permission")
		s.fails(unix.EPERM, b.opens("f", unix.O_RDONLY|unix.O_NOATIME, 0), "O_NOATIME by another")
		s.ok(a.opens("f", unix.O_RDONLY|unix.O_NOATIME, 0), "O_NOATIME by the owner")
	})
	t.Run("new files", func(t *testing.T) {
		s := newSys(t, d, "d/")
		s.ok(s.chmod("d", 0o777), "chmod")
		u := s.as(alice, team)
		u.layout("d/f", "d/s/")
		require.EqualValues(t, alice, s.attr("d/f").UID)
		require.EqualValues(t, team, s.attr("d/f").GID)
		s.ok(s.chown("d", 0, 77), "chown")
		s.ok(s.chmod("d", 0o2777), "chmod")
		u.layout("d/g", "d/t/")
		require.EqualValues(t, 77, s.attr("d/g").GID, "group of the set-group-ID directory")
		require.EqualValues(t, 77, s.attr("d/t").GID)
		require.NotZero(t, s.attr("d/t").Mode&unix.S_ISGID, "set-group-ID is inherited by directories")
		require.Zero(t, s.attr("d/g").Mode&unix.S_ISGID)
		s.ok(u.opens("d/x", unix.O_CREAT|unix.O_WRONLY, 0o2755), "create")
		require.Zero(t, s.attr("d/x").Mode&unix.S_ISGID, "not for one outside of the group")
	})
	if d.has(Links) {
		t.Run("hard link to another's file", func(t *testing.T) {
			s := newSys(t, d, "d/", "f")
			s.ok(s.chmod("d", 0o777), "chmod")
			u := s.as(alice, alice)
			if !d.has(ProtectedLinks) {
				s.ok(u.link("f", "d/g"), "link to a file that is not writable")
				return
			}
			s.fails(unix.EPERM, u.link("f", "d/g"), "link to a file that is not writable")
			s.ok(s.chmod("f", 0o666), "chmod")
			s.ok(u.link("f", "d/g"), "link to a file that is writable")
			s.ok(s.chmod("f", 0o4666), "chmod")
			s.fails(unix.EPERM, u.link("f", "d/h"), "link to a set-user-ID file")
		})
	}
}

func testSticky(t *testing.T, d Driver) {
	if !d.has(Owners) {
		return // chown is checked in Attributes
	}
	for _, dirOwner := range []uint32{0, alice} {
		for _, fileOwner := range []uint32{0, alice, bob} {
			t.Run(fmt.Sprintf("directory of %d, file of %d", dirOwner, fileOwner), func(t *testing.T) {
				s := newSys(t, d, "d/", "o/")
				s.ok(s.chmod("d", 0o1777), "chmod")
				s.ok(s.chmod("o", 0o777), "chmod")
				s.ok(s.chown("d", dirOwner, dirOwner), "chown")
				want := unix.EPERM
				if dirOwner == alice || fileOwner == alice {
					want = 0
				}
				u := s.as(alice, alice)
				for _, call := range []struct {
					name string
					do   func() error
				}{
					{"unlink", func() error { return u.unlink("d/f") }},
					{"rmdir", func() error { return u.rmdir("d/s") }},
					{"rename from", func() error { return u.rename("d/g", "d/new") }},
					{"rename to elsewhere", func() error { return u.rename("d/h", "o/h") }},
					{"rename over", func() error { return u.rename("o/own", "d/i") }},
				} {
					if call.name == "unlink" {
						for _, f := range []string{"d/f", "d/g", "d/h", "d/i"} {
							s.layout(f)
							s.ok(s.chown(f, fileOwner, fileOwner), "chown")
						}
						s.layout("d/s/")
						s.ok(s.chown("d/s", fileOwner, fileOwner), "chown")
						u.layout("o/own")
					}
					s.fails(want, call.do(), "%s", call.name)
				}
			})
		}
	}
	t.Run("privileged", func(t *testing.T) {
		s := newSys(t, d, "d/", "d/f")
		s.ok(s.chmod("d", 0o1777), "chmod")
		s.ok(s.chown("d", bob, bob), "chown")
		s.ok(s.chown("d/f", bob, bob), "chown")
		s.ok(s.unlink("d/f"), "unlink")
	})
}

func testSetID(t *testing.T, d Driver) {
	t.Run("write by root keeps", func(t *testing.T) {
		s := newSys(t, d, "f")
		s.ok(s.chmod("f", 0o6777), "chmod")
		s.put("f", "x")
		require.EqualValues(t, 0o6777, s.attr("f").Mode&0o7777)
	})
	if !d.has(Owners) {
		return
	}
	for _, c := range []struct {
		name         string
		mode, result uint32
	}{
		{"both", 0o6777, 0o777},
		{"set-user-ID", 0o4755, 0o755},
		{"set-group-ID and executable", 0o2757, 0o757},
		{"set-group-ID alone", 0o2746, 0o2746},
	} {
		for _, call := range []string{"write", "ftruncate", "truncate", "O_TRUNC", "chown"} {
			t.Run(c.name+" "+call, func(t *testing.T) {
				s := newSys(t, d, "f")
				s.ok(s.chown("f", alice, alice), "chown")
				u := s.as(alice, alice, team)
				f := u.file("f", unix.O_RDWR)
				defer f.close()
				s.ok(s.chmod("f", c.mode), "chmod")
				switch call {
				case "write":
					f.write("x")
				case "ftruncate":
					s.ok(f.Truncate(0), "ftruncate")
				case "truncate":
					s.ok(u.truncate("f", 0), "truncate")
				case "O_TRUNC":
					s.ok(u.opens("f", unix.O_WRONLY|unix.O_TRUNC, 0), "open")
				case "chown":
					s.ok(u.chown("f", alice, alice), "chown")
				}
				require.Equal(t, c.result, s.attr("f").Mode&0o7777)
			})
		}
	}
	t.Run("chown by root", func(t *testing.T) {
		s := newSys(t, d, "f", "d/")
		s.ok(s.chmod("f", 0o6755), "chmod")
		s.ok(s.chown("f", alice, alice), "chown")
		require.EqualValues(t, 0o755, s.attr("f").Mode&0o7777)
		s.ok(s.chmod("d", 0o6755), "chmod")
		s.ok(s.chown("d", alice, alice), "chown")
		require.EqualValues(t, 0o6755, s.attr("d").Mode&0o7777, "directories keep them")
	})
	t.Run("chmod outside of the group", func(t *testing.T) {
		s := newSys(t, d, "f")
		s.ok(s.chown("f", alice, team), "chown")
		s.ok(s.as(alice, alice).chmod("f", 0o2755), "chmod")
		require.EqualValues(t, 0o755, s.attr("f").Mode&0o7777)
		s.ok(s.as(alice, alice, team).chmod("f", 0o2755), "chmod")
		require.EqualValues(t, 0o2755, s.attr("f").Mode&0o7777)
	})
}
