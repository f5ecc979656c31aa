package difftest

import "golang.org/x/sys/unix"

// What has been found and is not fixed yet. Both lists are empty when all is well.

// A wrongErrno is a call that fails as Linux's does, but otherwise.
type wrongErrno struct {
	call        callNr
	linux, ours unix.Errno
	why         string
}

var wrongErrnos = []wrongErrno{
	{callLinkat, unix.EACCES, unix.EPERM, "that a directory gets no second name comes after the checks on the place of the name"},
	{callOpenat, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callLinkat, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callMkdirat, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callMknodat, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callSymlinkat, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callUnlinkat, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callRenameat2, unix.ENOENT, unix.ENAMETOOLONG, deadFirst},
	{callUnlinkat, unix.EROFS, unix.ENAMETOOLONG, readOnlyFirst},
	{callRenameat2, unix.EROFS, unix.ENAMETOOLONG, readOnlyFirst},
	{callOpenat, unix.EACCES, unix.ELOOP, sticky},
	{callOpenat, unix.EACCES, unix.ENXIO, sticky},
	{callMount, unix.ENOENT, unix.EINVAL, "in a detached mount nothing can be mounted: ENOENT since Linux 6.17"},
}

const (
	deadFirst     = "that the directory has been removed comes before the length of the name"
	readOnlyFirst = "that the mount is read-only comes before the length of the name"
	sticky        = "O_CREAT of another's symlink or socket in a sticky directory for all (fs/namei.c: may_create_in_sticky)"
)

// isPending reports whether two outcomes differ as noted here.
func isPending(o *op, linux, ours *outcome) bool {
	for _, w := range wrongErrnos {
		if w.call == o.call && w.linux == linux.errno && w.ours == ours.errno {
			return true
		}
	}
	return false
}

// skipped are calls that do something else than on Linux, so that they cannot be
// made without all later ones being different too.
var skipped = []struct {
	reason  string
	applies func(tg *target, t *thread, o *op) bool
}{
	{
		reason:  "chown(2) without ids on another's set-id file is EPERM",
		applies: func(tg *target, t *thread, o *op) bool { return chownsNothing(o) && t.euid != 0 },
	},
	{
		reason:  "chown(2) without ids does not reach HostFS's host, so that ctime stays",
		applies: func(tg *target, t *thread, o *op) bool { return chownsNothing(o) && tg.hostfs },
	},
	{
		reason: "the set-group-ID bit is lost by the mode as it was before the umask",
		applies: func(tg *target, t *thread, o *op) bool {
			const groupExec = unix.S_ISGID | unix.S_IXGRP
			return (o.call == callOpenat || o.call == callMknodat) && o.mode&groupExec == groupExec && t.euid != 0
		},
	},
}

func chownsNothing(o *op) bool {
	return (o.call == callFchown || o.call == callFchownat) && o.n == -1 && o.off == -1
}

// skips reports whether a call is not made for now.
func (tg *target) skips(t *thread, o *op) bool {
	for _, s := range skipped {
		if s.applies(tg, t, o) {
			return true
		}
	}
	return false
}
