package vfstest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// fstype offers a driver to mount(2).
type fstype struct {
	t *testing.T
	d Driver
}

func (fstype) Name() string   { return "driver" }
func (fstype) Flags() uintptr { return 0 }

func (t fstype) Mount(context.Context, vfs.MountRequest) (vfs.FileSystem, error) {
	return t.d.New(t.t), nil
}

// view is a process in this one: a vfs.View.
type view struct {
	ctx context.Context
	v   *vfs.View
}

// cwd is where relative paths start.
var cwd vfs.Path

// newView makes a tree in a namespace of its own.
func newView(t *testing.T, d Driver, cfg vfs.Config, layout ...string) (*sys, *view) {
	t.Helper()
	if d.NewOver != nil {
		cfg.Root = d.NewOver(t, func(lower vfs.FileSystem) {
			p, end := startView(t, d, vfs.Config{Root: lower})
			defer end()
			newSysOf(t, d, p).layout(layout...)
		})
		layout = nil
	} else {
		cfg.Root = d.New(t)
	}
	p, end := startView(t, d, cfg)
	t.Cleanup(end)
	s := newSysOf(t, d, p)
	s.layout(layout...)
	return s, p
}

// startView makes a namespace, the view of root on it, and a function that closes both.
func startView(t *testing.T, d Driver, cfg vfs.Config) (p *view, end func()) {
	t.Helper()
	cfg.RootType = "driver"
	cfg.Types = []vfs.FileSystemType{fstype{t, d}}
	ns, err := vfs.New(cfg)
	require.NoError(t, err, "new namespace")
	p = &view{context.Background(), ns.NewView(vfs.RootCred())}
	return p, func() {
		p.exit()
		require.NoError(t, ns.Close(context.Background()), "close namespace")
	}
}

func (p *view) as(uid, gid uint32, groups []uint32) (process, error) {
	v := p.v.Clone()
	v.SetCred(&vfs.Cred{RUID: uid, EUID: uid, SUID: uid, RGID: gid, EGID: gid, SGID: gid, Groups: groups})
	return &view{p.ctx, v}, nil
}

func (p *view) exit() { p.v.Release() }

// at returns the path that dir stands for.
func (p *view) at(dir openFile) vfs.Path {
	if dir == nil {
		return cwd
	}
	return dir.(*viewFile).Path()
}

func (p *view) openat(dir openFile, path string, flags int, mode uint32) (openFile, error) {
	f, err := p.v.OpenAt(p.ctx, p.at(dir), path, vfs.OpenHow{Flags: flags, Mode: mode})
	if err != nil {
		return nil, err
	}
	return &viewFile{f, p.ctx}, nil
}

func (p *view) mkdir(path string, mode uint32) error { return p.v.MkdirAt(p.ctx, cwd, path, mode) }
func (p *view) rmdir(path string) error              { return p.v.RmdirAt(p.ctx, cwd, path) }
func (p *view) unlink(path string) error             { return p.v.UnlinkAt(p.ctx, cwd, path) }

func (p *view) symlink(target, path string) error {
	return p.v.SymlinkAt(p.ctx, target, cwd, path)
}

func (p *view) linkat(dir openFile, old, new string, flags int) error {
	var walk vfs.WalkFlags
	if flags&unix.AT_EMPTY_PATH != 0 {
		walk |= vfs.WalkEmpty
	}
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		walk |= vfs.WalkFollow
	}
	return p.v.LinkAt(p.ctx, p.at(dir), old, cwd, new, walk)
}

func (p *view) rename2(old, new string, flags uint32) error {
	return p.v.RenameAt(p.ctx, cwd, old, cwd, new, flags)
}

func (p *view) mknod(path string, mode uint32, rdev uint64) error {
	return p.v.MknodAt(p.ctx, cwd, path, mode, rdev)
}

// walk calls do with the path that a name leads to.
func (p *view) walk(path string, flags vfs.WalkFlags, do func(vfs.Path) error) error {
	at, err := p.v.Walk(p.ctx, cwd, path, flags)
	if err != nil {
		return err
	}
	defer at.Put()
	return do(at)
}

func (p *view) readlink(path string) (target string, err error) {
	err = p.walk(path, 0, func(at vfs.Path) error {
		target, err = vfs.Readlink(p.ctx, at)
		return err
	})
	return target, err
}

func (p *view) fstatat(path string, flags int) (vfs.Attr, error) {
	walk := vfs.WalkFollow
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		walk = 0
	}
	a, _, err := p.v.GetattrAt(p.ctx, cwd, path, walk, unix.STATX_BASIC_STATS)
	return a, err
}

func (p *view) statfs(path string) (st unix.Statfs_t, err error) {
	err = p.walk(path, vfs.WalkFollow, func(at vfs.Path) error {
		st, err = vfs.Statfs(p.ctx, at)
		return err
	})
	return st, err
}

func (p *view) access(path string, mode uint32) error {
	return p.walk(path, vfs.WalkFollow, func(at vfs.Path) error { return vfs.Access(p.ctx, p.v.Cred(), at, mode) })
}

func (p *view) setattr(path string, flags vfs.WalkFlags, req vfs.SetAttrRequest) error {
	return p.walk(path, flags, func(at vfs.Path) error { return vfs.Setattr(p.ctx, p.v.Cred(), at, req) })
}

func (p *view) chmod(path string, mode uint32) error {
	return p.setattr(path, vfs.WalkFollow, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: mode}})
}

func (p *view) chown(path string, uid, gid uint32) error {
	return p.setattr(path, 0, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_UID | unix.STATX_GID, UID: uid, GID: gid}})
}

func (p *view) truncate(path string, size int64) error {
	return p.setattr(path, vfs.WalkFollow, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_SIZE, Size: size}})
}

func (p *view) utimens(path string, atime, mtime unix.Timespec) error {
	req := vfs.SetAttrRequest{
		AtimeNow: atime.Nsec == unix.UTIME_NOW, MtimeNow: mtime.Nsec == unix.UTIME_NOW,
		SetAttr: vfs.SetAttr{Atime: atime, Mtime: mtime},
	}
	if !req.AtimeNow && atime.Nsec != unix.UTIME_OMIT {
		req.Mask |= unix.STATX_ATIME
	}
	if !req.MtimeNow && mtime.Nsec != unix.UTIME_OMIT {
		req.Mask |= unix.STATX_MTIME
	}
	return p.setattr(path, 0, req)
}

func (p *view) setxattr(path, name, value string, flags int) error {
	return p.walk(path, 0, func(at vfs.Path) error {
		return vfs.Setxattr(p.ctx, p.v.Cred(), at, name, []byte(value), flags)
	})
}

func (p *view) getxattr(path, name string) (value string, err error) {
	err = p.walk(path, 0, func(at vfs.Path) error {
		v, err := vfs.Getxattr(p.ctx, p.v.Cred(), at, name)
		value = string(v)
		return err
	})
	return value, err
}

func (p *view) listxattr(path string) (names []string, err error) {
	err = p.walk(path, 0, func(at vfs.Path) error {
		names, err = vfs.Listxattr(p.ctx, p.v.Cred(), at)
		return err
	})
	return names, err
}

func (p *view) removexattr(path, name string) error {
	return p.walk(path, 0, func(at vfs.Path) error { return vfs.Removexattr(p.ctx, p.v.Cred(), at, name) })
}

func (p *view) chdir(path string) error {
	return p.walk(path, vfs.WalkFollow|vfs.WalkDirectory, func(at vfs.Path) error {
		p.v.SetCwd(at)
		return nil
	})
}

func (p *view) getcwd() (string, error) { return p.v.Getcwd() }
func (p *view) umask(mask uint32)       { p.v.SetUmask(mask) }

func (p *view) mount(target string, flags uintptr) error {
	return p.v.Mount(p.ctx, "src", target, "driver", flags, "")
}

func (p *view) umount(target string) error { return p.v.Umount2(p.ctx, target, 0) }

// viewFile is an open file of a view.
type viewFile struct {
	*vfs.File
	ctx context.Context
}

func (f *viewFile) Read(p []byte) (int, error)                { return f.File.Read(f.ctx, p) }
func (f *viewFile) Write(p []byte) (int, error)               { return f.File.Write(f.ctx, p) }
func (f *viewFile) ReadAt(p []byte, off int64) (int, error)   { return f.File.ReadAt(f.ctx, p, off) }
func (f *viewFile) WriteAt(p []byte, off int64) (int, error)  { return f.File.WriteAt(f.ctx, p, off) }
func (f *viewFile) Seek(off int64, whence int) (int64, error) { return f.File.Seek(f.ctx, off, whence) }
func (f *viewFile) Truncate(size int64) error                 { return f.File.Truncate(f.ctx, size) }
func (f *viewFile) Fsync() error                              { return f.File.Fsync(f.ctx, false) }
func (f *viewFile) Flock(how int) error                       { return f.File.Flock(f.ctx, how&^unix.LOCK_NB, vfs.LockTry) }
func (f *viewFile) Close() error                              { return f.File.Close(f.ctx) }

func (f *viewFile) Fallocate(mode uint32, off, n int64) error {
	return f.File.Fallocate(f.ctx, mode, off, n)
}

func (f *viewFile) Setlk(lk *unix.Flock_t) error { return f.File.Setlk(f.ctx, nil, lk, vfs.LockTry) }

func (f *viewFile) Getattr() (vfs.Attr, error) {
	return vfs.Getattr(f.ctx, f.Path(), unix.STATX_BASIC_STATS)
}

func (f *viewFile) ReadDir(n int) (es []vfs.Dirent, err error) {
	err = f.File.ReadDir(f.ctx, func(e vfs.Dirent) bool {
		if len(es) == n {
			return false
		}
		es = append(es, e)
		return true
	})
	return es, err
}
