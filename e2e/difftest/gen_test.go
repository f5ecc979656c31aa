package difftest

import (
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A generator makes ops, the same ones for the same seed.
type generator struct {
	*rand.Rand
	target *target
	paths  []*pathname
	calls  []callNr
	users  bool // tasks change their ids
	task   uint8
	left   int // ops until another task's turn
}

const (
	numPaths  = 3000
	burst     = 12  // ops of one task in a row, on average
	dumpEvery = 400 // ops between dumps of the tree
	watchOne  = 6   // every so manyth op is watched
	tickOne   = 500 // and of those every so manyth waits for the clock

	remountEvery = 450 // ops between remounts of images
	stackAt      = 260 // ops that make the lower layers of a union
)

func newGenerator(target *target, seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), target: target, users: protections() == nil, calls: byWeight}
	if target.is(onImages) {
		g.calls = append(slices.Clone(byWeight), callSyncfs, callSyncfs, callSync, callSync)
	}
	for range numPaths {
		g.paths = append(g.paths, newPathname(g.newPath()))
	}
	return g
}

// episode returns the ops of world number n.
func (g *generator) episode(seed uint64, n, length int) []op {
	g.Rand = rand.New(rand.NewPCG(seed, uint64(n)+1))
	g.task, g.left = 0, 0
	ops := make([]op, 0, length+numTasks*16+2)
	for len(ops) < length {
		if len(ops)%dumpEvery == dumpEvery-1 {
			ops = append(ops, op{call: callDump, task: numTasks})
			continue
		}
		if call, ok := g.rebuild(len(ops)); ok {
			ops = append(ops, op{call: call, task: numTasks})
			continue
		}
		if g.left--; g.left < 0 {
			g.task, g.left = uint8(g.IntN(numTasks)), g.IntN(2*burst)
		}
		ops = append(ops, g.op())
	}
	return append(ops, finale...)
}

// rebuild returns what happens to the root of a world on images behind n ops.
func (g *generator) rebuild(n int) (callNr, bool) {
	switch {
	case !g.target.is(onImages):
	case g.target.is(unionFS) && n == stackAt:
		return callStack, true
	case g.target.is(unionFS) && n == stackAt/2 && g.one(2):
		return callLayer, true
	case n%remountEvery == remountEvery-1:
		return pick(g, callRemount, callRemount, callCrash), true
	}
	return 0, false
}

// finale looks at what is left at the end.
var finale = func() (ops []op) {
	ops = append(ops, op{call: callDump, task: numTasks})
	for task := range uint8(numTasks) {
		for fd := range 8 {
			ops = append(ops, op{call: callFstat, task: task, fd: fd}, op{call: callPread, task: task, fd: fd, n: 5000})
		}
		ops = append(ops, op{call: callGetcwd, task: task, n: 4096})
	}
	return ops
}()

// weights say how often each call comes.
var weights = [numCalls]int{
	callOpenat: 110, callClose: 60, callDup: 6, callDup3: 8, callFcntl: 14,
	callRead: 22, callPread: 14, callReadv: 6, callWrite: 30, callPwrite: 24, callWritev: 6, callLseek: 20,
	callTruncate: 14, callFtruncate: 12, callFallocate: 14, callFsync: 2, callFdatasync: 2,
	callFstat: 18, callFstatat: 50, callMkdirat: 50, callMknodat: 16, callUnlinkat: 70, callRenameat2: 80,
	callLinkat: 30, callSymlinkat: 26, callReadlinkat: 14, callFchmodat2: 22, callFchmod: 8, callFchownat: 18, callFchown: 6,
	callUtimensat: 24, callFaccessat2: 22, callUmask: 4, callGetdents: 14, callGetcwd: 8, callChdir: 16, callFchdir: 8,
	callMount: 4, callUmount2: 6,
	callOpenat2: 30, callCopyRange: 12, callSendfile: 8, callPwritev2: 12,
	callSetxattr: 14, callGetxattr: 10, callListxattr: 5, callRemovexattr: 5, callFlock: 6, callLock: 14,
	callBecome: 12, callFork: 3, callExec: 1, callExit: 1,
}

// byWeight has each call as often as its weight.
var byWeight = func() (calls []callNr) {
	for c, n := range weights {
		for range n {
			calls = append(calls, callNr(c))
		}
	}
	return calls
}()

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// one is true every n-th time.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func (g *generator) fd() int {
	if g.one(30) {
		return pick(g, -1, 77, unix.AT_FDCWD)
	}
	return min(g.IntN(12), g.IntN(16))
}

// at is where a relative path starts: mostly the working directory.
func (g *generator) at() int {
	if g.one(4) {
		return g.fd()
	}
	return unix.AT_FDCWD
}

func (g *generator) path() *pathname { return g.paths[g.IntN(len(g.paths))] }

func (g *generator) some(flags ...int) (set int) {
	for _, f := range flags {
		if g.one(4) {
			set |= f
		}
	}
	return set
}

func (g *generator) mode() uint32 {
	return pick(g, uint32(0o777), 0o777, 0o755, 0o755, 0o644, 0o644, 0o666, 0o700, 0o750, 0o500, 0o300, 0, 0o1777, 0o2755, 0o2777, 0o4755, 0o6711, 0o2644, 0o3770)
}

func (g *generator) id() int64 {
	if g.one(40) {
		return pick(g, int64(1<<31), 4294967294)
	}
	return pick(g, int64(-1), 0, 1000, 1001, 2000)
}

func (g *generator) offset() int64 {
	if g.one(30) {
		off := pick(g, int64(-1), 1<<20, 1<<33, 1<<62)
		if g.target.is(onImages) {
			off = min(off, 1<<50) // SEFS has smaller files than tmpfs
		}
		return off
	}
	return pick(g, int64(0), 0, 1, 5, 100, 511, 4095, 4096, 4097, 8192, 20000)
}

func (g *generator) size() int64 {
	if g.one(30) {
		return pick(g, int64(70000), bufSize)
	}
	return pick(g, int64(0), 1, 1, 3, 7, 100, 500, 4096, 5000)
}

func (g *generator) times() *[2]unix.Timespec {
	if g.one(5) {
		return nil
	}
	return pick(g, stamps...)
}

var stamps = func() (pairs []*[2]unix.Timespec) {
	each := []unix.Timespec{{Sec: 1e6, Nsec: 123456789}, {Sec: 2e6}, {Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW},
		{Nsec: unix.UTIME_OMIT}, {Sec: 7, Nsec: 1e9}, {Nsec: -1}, {Sec: -5, Nsec: 5}}
	for _, atime := range each {
		for _, mtime := range each {
			pairs = append(pairs, &[2]unix.Timespec{atime, mtime})
		}
	}
	return pairs
}()

var vectors = [][]int{nil, {0}, {1}, {2, 3}, {0, 5, 0, 1}, {4096, 1}, {1, 4095, 4097}}

var creds = []*cred{
	{}, {}, {}, {},
	{ruid: 1000, euid: 1000, rgid: 1000, egid: 1000},
	{ruid: 1000, euid: 1000, rgid: 1000, egid: 1000, groups: []uint32{2000}},
	{ruid: 1001, euid: 1001, rgid: 1001, egid: 1001, groups: []uint32{1000, 2000}},
	{ruid: 1001, euid: 1001, rgid: 2000, egid: 2000},
	{ruid: 1000, euid: 0, rgid: 1000, egid: 0},
	{ruid: 0, euid: 1000, rgid: 0, egid: 1000},
	{ruid: 1000, euid: 1001, rgid: 1000, egid: 2000, groups: []uint32{1001}},
}

var longName = strings.Repeat("n", 255)

func (g *generator) newPath() string {
	if g.one(25) {
		return pick(g, "", "/", ".", "..", "//", "a/.", "a/..", "b/../a", longName, longName+"n", "a/"+longName, "a/"+longName+"n",
			strings.Repeat("./", 2047)+"a", strings.Repeat("./", 2048), strings.Repeat("./", 2046)+"abc", strings.Repeat("a/../", 300)+"b")
	}
	parts := make([]string, pick(g, 1, 1, 1, 2, 2, 2, 3, 3, 4))
	for i := range parts {
		parts[i] = pick(g, "a", "a", "a", "b", "b", "b", "c", "c", "d", "e", ".", "..")
	}
	p := strings.Join(parts, "/")
	switch g.IntN(9) {
	case 0, 1, 2:
		return "/" + p
	case 3:
		return p + "/"
	case 4:
		return "//" + p + "//"
	}
	return p
}

// op makes one op of the current task.
func (g *generator) op() op {
	o := op{call: g.calls[g.IntN(len(g.calls))], task: g.task, watch: g.one(watchOne)}
	o.tick = o.watch && g.one(tickOne)
	switch o.call {
	case callOpenat:
		o.fd, o.path, o.mode, o.flags = g.at(), g.path(), g.mode(), g.openFlags()
	case callClose, callDup, callFstat, callFchdir:
		o.fd = g.fd()
	case callSyncfs:
		o.fd = g.fd()
	case callSync:
	case callFsync, callFdatasync:
		o.fd = g.fd()
		if g.target.disk {
			o.call = callFstat // too slow
		}
	case callDup3:
		o.fd, o.fd2, o.flags = g.fd(), pick(g, 0, 2, 5, 9, -1), pick(g, 0, 0, unix.O_CLOEXEC, unix.O_APPEND)
	case callFcntl:
		o.fd, o.flags = g.fd(), pick(g, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, 9999)
		switch o.flags {
		case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
			o.n = pick(g, int64(-1), 0, 3, 10)
		case unix.F_SETFL:
			o.n = int64(g.some(unix.O_APPEND, unix.O_APPEND, unix.O_NONBLOCK, unix.O_WRONLY, unix.O_CREAT, unix.O_NOATIME))
		case unix.F_SETFD:
			o.n = int64(g.IntN(4))
		}
	case callRead, callPread, callWrite, callPwrite:
		o.fd, o.n, o.off, o.flags = g.fd(), g.size(), g.offset(), 0
		if o.call == callWrite || o.call == callPwrite {
			o.flags = g.IntN(4000)
		}
	case callReadv, callWritev:
		o.fd, o.iov, o.flags = g.fd(), pick(g, vectors...), g.IntN(4000)
	case callLseek:
		o.fd, o.off = g.fd(), pick(g, g.offset(), -g.offset())
		o.flags = pick(g, unix.SEEK_SET, unix.SEEK_SET, unix.SEEK_CUR, unix.SEEK_END, unix.SEEK_DATA, unix.SEEK_HOLE, 77, -1)
	case callTruncate:
		o.path, o.off = g.path(), g.offset()
	case callFtruncate:
		o.fd, o.off = g.fd(), g.offset()
	case callFallocate:
		o.fd, o.off, o.n = g.fd(), pick(g, int64(0), 3, 4096, 5000, 1<<18, -1), pick(g, int64(0), 2, 4096, 5000, 70000, -1)
		o.flags = pick(g, 0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, 1<<20)
	default:
		if !g.moreOp(&o) {
			g.nameOp(&o)
		}
	}
	return o
}

// nameOp draws the arguments of the calls on names and attributes.
func (g *generator) nameOp(o *op) {
	o.fd, o.path, o.mode = g.at(), g.path(), g.mode()
	switch o.call {
	case callFstatat:
		o.flags = g.some(unix.AT_SYMLINK_NOFOLLOW, unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	case callMknodat:
		o.mode |= pick[uint32](g, 0, unix.S_IFREG, unix.S_IFSOCK, unix.S_IFSOCK, unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFDIR, unix.S_IFLNK, 0o110000)
		if t := o.mode & unix.S_IFMT; t == unix.S_IFBLK || t == unix.S_IFCHR && g.one(2) {
			o.n = int64(unix.Mkdev(240, 77))
		}
	case callUnlinkat:
		o.flags = pick(g, 0, 0, unix.AT_REMOVEDIR, unix.AT_REMOVEDIR, unix.AT_REMOVEDIR, 1)
	case callRenameat2:
		o.fd2, o.path2 = g.at(), g.path()
		o.flags = pick(g, 0, 0, 0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT,
			unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT|unix.RENAME_EXCHANGE, 64)
	case callLinkat:
		o.fd2, o.path2, o.flags = g.at(), g.path(), g.some(unix.AT_SYMLINK_FOLLOW, unix.AT_EMPTY_PATH)
		if g.one(20) {
			o.flags |= 1
		}
	case callSymlinkat:
		o.path2 = g.path()
	case callReadlinkat:
		o.n = pick(g, int64(1), 3, 5000)
	case callFchmodat2:
		o.flags = g.some(unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	case callFchmod:
		o.fd = g.fd()
		o.path = nil
	case callFchownat:
		o.n, o.off, o.flags = g.id(), g.id(), g.some(unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	case callFchown:
		o.fd, o.path, o.n, o.off = g.fd(), nil, g.id(), g.id()
	case callUtimensat:
		o.ts, o.flags = g.times(), g.some(unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH)
	case callFaccessat2:
		o.mode, o.flags = uint32(g.IntN(9)), g.some(unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH, unix.AT_EACCESS)
	case callUmask:
		o.mode = pick[uint32](g, 0, 0, 0o22, 0o77, 0o7777)
	case callGetdents:
		o.fd, o.path, o.n = g.fd(), nil, pick(g, int64(4), 24, 32, 300, 4000)
	case callGetcwd:
		o.path, o.n = nil, pick(g, int64(1), 2, 3, 4096)
	case callChdir:
		o.fd = unix.AT_FDCWD
	case callMount:
		o.text = pick(g, "ramfs", "ramfs", "ramfs", "ramfs", "ramfs", "ramfs", "ramfs", "nosuchfs")
		o.flags = pick(g, 0, 0, 0, unix.MS_RDONLY, unix.MS_NOSYMFOLLOW, unix.MS_NOATIME, unix.MS_STRICTATIME, unix.MS_NODIRATIME, unix.MS_NOUSER)
	case callUmount2:
		o.flags = pick(g, 0, 0, 0, unix.MNT_DETACH, unix.MNT_DETACH, unix.MNT_FORCE, unix.MNT_EXPIRE, unix.MNT_EXPIRE, unix.UMOUNT_NOFOLLOW,
			unix.MNT_EXPIRE|unix.MNT_DETACH, 1<<10)
	case callBecome:
		o.path, o.watch, o.cred = nil, false, pick(g, creds...)
		if !g.users {
			o.cred = creds[0]
		}
	case callFork:
		o.path, o.watch, o.n = nil, false, int64(g.task+1+uint8(g.IntN(numTasks-1)))%numTasks
	case callExec, callExit:
		o.path, o.watch = nil, false
	}
}

func (g *generator) openFlags() int {
	flags := pick(g, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR)
	if g.one(40) {
		flags = unix.O_ACCMODE
	}
	flags |= g.some(unix.O_CREAT, unix.O_CREAT, unix.O_TRUNC, unix.O_APPEND)
	if g.one(2) {
		return flags
	}
	flags |= g.some(unix.O_EXCL, unix.O_DIRECTORY, unix.O_NOFOLLOW, unix.O_CLOEXEC, unix.O_NONBLOCK)
	if g.one(8) {
		flags |= pick(g, unix.O_PATH, unix.O_PATH, unix.O_TMPFILE, unix.O_TMPFILE, unix.O_NOATIME, 1<<30)
	}
	if g.one(20) && !g.target.disk {
		flags |= pick(g, unix.O_SYNC, unix.O_DSYNC)
	}
	return flags
}
