package difftest

import (
	"cmp"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A callNr says which call an op makes.
type callNr uint8

const (
	callOpenat callNr = iota
	callClose
	callDup
	callDup3
	callFcntl
	callRead
	callPread
	callReadv
	callWrite
	callPwrite
	callWritev
	callLseek
	callTruncate
	callFtruncate
	callFallocate
	callFsync
	callFdatasync
	callFstat
	callFstatat
	callMkdirat
	callMknodat
	callUnlinkat
	callRenameat2
	callLinkat
	callSymlinkat
	callReadlinkat
	callFchmodat2
	callFchmod
	callFchownat
	callFchown
	callUtimensat
	callFaccessat2
	callUmask
	callGetdents // the whole directory, from its start
	callGetcwd
	callChdir
	callFchdir
	callMount
	callUmount2
	callOpenat2
	callCopyRange
	callSendfile
	callPwritev2
	callSetxattr
	callGetxattr
	callListxattr
	callRemovexattr
	callFlock
	callLock   // fcntl(2) with a struct flock
	callBecome // set all ids and groups; the saved ones stay root's
	callFork
	callExec
	callExit // and begin anew as a process of root's
	callDump // the whole tree
	callGetdents64

	// Of worlds on images only: their root is taken down and put up again, which ends
	// all tasks and mounts.
	callSyncfs
	callSync
	callRemount // umount and mount
	callCrash   // sync, kill -9 and mount
	callLayer   // what is there becomes a lower layer; the next one is empty
	callStack   // and all layers so far become a union with an empty upper one

	numCalls = int(callStack) + 1
)

// An op is one call of one task, complete in itself: it refers to descriptors
// by number and to files by path, never to earlier ops. So any part of a
// sequence of ops is a sequence of ops.
type op struct {
	call  callNr
	task  uint8
	watch bool // note which times of the files concerned the call changes
	tick  bool // wait for the kernel's clock first, so that each change shows

	fd, fd2     int // where path and path2 start, or the file itself
	path, path2 *pathname
	flags       int
	mode        uint32
	n, off      int64
	off2        int64
	ts          *[2]unix.Timespec
	iov         []int // sizes
	text        string
	cred        *cred
}

// A cred is what callBecome changes to.
type cred struct {
	ruid, euid, rgid, egid int
	groups                 []uint32
}

// A pathname is a path with what the calls need of it.
type pathname struct {
	s      string
	z      []byte    // with a NUL
	parent *pathname // nil: none
}

func newPathname(s string) *pathname {
	p := &pathname{s: s, z: append([]byte(s), 0)}
	trimmed := strings.TrimRight(s, "/")
	dir, last := ".", trimmed
	if i := strings.LastIndexByte(trimmed, '/'); i >= 0 {
		dir, last = trimmed[:i+1], trimmed[i+1:]
	}
	if last != "" && last != "." && last != ".." && len(dir) < 256 {
		p.parent = &pathname{s: dir, z: append([]byte(dir), 0)}
	}
	return p
}

func (p *pathname) String() string {
	if len(p.s) > 40 {
		return fmt.Sprintf("%.12q.../* %d bytes */", p.s, len(p.s))
	}
	return fmt.Sprintf("%q", p.s)
}

// String prints the call in strace's notation.
func (o *op) String() string {
	name, args := o.nameArgs()
	return fmt.Sprintf("[pid %d] %s(%s)", o.task, name, strings.Join(args, ", "))
}

func (o *op) nameArgs() (name string, args []string) {
	at, at2 := fdText(o.fd), fdText(o.fd2)
	path, path2 := fmt.Sprint(o.path), fmt.Sprint(o.path2)
	mode := fmt.Sprintf("%#o", o.mode)
	num := func(n int64) string { return fmt.Sprint(n) }
	atFlags := bitsText(o.flags, atNames)
	switch o.call {
	case callOpenat:
		return "openat", []string{at, path, openText(o.flags), mode}
	case callClose:
		return "close", []string{at}
	case callDup:
		return "dup", []string{at}
	case callDup3:
		return "dup3", []string{at, at2, bitsText(o.flags, openNames)}
	case callFcntl:
		return "fcntl", []string{at, fcntlNames[o.flags], num(o.n)}
	case callRead:
		return "read", []string{at, "", num(o.n)}
	case callPread:
		return "pread64", []string{at, "", num(o.n), num(o.off)}
	case callReadv:
		return "readv", []string{at, fmt.Sprint(o.iov)}
	case callWrite:
		return "write", []string{at, dataText(o), num(o.n)}
	case callPwrite:
		return "pwrite64", []string{at, dataText(o), num(o.n), num(o.off)}
	case callWritev:
		return "writev", []string{at, fmt.Sprint(o.iov)}
	case callLseek:
		return "lseek", []string{at, num(o.off), cmp.Or(seekNames[o.flags], num(int64(o.flags)))}
	case callTruncate:
		return "truncate", []string{path, num(o.off)}
	case callFtruncate:
		return "ftruncate", []string{at, num(o.off)}
	case callFallocate:
		return "fallocate", []string{at, bitsText(o.flags, fallocNames), num(o.off), num(o.n)}
	case callFsync:
		return "fsync", []string{at}
	case callFdatasync:
		return "fdatasync", []string{at}
	case callFstat:
		return "fstat", []string{at, ""}
	case callFstatat:
		return "newfstatat", []string{at, path, "", atFlags}
	case callMkdirat:
		return "mkdirat", []string{at, path, mode}
	case callMknodat:
		return "mknodat", []string{at, path, mode, num(o.n)}
	case callUnlinkat:
		if o.flags == unix.AT_REMOVEDIR {
			atFlags = "AT_REMOVEDIR"
		}
		return "unlinkat", []string{at, path, atFlags}
	case callRenameat2:
		return "renameat2", []string{at, path, at2, path2, bitsText(o.flags, renameNames)}
	case callLinkat:
		return "linkat", []string{at, path, at2, path2, atFlags}
	case callSymlinkat:
		return "symlinkat", []string{path2, at, path}
	case callReadlinkat:
		return "readlinkat", []string{at, path, "", num(o.n)}
	case callFchmodat2:
		return "fchmodat2", []string{at, path, mode, atFlags}
	case callFchmod:
		return "fchmod", []string{at, mode}
	case callFchownat:
		return "fchownat", []string{at, path, num(o.n), num(o.off), atFlags}
	case callFchown:
		return "fchown", []string{at, num(o.n), num(o.off)}
	case callUtimensat:
		return "utimensat", []string{at, path, timesText(o.ts), atFlags}
	case callFaccessat2:
		if o.flags&unix.AT_EACCESS != 0 {
			atFlags = "AT_EACCESS|" + bitsText(o.flags&^unix.AT_EACCESS, atNames)
		}
		return "faccessat2", []string{at, path, mode, atFlags}
	case callUmask:
		return "umask", []string{mode}
	case callGetdents, callGetdents64:
		return "getdents64", []string{at, "", num(o.n)}
	case callGetcwd:
		return "getcwd", []string{"", num(o.n)}
	case callChdir:
		return "chdir", []string{path}
	case callFchdir:
		return "fchdir", []string{at}
	case callMount:
		return "mount", []string{`"none"`, path, fmt.Sprintf("%q", o.text), bitsText(o.flags, mountNames), `""`}
	case callUmount2:
		return "umount2", []string{path, bitsText(o.flags, umountNames)}
	case callBecome:
		return "/* setresuid, setresgid, setgroups */ become", []string{fmt.Sprintf("%+v", *o.cred)}
	case callFork:
		return "fork", []string{fmt.Sprintf("/* child: pid %d */", o.n)}
	case callExec:
		return "execve", nil
	case callExit:
		return "exit", []string{"/* and a new process of root's */"}
	}
	if name, args := o.moreArgs(); name != "" {
		return name, args
	}
	if name := imageCalls[o.call]; name != "" {
		return name, nil
	}
	return "/* tree of \"/\" */ dump", nil
}

func fdText(fd int) string {
	if fd == unix.AT_FDCWD {
		return "AT_FDCWD"
	}
	return fmt.Sprint(fd)
}

func dataText(o *op) string { return fmt.Sprintf("%.8q...", pattern[o.flags:]) }

func timesText(ts *[2]unix.Timespec) string {
	if ts == nil {
		return "NULL"
	}
	var parts []string
	for _, t := range ts {
		switch t.Nsec {
		case unix.UTIME_NOW:
			parts = append(parts, "UTIME_NOW")
		case unix.UTIME_OMIT:
			parts = append(parts, "UTIME_OMIT")
		default:
			parts = append(parts, fmt.Sprintf("{tv_sec=%d, tv_nsec=%d}", t.Sec, t.Nsec))
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
