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

func (s *sys) link(old, new string) error   { return s.linkat(nil, old, new, 0) }
func (s *sys) rename(old, new string) error { return s.rename2(old, new, 0) }

func (s *sys) open(path string, flags int, mode uint32) (openFile, error) {
	return s.openat(nil, path, flags, mode)
}

// opens opens and closes.
func (s *sys) opens(path string, flags int, mode uint32) error {
	f, err := s.open(path, flags, mode)
	if err != nil {
		return err
	}
	return f.Close()
}

// file opens a file that is closed at the end of the test.
func (s *sys) file(path string, flags int) *file {
	s.t.Helper()
	f, err := s.open(path, flags, 0o644)
	s.ok(err, "open %s", path)
	return &file{f, s}
}

type file struct {
	openFile
	s *sys
}

func (f *file) close() {
	f.s.t.Helper()
	f.s.ok(f.Close(), "close")
}

func (f *file) write(data string) {
	f.s.t.Helper()
	n, err := f.Write([]byte(data))
	f.s.ok(err, "write")
	require.Equal(f.s.t, len(data), n, "write")
}

func (f *file) writeAt(data string, off int64) {
	f.s.t.Helper()
	n, err := f.WriteAt([]byte(data), off)
	f.s.ok(err, "pwrite")
	require.Equal(f.s.t, len(data), n, "pwrite")
}

func (f *file) readAt(n int, off int64) string {
	f.s.t.Helper()
	buf := make([]byte, n)
	n, err := f.ReadAt(buf, off)
	f.s.ok(err, "pread")
	return string(buf[:n])
}

func (f *file) attr() vfs.Attr {
	f.s.t.Helper()
	a, err := f.Getattr()
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

func (s *sys) lstat(path string) (vfs.Attr, error) {
	return s.fstatat(path, unix.AT_SYMLINK_NOFOLLOW)
}

func (s *sys) stat(path string) (vfs.Attr, error) { return s.fstatat(path, 0) }

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

// entries reads up to n entries of an open directory, "." and ".." among them.
func (f *file) entries(n int) []vfs.Dirent {
	f.s.t.Helper()
	es, err := f.ReadDir(n)
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
