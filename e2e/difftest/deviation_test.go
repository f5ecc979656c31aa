package difftest

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A deviation is a difference from Linux that is meant, or that Linux leaves to
// each file system. Calls that meet one are made on neither system.
type deviation struct {
	reason  string
	of      fsType // only of these; 0: of all
	applies func(t *thread, o *op) bool
}

// deviations lists them by call.
var deviations = map[callNr][]deviation{
	callMount: {
		{reason: "mounting on the root directory is EPERM (docs/mount.md)", applies: isRoot},
		{
			reason: "that the target is no directory comes before anything else about it (docs/mount.md)",
			applies: func(t *thread, o *op) bool {
				_, e := t.stat(o.path)
				return e == 0 && t.st.Mode&unix.S_IFMT != unix.S_IFDIR
			},
		},
	},
	callUmount2: {
		{reason: "unmounting the root directory is EPERM (docs/mount.md)", applies: isRoot},
	},
	callRenameat2: {
		{
			reason: "RENAME_WHITEOUT is for stacking file systems, not for programs: EINVAL (syscall.Task.Renameat2)",
			applies: func(t *thread, o *op) bool {
				return o.flags&unix.RENAME_WHITEOUT != 0 && o.flags&unix.RENAME_EXCHANGE == 0
			},
		},
	},
	callLinkat: {
		{
			reason:  "AT_EMPTY_PATH with a descriptor is root's, as before Linux 6.10 (syscall.Task.Linkat)",
			applies: func(t *thread, o *op) bool { return o.flags&unix.AT_EMPTY_PATH != 0 && t.euid != 0 },
		},
	},
	callOpenat:  {{reason: special, applies: opensSpecial}, {reason: unnamed, of: hostFS, applies: opensUnnamed}},
	callOpenat2: {{reason: special, applies: opensSpecial}, {reason: unnamed, of: hostFS, applies: opensUnnamed}},
	callMknodat: {
		{
			reason:  "a character device 0:0 is a whiteout, which counts as absent when its name is made (vfs.Create)",
			applies: func(t *thread, o *op) bool { return o.mode&unix.S_IFMT == unix.S_IFCHR && o.n == 0 },
		},
		{
			reason: "HostFS makes no special files (docs/hostfs.md)", of: hostFS,
			applies: func(t *thread, o *op) bool {
				switch o.mode & unix.S_IFMT {
				case unix.S_IFSOCK, unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK:
					return true
				}
				return false
			},
		},
	},
	callFstat:     {{reason: counted, of: unionFS, applies: onNameless}},
	callFstatat:   {{reason: counted, of: unionFS, applies: onNameless}},
	callFchmod:    {{reason: nameless, of: unionFS, applies: onNameless}},
	callFchown:    {{reason: nameless, of: unionFS, applies: onNameless}},
	callFchmodat2: {{reason: nameless, of: unionFS, applies: onNameless}},
	callFchownat:  {{reason: nameless, of: unionFS, applies: onNameless}},
	callUtimensat: {{reason: nameless, of: unionFS, applies: onNameless}},
	callSetxattr: {
		{reason: nameless, of: unionFS, applies: onNameless},
		{
			reason: "overlayfs copies a file up before it finds that the attribute cannot be set (fs/overlayfs/xattrs.c: ovl_xattr_set)", of: unionFS,
			applies: func(t *thread, o *op) bool {
				return o.flags != 0 || !strings.Contains(strings.TrimSuffix(o.path2.s, "."), ".") || o.path2.s == "bad.a"
			},
		},
	},
	callRemovexattr: {{reason: nameless, of: unionFS, applies: onNameless}},
	callFcntl: {
		{
			reason: "the host keeps the access time as the file was opened, whatever F_SETFL says of O_NOATIME later (docs/hostfs.md)", of: hostFS,
			applies: func(t *thread, o *op) bool { return o.flags == unix.F_SETFL && o.n&unix.O_NOATIME != 0 },
		},
	},
	callRead:  {{reason: positions, of: hostFS, applies: onDir}, {reason: nothing, applies: readsNothing}},
	callReadv: {{reason: positions, of: hostFS, applies: onDir}, {reason: nothing, applies: readsNothing}},
	callGetdents: {
		{
			reason: "HostFS reads directories ahead, so the host does not see each access (docs/hostfs.md)", of: hostFS,
			applies: func(t *thread, o *op) bool { return t.isDir(o.fd) && t.st.Atim.Sec < runSec },
		},
	},
	callLock: {
		{reason: positions, applies: func(t *thread, o *op) bool { return o.fd2 != unix.SEEK_SET && t.isDir(o.fd) }},
	},
	callPread: {{reason: nothing, applies: readsNothing}},
	callLseek: {
		{
			reason:  positions,
			applies: func(t *thread, o *op) bool { return (o.off != 0 || o.flags != unix.SEEK_SET) && t.isDir(o.fd) },
		},
		{
			reason: "HostFS does not know the largest offset of the host's file system", of: hostFS,
			applies: func(t *thread, o *op) bool { return o.off >= 1<<44 || o.off <= -1<<44 },
		},
		{
			reason:  "which parts of a file are holes is each file system's own",
			applies: func(t *thread, o *op) bool { return o.flags == unix.SEEK_DATA || o.flags == unix.SEEK_HOLE },
		},
	},
	callSendfile: {
		{reason: positions, applies: onDir},
		{
			reason: "what copying a file over itself leaves depends on how much is read at a time",
			applies: func(t *thread, o *op) bool {
				from, e := t.fstat(o.fd)
				to, e2 := t.fstat(o.fd2)
				return e == 0 && e2 == 0 && from == to
			},
		},
	},
	callListxattr: {
		{
			reason: "the size that overlayfs asks for counts records that it does not list (fs/overlayfs/xattrs.c: ovl_listxattr)", of: unionFS,
			applies: func(t *thread, o *op) bool { return o.n < 1000 },
		},
	},
	callPwritev2: {
		{
			reason: "RWF_NOAPPEND does not reach the file below an overlay, which is open with O_APPEND too (fs/backing-file.c)", of: unionFS,
			applies: func(t *thread, o *op) bool { return o.n&unix.RWF_NOAPPEND != 0 },
		},
	},
	callTruncate: {
		{
			reason: "whether times change if the size does not is each file system's own",
			applies: func(t *thread, o *op) bool {
				_, e := t.stat(o.path)
				return e == 0 && t.st.Size == o.off
			},
		},
	},
}

const positions = "positions in directories are each file system's own, and read(2) looks at them before the type"

func onDir(t *thread, o *op) bool { return t.isDir(o.fd) }

const nothing = "whether reading no bytes counts as access is each file system's own"

func readsNothing(t *thread, o *op) bool {
	n := o.n
	for _, size := range o.iov {
		n += int64(size)
	}
	return n == 0 && !t.isDir(o.fd)
}

const nameless = "overlayfs copies a file up that has no name any more to where its name was, or fails as that is taken (docs/unionfs.md)"

const counted = "overlayfs still counts a name of a lower file that has lost its only one (docs/unionfs.md)"

// onNameless reports whether o is on a descriptor of a file without a name.
func onNameless(t *thread, o *op) bool {
	return (o.path == nil || o.path.s == "") && t.isNameless(o.fd)
}

// deviation returns what o meets, nil if nothing.
func (tg *target) deviation(t *thread, o *op) *deviation {
	list := deviations[o.call]
	for i := range list {
		if d := &list[i]; (d.of == 0 || tg.is(d.of)) && d.applies(t, o) {
			return d
		}
	}
	return nil
}

// isRoot reports whether the path leads to the root directory.
func isRoot(t *thread, o *op) bool {
	if _, e := t.stat(o.path); e != 0 {
		return false
	}
	dev, ino := t.st.Dev, t.st.Ino
	_, e := t.stat(rootPath)
	return e == 0 && t.st.Dev == dev && t.st.Ino == ino
}

var rootPath = newPathname("/")

const (
	special = "pipes and devices cannot be opened: ENXIO (vfs.View.OpenAt)"
	unnamed = "O_TMPFILE is EOPNOTSUPP on HostFS (docs/hostfs.md)"
)

func opensUnnamed(t *thread, o *op) bool { return o.flags&unix.O_TMPFILE == unix.O_TMPFILE }

func opensSpecial(t *thread, o *op) bool {
	if o.flags&unix.O_PATH != 0 {
		return false
	}
	var e unix.Errno
	if o.call == callOpenat2 {
		e = t.statIn(o)
	} else {
		_, e = t.statAt(o.fd, o.path)
	}
	if e != 0 {
		return false
	}
	switch t.st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK:
		return true
	}
	return false
}

// protections reports what of fs.protected_* is not as the library OS has it,
// which is as in Linux without a distribution's settings.
func protections() error {
	for name, want := range map[string]string{"hardlinks": "1", "symlinks": "0", "regular": "0", "fifos": "0"} {
		data, err := os.ReadFile("/proc/sys/fs/protected_" + name)
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(string(data)); got != want {
			return fmt.Errorf("fs.protected_%s is %s", name, got)
		}
	}
	return nil
}
