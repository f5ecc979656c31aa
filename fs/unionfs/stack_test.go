package unionfs_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/fs/unionfs"
	"cloister/vfs"
)

// kept is a layer that outlives its mount, as an image on storage does.
type kept struct{ vfs.FileSystem }

func (kept) Close(context.Context, vfs.CloseMode) error { return nil }

// newLayer returns a ramfs with the files of layout; see tree.make.
func newLayer(t testing.TB, layout ...string) vfs.FileSystem {
	t.Helper()
	fs := kept{ramfs.New(ramfs.Config{})}
	tr := mount(t, fs)
	tr.make(layout...)
	tr.unmount()
	return fs
}

// tree is a file system, mounted as the root of a namespace.
type tree struct {
	t  testing.TB
	fs vfs.FileSystem
	ns *vfs.Namespace
	v  *vfs.View
}

func mount(t testing.TB, fs vfs.FileSystem) *tree {
	t.Helper()
	ns, err := vfs.New(vfs.Config{Root: fs, RootType: "test"})
	require.NoError(t, err)
	return &tree{t: t, fs: fs, ns: ns, v: ns.NewView(vfs.RootCred())}
}

// unmount fails the test if a pin has leaked.
func (tr *tree) unmount() {
	tr.t.Helper()
	tr.v.Release()
	require.NoError(tr.t, tr.ns.Close(context.Background()), "unmount")
}

// stack is a union and its layers.
type stack struct {
	*tree
	layers []vfs.FileSystem
	mode   unionfs.UpperMode
}

// newStack mounts a union of layers, the topmost first.
func newStack(t testing.TB, layers ...vfs.FileSystem) *stack {
	t.Helper()
	s := &stack{layers: layers}
	s.tree = mount(t, newUnion(t, unionfs.UpperWritable, layers...))
	return s
}

func newUnion(t testing.TB, mode unionfs.UpperMode, layers ...vfs.FileSystem) *unionfs.FS {
	t.Helper()
	fs, err := unionfs.New(t.Context(), unionfs.StackConfig{Layers: layers, Upper: mode})
	require.NoError(t, err, "union")
	return fs
}

func newUnionErr(t testing.TB, layers ...vfs.FileSystem) (*unionfs.FS, error) {
	t.Helper()
	return unionfs.New(t.Context(), unionfs.StackConfig{Layers: layers})
}

// remount unmounts the union and mounts its layers anew.
func (s *stack) remount() {
	s.t.Helper()
	s.unmount()
	s.tree = mount(s.t, newUnion(s.t, s.mode, s.layers...))
}

// upper returns the lines that tree.dump gives for the upper layer alone.
func (s *stack) upper() []string { return dumpLayer(s.t, s.layers[0]) }

func dumpLayer(t testing.TB, fs vfs.FileSystem) []string {
	t.Helper()
	tr := mount(t, fs)
	defer tr.unmount()
	return tr.dump(dumpAll)
}

// make makes files: "d/" a directory, "f" and "f=text" a file, "a => b" a symlink to b,
// "a == b" a hard link to b, "p|" a FIFO, "w!" a whiteout, "d/ opaque" an opaque directory;
// "f 4755" and "d/ 700" have a mode. Missing parents are made.
func (tr *tree) make(layout ...string) {
	tr.t.Helper()
	ctx := context.Background()
	for _, line := range layout {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "=")
		for i, c := range name {
			if c == '/' && i > 0 && i < len(name)-1 {
				_ = tr.v.MkdirAt(ctx, vfs.Path{}, "/"+name[:i], 0o755)
			}
		}
		tr.makeOne(ctx, line)
	}
}

func (tr *tree) makeOne(ctx context.Context, line string) {
	tr.t.Helper()
	if link, target, ok := strings.Cut(line, " => "); ok {
		require.NoError(tr.t, tr.v.SymlinkAt(ctx, target, vfs.Path{}, "/"+link), line)
		return
	}
	if link, target, ok := strings.Cut(line, " == "); ok {
		require.NoError(tr.t, tr.v.LinkAt(ctx, vfs.Path{}, "/"+target, vfs.Path{}, "/"+link, 0), line)
		return
	}
	if name, ok := strings.CutSuffix(line, "|"); ok {
		require.NoError(tr.t, tr.v.MknodAt(ctx, vfs.Path{}, "/"+name, unix.S_IFIFO|0o644, 0), line)
		return
	}
	if name, ok := strings.CutSuffix(line, "!"); ok {
		tr.whiteout("/" + name)
		return
	}
	name, mode, hasMode := strings.Cut(line, " ")
	if dir, ok := strings.CutSuffix(name, "/"); ok {
		require.NoError(tr.t, tr.v.MkdirAt(ctx, vfs.Path{}, "/"+dir, 0o755), line)
		if mode == "opaque" {
			tr.opaque("/" + dir)
			return
		}
	} else {
		var text string
		name, text, _ = strings.Cut(name, "=")
		require.NoError(tr.t, tr.write("/"+name, text), line)
	}
	if hasMode {
		var bits uint32
		_, err := fmt.Sscanf(mode, "%o", &bits)
		require.NoError(tr.t, err, line)
		require.NoError(tr.t, tr.chmod("/"+strings.TrimSuffix(name, "/"), bits), line)
	}
}

// whiteout makes a whiteout, which only the ring can.
func (tr *tree) whiteout(path string) {
	tr.t.Helper()
	ctx := context.Background()
	dir, name := path[:strings.LastIndexByte(path, '/')+1], path[strings.LastIndexByte(path, '/')+1:]
	p, err := tr.v.Walk(ctx, vfs.Path{}, dir, 0)
	require.NoError(tr.t, err)
	defer p.Put()
	require.NoError(tr.t, vfs.Whiteout(ctx, vfs.RootCred(), p, name))
}

func (tr *tree) opaque(path string) {
	tr.t.Helper()
	require.NoError(tr.t, tr.setxattr(path, "overlay.opaque", "y"))
}

// walk returns what path names, pinned; a symlink in the last component is not
// followed.
func (tr *tree) walk(path string) (vfs.Path, error) {
	return tr.v.Walk(context.Background(), vfs.Path{}, path, 0)
}

func (tr *tree) stat(path string) (vfs.Attr, error) {
	p, err := tr.walk(path)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer p.Put()
	return vfs.Getattr(context.Background(), p, unix.STATX_BASIC_STATS)
}

func (tr *tree) mustStat(path string) vfs.Attr {
	tr.t.Helper()
	attr, err := tr.stat(path)
	require.NoError(tr.t, err, "stat %s", path)
	return attr
}

func (tr *tree) setattr(path string, req vfs.SetAttrRequest) error {
	p, err := tr.walk(path)
	if err != nil {
		return err
	}
	defer p.Put()
	return vfs.Setattr(context.Background(), vfs.RootCred(), p, req)
}

func (tr *tree) chmod(path string, mode uint32) error {
	return tr.setattr(path, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: mode}})
}

func (tr *tree) chown(path string, uid, gid uint32) error {
	return tr.setattr(path, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_UID | unix.STATX_GID, UID: uid, GID: gid}})
}

func (tr *tree) utimens(path string, atime, mtime int64) error {
	return tr.setattr(path, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{
		Mask:  unix.STATX_ATIME | unix.STATX_MTIME,
		Atime: unix.Timespec{Sec: atime, Nsec: 7}, Mtime: unix.Timespec{Sec: mtime, Nsec: 9},
	}})
}

func (tr *tree) truncate(path string, size int64) error {
	p, err := tr.v.Walk(context.Background(), vfs.Path{}, path, vfs.WalkFollow)
	if err != nil {
		return err
	}
	defer p.Put()
	req := vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_SIZE, Size: size}}
	return vfs.Setattr(context.Background(), vfs.RootCred(), p, req)
}

func (tr *tree) setxattr(path, name, value string) error {
	p, err := tr.walk(path)
	if err != nil {
		return err
	}
	defer p.Put()
	x := p.Inode().Xattrs()
	if x == nil {
		return unix.EOPNOTSUPP
	}
	return x.Setxattr(context.Background(), name, []byte(value), 0)
}

func (tr *tree) getxattr(path, name string) (string, error) {
	p, err := tr.walk(path)
	if err != nil {
		return "", err
	}
	defer p.Put()
	v, err := p.Inode().Xattrs().Getxattr(context.Background(), name)
	return string(v), err
}

func (tr *tree) open(path string, flags int) (*vfs.File, error) {
	return tr.v.OpenAt(context.Background(), vfs.Path{}, path, vfs.OpenHow{Flags: flags, Mode: 0o644})
}

func (tr *tree) mustOpen(path string, flags int) *vfs.File {
	tr.t.Helper()
	f, err := tr.open(path, flags)
	require.NoError(tr.t, err, "open %s", path)
	return f
}

// openClose opens path and closes it again.
func (tr *tree) openClose(path string, flags int) error {
	f, err := tr.open(path, flags)
	if err != nil {
		return err
	}
	return f.Close(context.Background())
}

// write writes text at the start of the file at path, which it makes if need be.
func (tr *tree) write(path, text string) error {
	f, err := tr.open(path, unix.O_CREAT|unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close(context.Background())
	_, err = f.WriteAt(context.Background(), []byte(text), 0)
	return err
}

func readFile(f *vfs.File) (string, error) {
	var text []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(context.Background(), buf, int64(len(text)))
		if n == 0 || err != nil {
			return string(text), err
		}
		text = append(text, buf[:n]...)
	}
}

func (tr *tree) read(path string) (string, error) {
	f, err := tr.open(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close(context.Background())
	return readFile(f)
}

func (tr *tree) mustRead(path string) string {
	tr.t.Helper()
	text, err := tr.read(path)
	require.NoError(tr.t, err, "read %s", path)
	return text
}

func (tr *tree) mkdir(path string) error {
	return tr.v.MkdirAt(context.Background(), vfs.Path{}, path, 0o755)
}
func (tr *tree) unlink(path string) error {
	return tr.v.UnlinkAt(context.Background(), vfs.Path{}, path)
}
func (tr *tree) rmdir(path string) error { return tr.v.RmdirAt(context.Background(), vfs.Path{}, path) }
func (tr *tree) link(from, to string) error {
	return tr.v.LinkAt(context.Background(), vfs.Path{}, from, vfs.Path{}, to, 0)
}
func (tr *tree) symlink(target, path string) error {
	return tr.v.SymlinkAt(context.Background(), target, vfs.Path{}, path)
}
func (tr *tree) rename(from, to string, flags uint32) error {
	return tr.v.RenameAt(context.Background(), vfs.Path{}, from, vfs.Path{}, to, flags)
}

// readdir returns the entries of a directory but "." and "..", in its own order.
func (tr *tree) readdir(path string) ([]vfs.Dirent, error) {
	f, err := tr.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close(context.Background())
	var list []vfs.Dirent
	err = f.ReadDir(context.Background(), func(e vfs.Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			list = append(list, e)
		}
		return true
	})
	return list, err
}

// names returns the names in a directory, sorted.
func (tr *tree) names(path string) []string {
	tr.t.Helper()
	list, err := tr.readdir(path)
	require.NoError(tr.t, err, "readdir %s", path)
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names
}

// layout mounts a union of ramfs layers with these files, top to bottom.
func layout(t testing.TB, layers ...[]string) *stack {
	t.Helper()
	var fs []vfs.FileSystem
	for _, files := range layers {
		fs = append(fs, newLayer(t, files...))
	}
	return newStack(t, fs...)
}

// readOne returns the next name of an open directory, "" at the end.
func readOne(t testing.TB, f *vfs.File) (name string) {
	t.Helper()
	require.NoError(t, f.ReadDir(t.Context(), func(e vfs.Dirent) bool {
		if name != "" {
			return false
		}
		name = e.Name
		return true
	}))
	return name
}

func is(err error, want unix.Errno) bool { return err != nil && vfs.Errno(err) == want }
