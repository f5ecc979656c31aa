package permtest

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Users, and a group.
const (
	alice, bob, carol = 1001, 1002, 1003
	team              = 2000
)

// An actor makes calls.
type actor struct {
	name     string
	uid, gid int
	groups   []uint32
}

var actors = []*actor{
	{name: "root"},
	{name: "alice, of the team", uid: alice, gid: alice, groups: []uint32{team}},
	{name: "bob, of the team", uid: bob, gid: bob, groups: []uint32{team}},
	{name: "carol", uid: carol, gid: carol},
}

// A spec says what a file is.
type spec struct {
	kind     uint32 // S_IFMT bits; 0: there is none
	mode     uint32
	uid, gid int
	full     bool // a directory with something in it
}

func (s *spec) String() string {
	return fmt.Sprintf("%#o %d:%d", s.kind|s.mode, s.uid, s.gid)
}

// A call is a system call on the files of a cell: p is a directory that may hold
// the file o, q one that may hold t; n is free.
type call struct {
	name string
	do   func(base int, cell string) error
}

// A cell is one combination.
type cell struct {
	call           call
	actor          *actor
	parent, object spec
	dest, target   spec
}

var (
	parentModes = []uint32{0o755, 0o775, 0o777, 0o1777, 0o1775, 0o2777, 0o666}
	removeModes = []uint32{0o755, 0o777, 0o1777, 0o1775} // where names are taken away

	fileModes = []uint32{0o644, 0o664, 0o666, 0o060, 0, 0o4755, 0o2755, 0o6777, 0o2745}
	owners    = [][2]int{{0, 0}, {alice, team}, {carol, carol}}
)

func dir(mode uint32, owner [2]int) spec {
	return spec{kind: unix.S_IFDIR, mode: mode, uid: owner[0], gid: owner[1]}
}

func file(mode uint32, owner [2]int) spec {
	return spec{kind: unix.S_IFREG, mode: mode, uid: owner[0], gid: owner[1]}
}

func link(owner [2]int) spec {
	return spec{kind: unix.S_IFLNK, uid: owner[0], gid: owner[1]}
}

// matrix returns all cells.
func matrix() (cells []*cell) {
	add := func(c cell, calls ...call) {
		for _, a := range actors {
			for _, f := range calls {
				next := c
				next.call, next.actor = f, a
				cells = append(cells, &next)
			}
		}
	}
	open := dir(0o777, [2]int{0, 0})
	for _, mode := range parentModes {
		for _, owner := range [][2]int{{0, team}, {alice, carol}} {
			p := dir(mode, owner)
			add(cell{parent: p}, makes...)
			for _, whose := range [][2]int{{alice, team}, {carol, carol}} {
				full := dir(0o755, whose)
				full.full = true
				if !slices.Contains(removeModes, mode) {
					continue
				}
				for _, object := range []spec{file(0o644, whose), link(whose), dir(0o755, whose), full} {
					add(cell{parent: p, object: object}, removes...)
				}
				for _, object := range []spec{file(0o644, whose), dir(0o755, whose), dir(0o777, whose)} {
					add(cell{parent: p, object: object, dest: open}, renames...)
					add(cell{parent: open, object: object, dest: p}, renames...)
				}
				for _, target := range []spec{file(0o600, whose), dir(0o700, whose)} {
					object := target
					object.mode, object.uid, object.gid = 0o755, alice, alice
					add(cell{parent: open, object: object, dest: p, target: target}, replaces...)
				}
			}
			add(cell{parent: p, object: file(0o666, [2]int{carol, carol})}, opens[3:]...)
		}
	}
	for _, mode := range fileModes {
		for _, owner := range owners {
			f := file(mode, owner)
			add(cell{parent: open, object: f}, opens...)
			add(cell{parent: open, object: f}, changes...)
			add(cell{parent: open, object: f, dest: open}, links...)
		}
	}
	for _, mode := range []uint32{0o755, 0o777, 0o2775, 0o1777, 0} {
		for _, owner := range owners {
			add(cell{parent: open, object: dir(mode, owner)}, changes...)
		}
	}
	return cells
}

// makes are the calls that make p/n.
var makes = []call{
	{"mkdir 0777", func(base int, c string) error { return unix.Mkdirat(base, c+"p/n", 0o777) }},
	{"mkdir 02777", func(base int, c string) error { return unix.Mkdirat(base, c+"p/n", 0o2777) }},
	{"symlink", func(base int, c string) error { return unix.Symlinkat("x", base, c+"p/n") }},
	{"mknod S_IFIFO", func(base int, c string) error { return unix.Mknodat(base, c+"p/n", unix.S_IFIFO|0o666, 0) }},
	{"mknod S_IFREG 02777", func(base int, c string) error { return unix.Mknodat(base, c+"p/n", unix.S_IFREG|0o2777, 0) }},
	{"mknod S_IFCHR", func(base int, c string) error {
		return unix.Mknodat(base, c+"p/n", unix.S_IFCHR|0o666, int(unix.Mkdev(240, 7)))
	}},
	opening("open O_CREAT 0666", "p/n", unix.O_WRONLY|unix.O_CREAT, 0o666),
	opening("open O_CREAT 02777", "p/n", unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL, 0o2777),
	opening("open O_CREAT 0", "p/n", unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0),
}

// removes are the calls that remove p/o.
var removes = []call{
	{"unlink", func(base int, c string) error { return unix.Unlinkat(base, c+"p/o", 0) }},
	{"rmdir", func(base int, c string) error { return unix.Unlinkat(base, c+"p/o", unix.AT_REMOVEDIR) }},
}

// renames move p/o to a free name.
var renames = []call{
	renaming("rename to the same directory", "p/o", "p/n", 0),
	renaming("rename to another directory", "p/o", "q/n", 0),
}

// replaces move p/o to q/t.
var replaces = []call{
	renaming("rename over", "p/o", "q/t", 0),
	renaming("rename exchange", "p/o", "q/t", unix.RENAME_EXCHANGE),
	renaming("rename noreplace", "p/o", "q/t", unix.RENAME_NOREPLACE),
}

// links give p/o another name.
var links = []call{
	{"link", func(base int, c string) error { return unix.Linkat(base, c+"p/o", base, c+"q/n", 0) }},
}

// opens open p/o.
var opens = []call{
	opening("open O_RDONLY", "p/o", unix.O_RDONLY, 0),
	opening("open O_WRONLY", "p/o", unix.O_WRONLY, 0),
	opening("open O_RDWR", "p/o", unix.O_RDWR, 0),
	opening("open O_RDONLY|O_TRUNC", "p/o", unix.O_RDONLY|unix.O_TRUNC, 0),
	opening("open O_WRONLY|O_CREAT|O_TRUNC", "p/o", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600),
	opening("open O_RDWR|O_CREAT", "p/o", unix.O_RDWR|unix.O_CREAT, 0o600),
	opening("open O_CREAT|O_EXCL", "p/o", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600),
	{"write", func(base int, c string) error {
		fd, err := unix.Openat(base, c+"p/o", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte("x"))
		return err
	}},
}

// changes change the attributes of p/o.
var changes = []call{
	{"truncate", func(base int, c string) error { return truncateAt(base, c+"p/o", 2) }},
	chmodding(0o600), chmodding(0o2755), chmodding(0o4711),
	chowning(-1, -1), chowning(alice, -1), chowning(-1, team), chowning(-1, carol), chowning(carol, team),
	stamping("utimensat NULL", nil),
	stamping("utimensat now, omit", []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}),
	stamping("utimensat given", []unix.Timespec{{Sec: 1}, {Sec: 2}}),
}

func opening(name, path string, flags int, mode uint32) call {
	return call{name, func(base int, c string) error {
		fd, err := unix.Openat(base, c+path, flags|unix.O_CLOEXEC, mode)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}}
}

func renaming(name, from, to string, flags uint) call {
	return call{name, func(base int, c string) error { return unix.Renameat2(base, c+from, base, c+to, flags) }}
}

func chmodding(mode uint32) call {
	return call{fmt.Sprintf("chmod %#o", mode), func(base int, c string) error { return unix.Fchmodat(base, c+"p/o", mode, 0) }}
}

func chowning(uid, gid int) call {
	return call{fmt.Sprintf("chown %d:%d", uid, gid), func(base int, c string) error { return unix.Fchownat(base, c+"p/o", uid, gid, 0) }}
}

func stamping(name string, ts []unix.Timespec) call {
	if ts == nil {
		ts = []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}} // the same to the kernel
	}
	return call{name, func(base int, c string) error { return unix.UtimesNanoAt(base, c+"p/o", ts, 0) }}
}

// truncateAt is truncate(2) for a path from base, which it reaches by the
// descriptor's link in /proc.
func truncateAt(base int, path string, size int64) error {
	return unix.Truncate(fmt.Sprintf("/proc/self/fd/%d/%s", base, path), size)
}
