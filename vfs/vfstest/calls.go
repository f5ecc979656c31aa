package vfstest

import (
	"sort"
	"strings"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// layout makes files: "d/" a directory, "f" a file that contains its name, "a => b" a symlink.
func (s *sys) layout(entries ...string) {
	s.t.Helper()
	for _, e := range entries {
		if name, target, ok := strings.Cut(e, " => "); ok {
			s.ok(s.symlink(target, name), "symlink %s", e)
		} else if strings.HasSuffix(e, "/") {
			s.ok(s.mkdir(e, 0o755), "mkdir %s", e)
		} else {
			s.put(e, e)
		}
	}
}

func (s *sys) mkdir(path string, mode uint32) error { return s.v.MkdirAt(s.ctx, cwd, path, mode) }
func (s *sys) rmdir(path string) error              { return s.v.RmdirAt(s.ctx, cwd, path) }
func (s *sys) unlink(path string) error             { return s.v.UnlinkAt(s.ctx, cwd, path) }
func (s *sys) symlink(target, path string) error {
	return s.v.SymlinkAt(s.ctx, target, cwd, path)
}
func (s *sys) link(old, new string) error { return s.v.LinkAt(s.ctx, cwd, old, cwd, new, 0) }
func (s *sys) rename(old, new string) error {
	return s.v.RenameAt(s.ctx, cwd, old, cwd, new, 0)
}
func (s *sys) rename2(old, new string, flags uint32) error {
	return s.v.RenameAt(s.ctx, cwd, old, cwd, new, flags)
}
func (s *sys) mknod(path string, mode uint32, rdev uint64) error {
	return s.v.MknodAt(s.ctx, cwd, path, mode, rdev)
}

func (s *sys) open(path string, flags int, mode uint32) (*vfs.File, error) {
	return s.v.OpenAt(s.ctx, cwd, path, vfs.OpenHow{Flags: flags, Mode: mode})
}

// opens opens and closes.
func (s *sys) opens(path string, flags int, mode uint32) error {
	f, err := s.open(path, flags, mode)
	if err != nil {
		return err
	}
	return f.Close(s.ctx)
}

// file opens a file that is closed at the end of the test.
func (s *sys) file(path string, flags int) *file {
	s.t.Helper()
	f, err := s.open(path, flags, 0o644)
	s.ok(err, "open %s", path)
	return &file{s, f}
}

type file struct {
	s *sys
	*vfs.File
}

func (f *file) close() {
	f.s.t.Helper()
	f.s.ok(f.Close(f.s.ctx), "close")
}

func (f *file) write(data string) {
	f.s.t.Helper()
	n, err := f.Write(f.s.ctx, []byte(data))
	f.s.ok(err, "write")
	require.Equal(f.s.t, len(data), n, "write")
}

func (f *file) writeAt(data string, off int64) {
	f.s.t.Helper()
	n, err := f.WriteAt(f.s.ctx, []byte(data), off)
	f.s.ok(err, "pwrite")
	require.Equal(f.s.t, len(data), n, "pwrite")
}

func (f *file) readAt(n int, off int64) string {
	f.s.t.Helper()
	buf := make([]byte, n)
	n, err := f.ReadAt(f.s.ctx, buf, off)
	f.s.ok(err, "pread")
	return string(buf[:n])
}

func (f *file) attr() vfs.Attr {
	f.s.t.Helper()
	a, err := vfs.Getattr(f.s.ctx, f.Path(), unix.STATX_BASIC_STATS)
	f.s.ok(err, "fstat")
	return a
}

// put writes a whole file.
func (s *sys) put(path, data string) {
	s.t.Helper()
	f := s.file(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if data != "" {
		f.write(data)
	}
	f.close()
}

// get reads a whole file.
func (s *sys) get(path string) string {
	s.t.Helper()
	f := s.file(path, unix.O_RDONLY)
	defer f.close()
	return f.readAt(int(f.attr().Size)+1, 0)
}

func (s *sys) walk(path string, flags vfs.WalkFlags) vfs.Path {
	s.t.Helper()
	p, err := s.v.Walk(s.ctx, cwd, path, flags)
	s.ok(err, "walk %s", path)
	return p
}

func (s *sys) lstat(path string) (vfs.Attr, error) {
	a, _, err := s.v.GetattrAt(s.ctx, cwd, path, 0, unix.STATX_BASIC_STATS)
	return a, err
}

func (s *sys) stat(path string) (vfs.Attr, error) {
	a, _, err := s.v.GetattrAt(s.ctx, cwd, path, vfs.WalkFollow, unix.STATX_BASIC_STATS)
	return a, err
}

func (s *sys) attr(path string) vfs.Attr {
	s.t.Helper()
	a, err := s.lstat(path)
	s.ok(err, "lstat %s", path)
	return a
}

func (s *sys) exists(path string) bool {
	s.t.Helper()
	_, err := s.lstat(path)
	if vfs.Errno(err) != unix.ENOENT {
		s.ok(err, "lstat %s", path)
	}
	return err == nil
}

func (s *sys) setattr(path string, req vfs.SetAttrRequest) error {
	p, err := s.v.Walk(s.ctx, cwd, path, 0)
	if err != nil {
		return err
	}
	defer p.Put()
	return vfs.Setattr(s.ctx, s.v.Cred(), p, req)
}

func (s *sys) chmod(path string, mode uint32) error {
	return s.setattr(path, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: mode}})
}

func (s *sys) chown(path string, uid, gid uint32) error {
	return s.setattr(path, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_UID | unix.STATX_GID, UID: uid, GID: gid}})
}

func (s *sys) truncate(path string, size int64) error {
	return s.setattr(path, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_SIZE, Size: size}})
}

func (s *sys) readlink(path string) (string, error) {
	p, err := s.v.Walk(s.ctx, cwd, path, 0)
	if err != nil {
		return "", err
	}
	defer p.Put()
	return vfs.Readlink(s.ctx, p)
}

// entries reads up to n entries of an open directory, "." and ".." among them.
func (f *file) entries(n int) (es []vfs.Dirent) {
	f.s.t.Helper()
	err := f.ReadDir(f.s.ctx, func(e vfs.Dirent) bool {
		if len(es) == n {
			return false
		}
		es = append(es, e)
		return true
	})
	f.s.ok(err, "getdents")
	return es
}

// list returns the sorted names in a directory, without "." and "..".
func (s *sys) list(path string) []string {
	s.t.Helper()
	f := s.file(path, unix.O_RDONLY|unix.O_DIRECTORY)
	defer f.close()
	names := []string{}
	for _, e := range f.entries(1 << 30) {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
	}
	sort.Strings(names)
	return names
}
