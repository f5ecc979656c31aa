package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/vfs"
)

// errSick is what a driver says of a defect: more than an errno.
var errSick = fmt.Errorf("block 7 is not authentic: %w", unix.EIO)

// sickFS is a file system with damage: the name "sick" cannot be looked up, and little can be done with the
// file "f" and the symlink "l".
type sickFS struct {
	*ramfs.FS
	root *sickDir
}

type sickDir struct{ vfs.Dir }
type sickFile struct{ vfs.Regular }
type sickHandle struct{ vfs.Handle }
type sickLink struct{ vfs.Symlink }
type sickXattrs struct{}
type sickDirHandle struct{ vfs.DirHandle }

func newSickFS(t *testing.T) *sickFS {
	f := ramfs.New(ramfs.Config{})
	file, err := f.Root().Create(t.Context(), "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	link, err := f.Root().Symlink(t.Context(), "l", "f", vfs.CreateAttr{Mode: 0o777})
	require.NoError(t, err)
	for _, i := range []vfs.Inode{file, link} {
		require.NoError(t, vfs.UnpinInode(t.Context(), i))
	}
	return &sickFS{FS: f, root: &sickDir{f.Root()}}
}

func (f *sickFS) Root() vfs.Dir { return f.root }
func (f *sickFS) Close(context.Context, vfs.CloseMode) error {
	return &fs.PathError{Op: "write", Path: "/f", Err: errSick}
}

func (d *sickDir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	if name == "sick" {
		return nil, errSick
	}
	i, err := d.Dir.Lookup(ctx, name)
	switch i := i.(type) {
	case vfs.Regular:
		return &sickFile{i}, err
	case vfs.Symlink:
		return &sickLink{i}, err
	}
	return i, err
}
func (d *sickDir) Mkdir(context.Context, string, vfs.CreateAttr) (vfs.Dir, error) {
	return nil, errSick
}
func (d *sickDir) Create(context.Context, string, vfs.CreateAttr) (vfs.Regular, error) {
	return nil, errSick
}
func (d *sickDir) Tmpfile(context.Context, vfs.CreateAttr) (vfs.Regular, error) { return nil, errSick }
func (d *sickDir) Unlink(context.Context, string, vfs.Inode) error              { return errSick }
func (d *sickDir) Rename(context.Context, vfs.Rename) error                     { return errSick }
func (d *sickDir) OpenDir(ctx context.Context) (vfs.DirHandle, error) {
	h, err := d.Dir.OpenDir(ctx)
	return sickDirHandle{h}, err
}

func (sickDirHandle) ReadDir(context.Context, uint64, func(vfs.Dirent) bool) error { return errSick }
func (sickDirHandle) Fsync(context.Context, bool) error                            { return errSick }

func (l *sickLink) Readlink(context.Context) (string, error) { return "", errSick }

func (f *sickFile) Setattr(context.Context, vfs.SetAttr) error { return errSick }
func (f *sickFile) Xattrs() vfs.Xattrs                         { return sickXattrs{} }
func (f *sickFile) Open(ctx context.Context, flags int) (vfs.Handle, error) {
	h, err := f.Regular.Open(ctx, flags)
	return sickHandle{h}, err
}

func (sickHandle) ReadAt(context.Context, []byte, int64) (int, error)    { return 0, errSick }
func (sickHandle) WriteAt(context.Context, []byte, int64) (int, error)   { return 0, errSick }
func (sickHandle) Fallocate(context.Context, uint32, int64, int64) error { return errSick }
func (sickHandle) Seek(context.Context, int64, int) (int64, error)       { return 0, errSick }
func (sickHandle) Fsync(context.Context, bool) error                     { return errSick }
func (sickHandle) Release(context.Context) error                         { return errSick }
func (sickXattrs) Getxattr(context.Context, string) ([]byte, error)      { return nil, errSick }
func (sickXattrs) Setxattr(context.Context, string, []byte, int) error   { return errSick }
func (sickXattrs) Removexattr(context.Context, string) error             { return errSick }
func (sickXattrs) Listxattr(context.Context) ([]string, error)           { return nil, errSick }

// TestErrorsNamePaths has every operation meet damage: the error says where, as programs know the place, and
// the log does not.
func TestErrorsNamePaths(t *testing.T) {
	var log bytes.Buffer
	w := newWorldConfig(t, vfs.Config{
		Log: slog.New(slog.NewTextHandler(&log, nil)),
		Types: []vfs.FileSystemType{testType{name: "sick", mount: func(vfs.MountRequest) (vfs.FileSystem, error) {
			return newSickFS(t), nil
		}}},
	}, "/a", "/a/b")
	ctx, root := w.ctx, vfs.RootCred()
	w.ok(w.v.Mount(ctx, "src", "/a/b", "sick", 0, ""), "mount")
	f, dir := w.open("/a/b/f", unix.O_RDWR), w.open("/a/b", unix.O_RDONLY|unix.O_DIRECTORY)
	walk := func(path string) vfs.Path {
		p, err := w.v.Walk(ctx, cwd, path, 0)
		w.ok(err, "walk %s", path)
		return p
	}
	top, file, link := walk("/a/b"), walk("/a/b/f"), walk("/a/b/l")
	second := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		op, path string
		err      error
	}{
		{"lookup", "/a/b/sick", w.stat("/a/b/sick")},
		{"lookup", "/a/b/sick", w.stat("/a/b/sick/below")},
		{"lookup", "/a/b/sick", second(vfs.Lookup(ctx, root, top, "sick"))},
		{"lookup", "/a/b/sick", w.mkdir("/a/b/sick")},
		{"lookup", "/a/b/sick", w.v.UnlinkAt(ctx, cwd, "/a/b/sick")},
		{"lookup", "/a/b/sick", w.v.RenameAt(ctx, cwd, "/a/b/sick", cwd, "/a/b/g", 0)},
		{"lookup", "/a/b/sick", w.v.RenameAt(ctx, cwd, "/a/b/f", cwd, "/a/b/sick", 0)},
		{"lookup", "/a/b/sick", w.v.LinkAt(ctx, cwd, "/a", cwd, "/a/b/sick", 0)},
		{"create", "/a/b/new", w.mkdir("/a/b/new")},
		{"create", "/a/b/new", second(w.v.OpenAt(ctx, cwd, "/a/b/new", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY}))},
		{"create", "/a/b", second(w.v.OpenAt(ctx, cwd, "/a/b", vfs.OpenHow{Flags: unix.O_TMPFILE | unix.O_WRONLY}))},
		{"remove", "/a/b/f", w.v.UnlinkAt(ctx, cwd, "/a/b/f")},
		{"rename", "/a/b/f", w.v.RenameAt(ctx, cwd, "/a/b/f", cwd, "/a/b/g", 0)},
		{"readlink", "/a/b/l", second(vfs.Readlink(ctx, link))},
		{"setattr", "/a/b/f", vfs.Setattr(ctx, root, file, vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE}})},
		{"getxattr", "/a/b/f", second(vfs.Getxattr(ctx, root, file, "user.a"))},
		{"setxattr", "/a/b/f", vfs.Setxattr(ctx, root, file, "user.a", nil, 0)},
		{"removexattr", "/a/b/f", vfs.Removexattr(ctx, root, file, "user.a")},
		{"listxattr", "/a/b/f", second(vfs.Listxattr(ctx, root, file))},
		{"read", "/a/b/f", second(f.Read(ctx, make([]byte, 1)))},
		{"write", "/a/b/f", second(f.Write(ctx, make([]byte, 1)))},
		{"fallocate", "/a/b/f", f.Fallocate(ctx, 0, 0, 1)},
		{"seek", "/a/b/f", second(f.Seek(ctx, 0, unix.SEEK_DATA))},
		{"sync", "/a/b/f", f.Fsync(ctx, false)},
		{"readdir", "/a/b", dir.ReadDir(ctx, func(vfs.Dirent) bool { return true })},
		{"sync", "/a/b", dir.Fsync(ctx, true)},
		{"close", "/a/b/f", f.Close(ctx)},
	} {
		require.ErrorIs(t, tt.err, unix.EIO, "%s %s", tt.op, tt.path)
		named, ok := errors.AsType[*fs.PathError](tt.err)
		require.True(t, ok, "%s %s: %v", tt.op, tt.path, tt.err)
		require.Equal(t, fs.PathError{Op: tt.op, Path: tt.path, Err: errSick}, *named)
	}
	w.ok(dir.Close(ctx), "close directory")
	require.Equal(t, unix.ENOENT, w.stat("/a/b/none"), "an outcome stays a bare errno")
	require.Equal(t, errSick, vfs.WithoutPath(fmt.Errorf("copy: %w", &fs.PathError{Path: "/x", Err: &fs.PathError{Path: "/y", Err: errSick}})))
	require.NoError(t, vfs.WithoutPath(nil))

	w.ok(w.v.Umount2(ctx, "/a/b", unix.MNT_DETACH), "umount")
	for _, p := range []vfs.Path{top, file, link} {
		p.Put() // the last one closes the file system
	}
	require.Contains(t, log.String(), "block 7")
	require.NotContains(t, log.String(), "/f", "the log names a file")
}
