package treecopy

import (
	"context"
	"errors"
	"fmt"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// meta are the attributes of a file to be made.
type meta struct {
	mode   uint32 // type and permission bits
	rdev   uint64
	owner  vfs.Owner
	times  vfs.Times
	xattrs map[string][]byte
}

func metaOf(st *unix.Stat_t) meta {
	return meta{
		mode: st.Mode, rdev: st.Rdev,
		owner: vfs.Owner{UID: st.Uid, GID: st.Gid},
		times: vfs.Times{Atime: st.Atim, Mtime: st.Mtim},
	}
}

func (m *meta) kind() uint32 { return m.mode & unix.S_IFMT }
func (m *meta) perm() uint32 { return m.mode & 07777 }

func (m *meta) options() vfs.CreateOptions {
	return vfs.CreateOptions{Owner: &m.owner, Times: &m.times, Xattrs: m.xattrs, ExactMode: true}
}

// target writes files into a VFS tree. Its methods take the path of the source for
// messages, and return *Error.
type target struct {
	Config
	ctx    context.Context
	totals Totals
	buf    []byte
	temps  int // temporary names used
}

func newTarget(ctx context.Context, cfg Config) target {
	return target{Config: cfg, ctx: ctx, buf: make([]byte, bufferSize)}
}

func (t *target) progress(entries, bytes int64) {
	if t.Progress != nil {
		t.Progress(entries, bytes)
	}
}

// done counts an entry.
func (t *target) done(count *int64) {
	*count++
	t.progress(1, 0)
}

// mkdir makes a directory, or takes the one that is there and gives it the attributes.
func (t *target) mkdir(path string, dst vfs.Path, name string, m *meta) (vfs.Path, error) {
	p, err := vfs.Mkdir(t.ctx, t.Cred, dst, name, m.perm(), m.options())
	if t.Replace && errors.Is(err, unix.EEXIST) {
		if p, err = t.existing(dst, name); err == nil && !p.IsDir() {
			p.Put()
			err = unix.ENOTDIR
		}
		if err == nil {
			if err := t.setMeta(path, p, m); err != nil {
				p.Put()
				return vfs.Path{}, err
			}
		}
	}
	if err != nil {
		return vfs.Path{}, &Error{"mkdir", path, err}
	}
	t.done(&t.totals.Dirs)
	return p, nil
}

// regular makes a regular file. fill, unless it is nil, writes its contents; its
// errors are returned as they are.
func (t *target) regular(path string, dst vfs.Path, name string, m *meta, fill func(*vfs.File) error) (vfs.Path, error) {
	p, err := vfs.Create(t.ctx, t.Cred, dst, name, m.perm(), m.options())
	replace := t.Replace && errors.Is(err, unix.EEXIST)
	if replace { // it gets its name when it is complete
		p, err = vfs.Tmpfile(t.ctx, t.Cred, dst, m.perm(), m.options())
	}
	if err != nil {
		return vfs.Path{}, &Error{"create", path, err}
	}
	if fill != nil {
		if err = t.fill(path, p, fill); err == nil {
			err = t.setTimes(path, p, m.times) // writing has changed them
		}
	}
	if err == nil && replace {
		err = t.over(path, p, dst, name)
	}
	if err != nil {
		p.Put()
		return vfs.Path{}, err
	}
	t.done(&t.totals.Files)
	return p, nil
}

func (t *target) fill(path string, p vfs.Path, fill func(*vfs.File) error) error {
	f, err := vfs.OpenPath(t.ctx, t.Cred, p, unix.O_WRONLY)
	if err != nil {
		return &Error{"write", path, err}
	}
	err = fill(f)
	if e := f.Close(t.ctx); err == nil && e != nil {
		err = &Error{"write", path, e}
	}
	return err
}

// over makes p the file name, whatever was there.
func (t *target) over(path string, p vfs.Path, dst vfs.Path, name string) error {
	linked, err := t.place(dst, name, func(name string) (vfs.Path, error) {
		return vfs.Link(t.ctx, t.Cred, p, dst, name)
	})
	if err != nil {
		return &Error{"replace", path, err}
	}
	linked.Put()
	return nil
}

func (t *target) symlink(path, to string, dst vfs.Path, name string, m *meta) (vfs.Path, error) {
	p, err := t.place(dst, name, func(name string) (vfs.Path, error) {
		return vfs.Symlinkat(t.ctx, t.Cred, dst, name, to, m.options())
	})
	if err != nil {
		return vfs.Path{}, &Error{"symlink", path, err}
	}
	t.done(&t.totals.Symlinks)
	return p, nil
}

// special makes a FIFO, socket or device. A target may refuse some: character device 0:0 is
// a whiteout in layered file systems. The result is then the zero Path.
func (t *target) special(path string, dst vfs.Path, name string, m *meta) (vfs.Path, error) {
	p, err := t.place(dst, name, func(name string) (vfs.Path, error) {
		return vfs.Mknod(t.ctx, t.Cred, dst, name, m.mode, m.rdev, m.options())
	})
	if err == nil {
		t.done(&t.totals.Specials)
		return p, nil
	}
	if t.Skipped != nil && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP)) {
		t.Skipped(path, err)
		return vfs.Path{}, nil
	}
	return vfs.Path{}, &Error{"mknod", path, err}
}

// link makes a further name of a file.
func (t *target) link(path string, file, dst vfs.Path, name string) error {
	if t.Replace {
		old, err := t.existing(dst, name)
		same := err == nil && old.Inode() == file.Inode()
		old.Put()
		if same { // rename(2) would leave both names
			t.done(&t.totals.Links)
			return nil
		}
	}
	p, err := t.place(dst, name, func(name string) (vfs.Path, error) {
		return vfs.Link(t.ctx, t.Cred, file, dst, name)
	})
	if err != nil {
		return &Error{"link", path, err}
	}
	p.Put()
	t.done(&t.totals.Links)
	return nil
}

// place makes the entry name of dst with create. What replaces an entry is made under
// another name and moved over it, so that name is always the one or the other.
//
// Errors: those of create; EISDIR for a directory in the way.
func (t *target) place(dst vfs.Path, name string, create func(name string) (vfs.Path, error)) (vfs.Path, error) {
	p, err := create(name)
	if !t.Replace || !errors.Is(err, unix.EEXIST) {
		return p, err
	}
	old, err := t.existing(dst, name)
	if err != nil {
		return vfs.Path{}, err
	}
	isDir := old.IsDir()
	old.Put()
	if isDir {
		return vfs.Path{}, unix.EISDIR
	}
	temp := ""
	for err = unix.EEXIST; errors.Is(err, unix.EEXIST); {
		temp = fmt.Sprintf(".cloister-%d", t.temps)
		t.temps++
		p, err = create(temp)
	}
	if err != nil {
		return vfs.Path{}, err
	}
	if err := vfs.Renameat(t.ctx, t.Cred, dst, temp, dst, name, 0); err != nil {
		p.Put()
		_ = vfs.Unlink(t.ctx, t.Cred, dst, temp) // err is what counts
		return vfs.Path{}, err
	}
	return p, nil
}

func (t *target) existing(dst vfs.Path, name string) (vfs.Path, error) {
	return vfs.Lookup(t.ctx, t.Cred, dst, name)
}

// setMeta gives a directory the attributes that a copy keeps.
func (t *target) setMeta(path string, p vfs.Path, m *meta) error {
	if err := t.setXattrs(p, m.xattrs); err != nil {
		return &Error{"set attribute of", path, err}
	}
	var req vfs.SetAttrRequest
	req.Mask = unix.STATX_UID | unix.STATX_GID
	req.UID, req.GID = m.owner.UID, m.owner.GID
	if err := vfs.Setattr(t.ctx, t.Cred, p, req); err != nil {
		return &Error{"chown", path, err}
	}
	// Afterwards, since a change of owner may take set-id bits away.
	req.Mask = unix.STATX_MODE
	req.Mode = m.perm()
	if err := vfs.Setattr(t.ctx, t.Cred, p, req); err != nil {
		return &Error{"chmod", path, err}
	}
	return t.setTimes(path, p, m.times)
}

func (t *target) setXattrs(p vfs.Path, xattrs map[string][]byte) error {
	old, err := treeXattrs(t.ctx, t.Cred, p)
	if err != nil {
		return err
	}
	for name := range old {
		if _, ok := xattrs[name]; ok {
			continue
		}
		if err := vfs.Removexattr(t.ctx, t.Cred, p, name); err != nil {
			return err
		}
	}
	for name, value := range xattrs {
		if err := vfs.Setxattr(t.ctx, t.Cred, p, name, value, 0); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) setTimes(path string, p vfs.Path, times vfs.Times) error {
	var req vfs.SetAttrRequest
	req.Mask = unix.STATX_ATIME | unix.STATX_MTIME
	req.Atime, req.Mtime = times.Atime, times.Mtime
	if err := vfs.Setattr(t.ctx, t.Cred, p, req); err != nil {
		return &Error{"set times of", path, err}
	}
	return nil
}
