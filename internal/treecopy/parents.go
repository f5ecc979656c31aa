package treecopy

import (
	"errors"
	"strings"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// enter makes the directory name the current one, with the parents that are missing.
// m is the entry that needs them.
func (a *archive) enter(name, where string, m *meta) error {
	if name == a.dirName {
		return nil
	}
	if err := a.leave(); err != nil {
		return err
	}
	a.dir.Put()
	a.dir, a.dirName = a.Target.Get(), ""
	if name == "" {
		return a.remember()
	}
	implied := meta{mode: 0o755, times: vfs.Times{Atime: m.times.Mtime, Mtime: m.times.Mtime}}
	for part := range strings.SplitSeq(name, "/") {
		next, err := a.existing(a.dir, part)
		switch {
		case errors.Is(err, unix.ENOENT):
			next, err = a.parent(part, where, &implied)
			if err != nil {
				return err
			}
		case err != nil:
			return &Error{"enter", where, err}
		case !next.IsDir():
			next.Put()
			return &Error{"enter", where, errThrough}
		}
		a.dir.Put()
		a.dir = next
	}
	a.dirName = name
	return a.remember()
}

// parent makes a directory that has no entry of its own so far.
func (a *archive) parent(name, where string, m *meta) (vfs.Path, error) {
	if err := a.remember(); err != nil {
		return vfs.Path{}, err
	}
	p, err := a.mkdir(where, a.dir, name, m)
	if err != nil {
		return vfs.Path{}, err
	}
	if err := a.leave(); err != nil {
		p.Put()
		return vfs.Path{}, err
	}
	return p, nil
}

// remember notes the times of the current directory, before entries change them.
func (a *archive) remember() error {
	attr, err := vfs.Getattr(a.ctx, a.dir, unix.STATX_ATIME|unix.STATX_MTIME)
	if err != nil {
		return a.fail(err)
	}
	a.times = vfs.Times{Atime: attr.Atime, Mtime: attr.Mtime}
	return nil
}

// leave gives the current directory its times back.
func (a *archive) leave() error { return a.setTimes(a.name, a.dir, a.times) }
