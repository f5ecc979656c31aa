package hostfs

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// gate passes calls to a Host, and of the answers only those that make sense: an
// errno that the call can have, a count within what was asked for, a value that
// has a meaning. All other answers become EIO. Every call on the host goes through it.
type gate struct {
	host Host
	caps Caps
	log  *slog.Logger
	now  func() time.Time

	owners ownership

	noted atomic.Int64 // when correct last logged, in nanoseconds since 1970
}

// maxTries bounds how often a call is repeated that says it was interrupted.
const maxTries = 1000

// maxTransfer bounds one read or write, in bytes (fs.h: MAX_RW_COUNT, rounded down).
const maxTransfer = 1 << 30

// maxName is the longest name in bytes (limits.h: NAME_MAX).
const maxName = 255

// validName reports whether name can name a file in a directory.
func validName(name string) bool {
	if name == "" || len(name) > maxName || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}

// again reports whether to repeat a call that ended with err.
func again(err error, tries *int) bool {
	*tries++
	return err != nil && *tries < maxTries && errors.Is(err, unix.EINTR)
}

// badAnswer returns the error for an answer that makes no sense.
func badAnswer(call string) error {
	return fmt.Errorf("hostfs: %s: impossible answer of the host: %w", call, unix.EIO)
}

// fail returns the error for a call that ended with err, which is not nil: an errno that
// calls on files can have, or one of more, or EIO.
func fail(call string, err error, more ...unix.Errno) error {
	e, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return badAnswer(call)
	}
	switch e {
	case unix.ENOENT, unix.EEXIST, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY, unix.EACCES, unix.EPERM, unix.EROFS,
		unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EMFILE, unix.ENFILE, unix.EIO, unix.EXDEV, unix.ELOOP,
		unix.ENAMETOOLONG, unix.EBUSY, unix.EMLINK, unix.ETXTBSY, unix.ESTALE, unix.ENXIO, unix.EOPNOTSUPP:
		return e
	}
	if slices.Contains(more, e) {
		return e
	}
	// The errno itself stays out of the chain: it has only one.
	return fmt.Errorf("hostfs: %s: unexpected error %d of the host: %w", call, uint64(e), unix.EIO)
}

// correct tells the log, at most once a minute, that the host gave a value that was
// replaced by a harmless one.
func (g *gate) correct(value string) {
	now, last := g.now().UnixNano(), g.noted.Load()
	if last != 0 && now-last < int64(time.Minute) || !g.noted.CompareAndSwap(last, now) {
		return
	}
	g.log.Warn("hostfs: replaced an impossible value of the host", "value", value)
}

// opened checks the answer to a call that opens.
func opened(call string, fd FD, err error) (FD, error) {
	switch {
	case err != nil:
		return -1, fail(call, err)
	case fd < 0 || fd > math.MaxInt32:
		return -1, badAnswer(call)
	}
	return fd, nil
}

func (g *gate) openRoot(dir string) (FD, error) {
	for tries := 0; ; {
		fd, err := g.host.OpenRoot(dir)
		if !again(err, &tries) {
			return opened("open root", fd, err)
		}
	}
}

func (g *gate) openPath(dir FD, name string) (FD, error) {
	for tries := 0; ; {
		fd, err := g.host.OpenPath(dir, name)
		if !again(err, &tries) {
			return opened("open path", fd, err)
		}
	}
}

func (g *gate) openFile(dir FD, name string, flags int) (FD, error) {
	for tries := 0; ; {
		fd, err := g.host.OpenFile(dir, name, flags)
		if !again(err, &tries) {
			return opened("open", fd, err)
		}
	}
}

func (g *gate) reopen(fd FD, flags int) (FD, error) {
	if err := g.need(CanReopen, unix.ESTALE); err != nil {
		return -1, err
	}
	for tries := 0; ; {
		n, err := g.host.Reopen(fd, flags)
		if !again(err, &tries) {
			return opened("open", n, err)
		}
	}
}

func (g *gate) openDir(dir FD) (FD, error) {
	for tries := 0; ; {
		fd, err := g.host.OpenDir(dir)
		if !again(err, &tries) {
			return opened("open directory", fd, err)
		}
	}
}

func (g *gate) create(dir FD, name string, mode uint32) (FD, error) {
	for tries := 0; ; {
		fd, err := g.host.Create(dir, name, mode)
		if !again(err, &tries) {
			return opened("create", fd, err)
		}
	}
}

// close is not repeated: whatever the error, the descriptor is gone (close(2)).
func (g *gate) close(fd FD) error {
	if err := g.host.Close(fd); err != nil {
		return fail("close", err)
	}
	return nil
}

// do makes a call that answers with nothing but success or an errno.
func do(call string, f func() error, more ...unix.Errno) error {
	for tries := 0; ; {
		err := f()
		if again(err, &tries) {
			continue
		}
		if err != nil {
			return fail(call, err, more...)
		}
		return nil
	}
}

// need returns lacking if the host cannot do what c says.
func (g *gate) need(c Caps, lacking unix.Errno) error {
	if g.caps&c != c {
		return lacking
	}
	return nil
}

func (g *gate) mkdir(dir FD, name string, mode uint32) error {
	return do("mkdir", func() error { return g.host.Mkdir(dir, name, mode) })
}

func (g *gate) symlink(target string, dir FD, name string) error {
	if err := g.need(CanSymlink, unix.EPERM); err != nil {
		return err
	}
	return do("symlink", func() error { return g.host.Symlink(target, dir, name) })
}

func (g *gate) link(oldDir FD, oldName string, dir FD, name string) error {
	if err := g.need(CanLink, unix.EPERM); err != nil {
		return err
	}
	return do("link", func() error { return g.host.Link(oldDir, oldName, dir, name) })
}

func (g *gate) unlink(dir FD, name string) error {
	return do("unlink", func() error { return g.host.Unlink(dir, name) })
}

func (g *gate) rmdir(dir FD, name string) error {
	return do("rmdir", func() error { return g.host.Rmdir(dir, name) })
}

// rename lets EINVAL through: the host's file system may lack the flags, and a
// directory that was moved on the host may have become its own ancestor.
func (g *gate) rename(oldDir FD, oldName string, dir FD, name string, flags uint32) error {
	if flags != 0 {
		if err := g.need(CanExchange, unix.EINVAL); err != nil {
			return err
		}
	}
	return do("rename", func() error { return g.host.Rename(oldDir, oldName, dir, name, flags) }, unix.EINVAL)
}

func (g *gate) chmod(fd FD, mode uint32) error {
	if err := g.need(CanChmod, unix.EPERM); err != nil {
		return err
	}
	return do("chmod", func() error { return g.host.Chmod(fd, mode) })
}

// chown changes owner and group; -1 leaves one as it is.
//
// Errors: EPERM also for an owner that the host has no number for (EINVAL in a user namespace).
func (g *gate) chown(fd FD, uid, gid int) error {
	if err := g.need(CanChown, unix.EPERM); err != nil {
		return err
	}
	err := do("chown", func() error { return g.host.Chown(fd, uid, gid) }, unix.EINVAL)
	if errors.Is(err, unix.EINVAL) {
		return unix.EPERM
	}
	return err
}

func (g *gate) utimes(fd FD, ts [2]unix.Timespec) error {
	if err := g.need(CanUtimes, unix.EPERM); err != nil {
		return err
	}
	return do("utimensat", func() error { return g.host.Utimes(fd, ts) })
}
