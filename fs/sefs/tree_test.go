package sefs_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/mountopt"
	"cloister/vfs"
)

const keyText = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"

func testKey(t require.TestingT) mountopt.Key {
	k, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	return k
}

// onStore is an OpenConfig for an image in st, without commits of its own.
func onStore(t require.TestingT, st store.Store) sefs.OpenConfig {
	return sefs.OpenConfig{
		Key:            testKey(t),
		CommitInterval: -1,
		OpenStore:      func(string, sefs.Access) (store.Store, error) { return st, nil },
	}
}

// newTree makes an image on a memory store.
func newTree(t testing.TB) *tree {
	x := &tree{t: t, cfg: onStore(t, store.NewMemory())}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	t.Cleanup(func() {
		if x.fs != nil {
			require.NoError(t, x.fs.Close(context.Background(), vfs.SafeClose))
		}
	})
	return x
}

// tree drives a file system by paths, one call at a time, as the VFS would.
type tree struct {
	t   require.TestingT
	cfg sefs.OpenConfig
	fs  *sefs.FS
	now int64 // seconds of the next creation
}

// reopen closes the image and opens it again.
func (x *tree) reopen() {
	require.NoError(x.t, x.fs.Close(context.Background(), vfs.SafeClose))
	x.open()
}

func (x *tree) open() {
	fs, err := sefs.Open(context.Background(), "image", x.cfg)
	require.NoError(x.t, err)
	x.fs = fs
}

// get returns the pinned inode at p; put gives it back.
func (x *tree) get(p string) (vfs.Inode, error) {
	var at vfs.Inode = x.fs.Root()
	for name := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if name == "" {
			continue
		}
		d, ok := at.(vfs.Dir)
		if !ok {
			x.put(at)
			return nil, unix.ENOTDIR
		}
		next, err := d.Lookup(context.Background(), name)
		x.put(at)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func (x *tree) put(i vfs.Inode) {
	if i != nil && i != vfs.Inode(x.fs.Root()) {
		vfs.UnpinInode(context.Background(), i)
	}
}

// in calls fn with the directory of p and the last component.
func (x *tree) in(p string, fn func(d vfs.Dir, name string) error) error {
	i, err := x.get(path.Dir("/" + p))
	if err != nil {
		return err
	}
	defer x.put(i)
	d, ok := i.(vfs.Dir)
	if !ok {
		return unix.ENOTDIR
	}
	return fn(d, path.Base(p))
}

// on calls fn with the inode at p.
func (x *tree) on(p string, fn func(i vfs.Inode) error) error {
	i, err := x.get(p)
	if err != nil {
		return err
	}
	defer x.put(i)
	return fn(i)
}

// attr is a CreateAttr with a time of its own.
func (x *tree) attr(mode uint32) vfs.CreateAttr {
	x.now++
	return vfs.CreateAttr{Mode: mode, UID: 1000, GID: 100, Time: unix.Timespec{Sec: x.now, Nsec: 5}}
}

// create makes what mode says at p: a file, a directory, a link to data or a special file.
func (x *tree) create(p string, mode uint32, data string) error {
	return x.in(p, func(d vfs.Dir, name string) error {
		ctx, a := context.Background(), x.attr(mode&0o7777)
		switch mode & unix.S_IFMT {
		case unix.S_IFDIR:
			i, err := d.Mkdir(ctx, name, a)
			if err == nil {
				x.put(i)
			}
			return err
		case unix.S_IFLNK:
			i, err := d.Symlink(ctx, name, data, a)
			if err == nil {
				x.put(i)
			}
			return err
		case 0, unix.S_IFREG:
			i, err := d.Create(ctx, name, a)
			if err != nil {
				return err
			}
			defer x.put(i)
			return writeTo(i, data, 0)
		}
		a.Mode = mode
		i, err := d.Mknod(ctx, name, unix.Mkdev(7, 3), a)
		if err == nil {
			x.put(i)
		}
		return err
	})
}

func writeTo(i vfs.Inode, data string, off int64) error {
	r, ok := i.(vfs.Regular)
	if !ok {
		return unix.EINVAL
	}
	h, err := r.Open(context.Background(), unix.O_RDWR)
	if err != nil {
		return err
	}
	n, err := h.WriteAt(context.Background(), []byte(data), off)
	if err == nil && n != len(data) {
		return fmt.Errorf("wrote %d of %d bytes without an error", n, len(data))
	}
	return err
}

func (x *tree) write(p, data string, off int64) error {
	return x.on(p, func(i vfs.Inode) error { return writeTo(i, data, off) })
}

// handle opens the file at p. The inode stays pinned until the test ends.
func (x *tree) handle(p string) vfs.Handle {
	i, err := x.get(p)
	require.NoError(x.t, err)
	h, err := i.(vfs.Regular).Open(context.Background(), unix.O_RDWR)
	require.NoError(x.t, err)
	if t, ok := x.t.(testing.TB); ok {
		fs := x.fs
		t.Cleanup(func() {
			if x.fs == fs {
				x.put(i)
			}
		})
	}
	return h
}

// read returns the whole content of the file i.
func read(t require.TestingT, i vfs.Inode) string {
	h, err := i.(vfs.Regular).Open(context.Background(), unix.O_RDONLY)
	require.NoError(t, err)
	a := attrOf(t, i)
	buf := make([]byte, a.Size+10)
	n, err := h.ReadAt(context.Background(), buf, 0)
	require.NoError(t, err)
	require.EqualValues(t, a.Size, n, "read to the end of file")
	return string(buf[:n])
}

func attrOf(t require.TestingT, i vfs.Inode) vfs.Attr {
	a, err := i.Getattr(context.Background(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	return a
}

func (x *tree) stat(p string) vfs.Attr {
	var a vfs.Attr
	require.NoError(x.t, x.on(p, func(i vfs.Inode) error { a = attrOf(x.t, i); return nil }), "stat %s", p)
	return a
}

func (x *tree) unlink(p string) error {
	return x.in(p, func(d vfs.Dir, name string) error {
		i, err := d.Lookup(context.Background(), name)
		if err != nil {
			return err
		}
		defer x.put(i)
		if dir, ok := i.(vfs.Dir); ok {
			return d.Rmdir(context.Background(), name, dir)
		}
		return d.Unlink(context.Background(), name, i)
	})
}

func (x *tree) whiteout(p string) error {
	return x.in(p, func(d vfs.Dir, name string) error {
		i, err := d.Lookup(context.Background(), name)
		if err != nil && err != unix.ENOENT {
			return err
		}
		defer x.put(i)
		return d.Whiteout(context.Background(), name, i)
	})
}

func (x *tree) link(target, p string) error {
	return x.on(target, func(i vfs.Inode) error {
		return x.in(p, func(d vfs.Dir, name string) error { return d.Link(context.Background(), name, i) })
	})
}

// rename is renameat2(2) after the checks that the VFS makes.
func (x *tree) rename(from, to string, flags uint32) error {
	return x.in(from, func(d vfs.Dir, oldName string) error {
		return x.in(to, func(d2 vfs.Dir, newName string) error {
			child, err := d.Lookup(context.Background(), oldName)
			if err != nil {
				return err
			}
			defer x.put(child)
			target, err := d2.Lookup(context.Background(), newName)
			if err != nil && err != unix.ENOENT {
				return err
			}
			defer x.put(target)
			return d.Rename(context.Background(), vfs.Rename{
				OldName: oldName, Child: child, NewDir: d2, NewName: newName, Target: target, Flags: flags,
			})
		})
	})
}

func (x *tree) setxattr(p, name, value string, flags int) error {
	return x.on(p, func(i vfs.Inode) error {
		return i.Xattrs().Setxattr(context.Background(), name, []byte(value), flags)
	})
}

func (x *tree) getxattr(p, name string) (string, error) {
	var v []byte
	err := x.on(p, func(i vfs.Inode) (err error) {
		v, err = i.Xattrs().Getxattr(context.Background(), name)
		return err
	})
	return string(v), err
}

// names lists the directory p in pieces of step entries.
func (x *tree) names(p string, step int) []vfs.Dirent {
	var out []vfs.Dirent
	require.NoError(x.t, x.on(p, func(i vfs.Inode) error {
		h, err := i.(vfs.Dir).OpenDir(context.Background())
		if err != nil {
			return err
		}
		pos, last := uint64(0), -1
		for len(out) != last {
			last = len(out)
			err := h.ReadDir(context.Background(), pos, func(e vfs.Dirent) bool {
				if len(out)-last == step {
					return false
				}
				out = append(out, e)
				pos = e.Pos
				return true
			})
			if err != nil {
				return err
			}
		}
		return h.Release(context.Background())
	}), "read directory %s", p)
	return out
}

// dump describes the whole tree, one line for each name, and checks that
// entries, attributes and link counts agree.
func (x *tree) dump() map[string]string {
	out := make(map[string]string)
	links := make(map[uint64]uint32)
	counts := make(map[uint64]uint32)
	x.dumpDir("/", x.fs.Root(), out, links, counts)
	for ino, n := range links {
		require.Equal(x.t, counts[ino], n, "link count of inode %d", ino)
	}
	return out
}

func (x *tree) dumpDir(p string, d vfs.Dir, out map[string]string, links, counts map[uint64]uint32) {
	entries := x.names(p, 3)
	subdirs, visible := uint32(0), int64(0)
	seen := make(map[string]bool)
	for _, e := range entries {
		require.False(x.t, seen[e.Name], "%s emitted twice in %s", e.Name, p)
		seen[e.Name] = true
		require.GreaterOrEqual(x.t, e.Pos, uint64(3))
		require.Less(x.t, e.Pos, uint64(1<<63))
		i, err := d.Lookup(context.Background(), e.Name)
		require.NoError(x.t, err, "lookup %s", e.Name)
		a := attrOf(x.t, i)
		full := path.Join(p, e.Name)
		require.Equal(x.t, a.Ino, e.Ino, "d_ino of %s", full)
		require.Equal(x.t, uint8(a.Mode>>12&0xf), e.Type, "d_type of %s", full)
		line := fmt.Sprintf("%o %d:%d", a.Mode, a.UID, a.GID)
		switch i := i.(type) {
		case vfs.Dir:
			subdirs++
			x.dumpDir(full, i, out, links, counts)
		case vfs.Regular:
			line += fmt.Sprintf(" links=%d %s", a.Nlink, brief(read(x.t, i)))
		case vfs.Symlink:
			target, err := i.Readlink(context.Background())
			require.NoError(x.t, err)
			line += " -> " + target
		}
		if a.IsWhiteout() {
			line = "whiteout"
		} else {
			visible++
			if _, ok := i.(vfs.Dir); !ok {
				links[a.Ino] = a.Nlink
				counts[a.Ino]++
			}
			line += xattrLine(x.t, i)
		}
		out[full] = line
		x.put(i)
	}
	a := attrOf(x.t, d)
	require.Equal(x.t, 2+subdirs, a.Nlink, "link count of directory %s", p)
	require.Equal(x.t, visible*32, a.Size, "size of directory %s", p)
}

func xattrLine(t require.TestingT, i vfs.Inode) string {
	names, err := i.Xattrs().Listxattr(context.Background())
	require.NoError(t, err)
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		v, err := i.Xattrs().Getxattr(context.Background(), name)
		require.NoError(t, err, "getxattr %s", name)
		fmt.Fprintf(&b, " %s=%s", name, brief(string(v)))
	}
	return b.String()
}

// brief quotes a short text and gives length and checksum of a long one.
func brief(s string) string {
	if len(s) <= 40 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q... %d bytes, checksum %08x", s[:8], len(s), crc32.ChecksumIEEE([]byte(s)))
}
