package sefs_test

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// model is the plain picture of a file system that random tests compare with.
type model struct{ root *mfile }

// mfile is one file of a model.
type mfile struct {
	mode   uint32
	nlink  int
	data   []byte
	target string
	xattrs map[string]string
	kids   map[string]*mfile // nil: no directory
}

func newModel() *model { return &model{root: &mfile{kids: map[string]*mfile{}}} }

func (f *mfile) whiteout() bool { return f != nil && f.mode == unix.S_IFCHR }
func (f *mfile) isDir() bool    { return f != nil && f.kids != nil }

func (f *mfile) empty() bool {
	for _, k := range f.kids {
		if !k.whiteout() {
			return false
		}
	}
	return true
}

// get returns the file at p; err is ENOENT or ENOTDIR.
func (m *model) get(p string) (*mfile, error) {
	f := m.root
	for name := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if name == "" {
			continue
		}
		if !f.isDir() {
			return nil, unix.ENOTDIR
		}
		if f = f.kids[name]; f == nil {
			return nil, unix.ENOENT
		}
	}
	return f, nil
}

// parent returns the directory of p and the last component.
func (m *model) parent(p string) (*mfile, string, error) {
	d, err := m.get(path.Dir("/" + p))
	if err == nil && !d.isDir() {
		err = unix.ENOTDIR
	}
	return d, path.Base(p), err
}

// free returns the directory of p if the name can be created.
func (m *model) free(p string) (*mfile, string, error) {
	d, name, err := m.parent(p)
	if err == nil && d.kids[name] != nil && !d.kids[name].whiteout() {
		err = unix.EEXIST
	}
	return d, name, err
}

func (m *model) create(p string, mode uint32, data string) error {
	d, name, err := m.free(p)
	if err != nil {
		return err
	}
	f := &mfile{mode: mode, nlink: 1}
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		f.kids = map[string]*mfile{}
	case unix.S_IFLNK:
		f.target = data
	case unix.S_IFREG:
		f.data = []byte(data)
	}
	d.kids[name] = f
	return nil
}

func (m *model) link(target, p string) error {
	f, err := m.get(target)
	if err != nil {
		return err
	}
	d, name, err := m.parent(p)
	switch {
	case err != nil:
		return err
	case f.isDir() || f.whiteout():
		return unix.EPERM
	case d.kids[name] != nil && !d.kids[name].whiteout():
		return unix.EEXIST
	}
	d.kids[name] = f
	f.nlink++
	return nil
}

func (m *model) remove(p string, whiteout bool) error {
	d, name, err := m.parent(p)
	if err != nil {
		return err
	}
	f := d.kids[name]
	switch {
	case f == nil && !whiteout:
		return unix.ENOENT
	case f.isDir() && !f.empty():
		return unix.ENOTEMPTY
	}
	if f != nil {
		f.nlink--
	}
	delete(d.kids, name)
	if whiteout {
		d.kids[name] = &mfile{mode: unix.S_IFCHR}
	}
	return nil
}

// errVFS stands for a call that the VFS would not pass to the driver.
var errVFS = fmt.Errorf("not a driver's matter")

func (m *model) rename(from, to string, flags uint32) error {
	d1, old, err := m.parent(from)
	if err != nil {
		return err
	}
	d2, name, err := m.parent(to)
	if err != nil {
		return err
	}
	f, t := d1.kids[old], d2.kids[name]
	switch {
	case f == nil:
		return unix.ENOENT
	case f == t, within(to, from) && f.isDir(), flags == unix.RENAME_EXCHANGE && within(from, to) && t.isDir():
		return errVFS
	case flags == unix.RENAME_EXCHANGE && t == nil:
		return unix.ENOENT
	case flags == unix.RENAME_EXCHANGE:
		d1.kids[old], d2.kids[name] = t, f
		return nil
	case t != nil && !t.whiteout() && t.isDir() != f.isDir():
		return errVFS
	case t.isDir() && !t.empty():
		return unix.ENOTEMPTY
	}
	if t != nil {
		t.nlink--
	}
	delete(d1.kids, old)
	if flags == unix.RENAME_WHITEOUT {
		d1.kids[old] = &mfile{mode: unix.S_IFCHR}
	}
	d2.kids[name] = f
	return nil
}

// within reports whether p is at or below dir.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func (m *model) file(p string) (*mfile, error) {
	f, err := m.get(p)
	if err == nil && f.mode&unix.S_IFMT != unix.S_IFREG {
		err = errVFS
	}
	return f, err
}

func (m *model) write(p, data string, off int64) error {
	f, err := m.file(p)
	if err != nil {
		return err
	}
	f.resize(max(int64(len(f.data)), off+int64(len(data))))
	copy(f.data[off:], data)
	return nil
}

func (m *model) truncate(p string, size int64) error {
	f, err := m.file(p)
	if err == nil {
		f.resize(size)
	}
	return err
}

func (m *model) zero(p string, off, n int64) error {
	f, err := m.file(p)
	if err == nil && off < int64(len(f.data)) {
		clear(f.data[off:min(off+n, int64(len(f.data)))])
	}
	return err
}

func (f *mfile) resize(size int64) {
	if size < int64(len(f.data)) {
		f.data = f.data[:size:size]
		return
	}
	f.data = append(f.data, make([]byte, size-int64(len(f.data)))...)
}

func (m *model) setxattr(p, name, value string) error {
	f, err := m.get(p)
	if err != nil {
		return err
	}
	if f.whiteout() {
		return errVFS
	}
	if f.xattrs == nil {
		f.xattrs = map[string]string{}
	}
	f.xattrs[name] = value
	return nil
}

func (m *model) removexattr(p, name string) error {
	f, err := m.get(p)
	if err != nil {
		return err
	}
	if f.whiteout() {
		return errVFS
	}
	if _, ok := f.xattrs[name]; !ok {
		return unix.ENODATA
	}
	delete(f.xattrs, name)
	return nil
}

// dump describes the model as tree.dump does.
func (m *model) dump() map[string]string {
	out := make(map[string]string)
	m.root.dump("/", out)
	return out
}

func (f *mfile) dump(p string, out map[string]string) {
	for name, k := range f.kids {
		full := path.Join(p, name)
		if k.whiteout() {
			out[full] = "whiteout"
			continue
		}
		line := fmt.Sprintf("%o 1000:100", k.mode)
		switch k.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			k.dump(full, out)
		case unix.S_IFREG:
			line += fmt.Sprintf(" links=%d %s", k.nlink, brief(string(k.data)))
		case unix.S_IFLNK:
			line += " -> " + k.target
		}
		var names []string
		for n := range k.xattrs {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			line += fmt.Sprintf(" %s=%s", n, brief(k.xattrs[n]))
		}
		out[full] = line
	}
}
