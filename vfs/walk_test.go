package vfs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func TestWalkResolve(t *testing.T) {
	w := newWorld(t, "/d", "/d/sub", "/d/m")
	w.touch("/f")
	w.touch("/d/f")
	w.touch("/d/sub/f")
	for link, target := range map[string]string{"/d/up": "../f", "/d/abs": "/f", "/d/in": "sub/f", "/d/sub/back": "../f", "/d/tomount": "m"} {
		w.ok(w.v.SymlinkAt(w.ctx, target, cwd, link), "symlink")
	}
	w.ok(w.mount("/d/m", 0), "mount")
	w.touch("/d/m/f")
	at, err := w.v.Walk(w.ctx, cwd, "/d", 0)
	w.ok(err, "walk")
	defer at.Put()
	for _, c := range []struct {
		path  string
		flags vfs.WalkFlags
		want  unix.Errno
	}{
		{"f", vfs.WalkBeneath, 0},
		{"sub/../f", vfs.WalkBeneath, 0},
		{"../f", vfs.WalkBeneath, unix.EXDEV},
		{"sub/../../f", vfs.WalkBeneath, unix.EXDEV},
		{"/f", vfs.WalkBeneath, unix.EXDEV},
		{"up", vfs.WalkBeneath, unix.EXDEV},
		{"abs", vfs.WalkBeneath, unix.EXDEV},
		{"in", vfs.WalkBeneath, 0},
		{"sub/back", vfs.WalkBeneath, 0},
		{"m/f", vfs.WalkBeneath, 0},
		{"m/../f", vfs.WalkBeneath, 0},
		{"../f", vfs.WalkInRoot, 0},
		{"/f", vfs.WalkInRoot, 0},
		{"/sub/f", vfs.WalkInRoot, 0},
		{"/d/f", vfs.WalkInRoot, unix.ENOENT},
		{"abs", vfs.WalkInRoot, 0},
		{"m/f", vfs.WalkNoXdev, unix.EXDEV},
		{"m", vfs.WalkNoXdev, unix.EXDEV},
		{"tomount", vfs.WalkNoXdev, unix.EXDEV},
		{"f", vfs.WalkNoXdev, 0},
		{"../f", vfs.WalkNoXdev, 0},
		{"abs", vfs.WalkNoXdev, unix.EXDEV},
		{"../d/abs", vfs.WalkNoXdev, 0},
		{"/d/abs", vfs.WalkNoXdev, 0},
		{"in", vfs.WalkNoSymlinks, unix.ELOOP},
		{"sub/f", vfs.WalkNoSymlinks, 0},
	} {
		for _, follow := range []vfs.WalkFlags{vfs.WalkFollow} {
			p, err := w.v.Walk(w.ctx, at, c.path, c.flags|follow)
			w.fails(c.want, err, "walk %s with flags %#x", c.path, c.flags)
			p.Put()
			_, _, err = w.v.GetattrAt(w.ctx, at, c.path, c.flags|follow, 0)
			w.fails(c.want, err, "getattr %s with flags %#x", c.path, c.flags)
		}
	}
	m, err := w.v.Walk(w.ctx, cwd, "/d/m", 0)
	w.ok(err, "walk")
	defer m.Put()
	_, err = w.v.Walk(w.ctx, m, "..", vfs.WalkNoXdev)
	w.fails(unix.EXDEV, err, "dot-dot out of a mount")
	root, err := w.v.Walk(w.ctx, m, "/", vfs.WalkNoXdev)
	w.ok(err, "an absolute path does not start in the mount")
	root.Put()
}

func TestWalkEmpty(t *testing.T) {
	w := newWorld(t)
	w.touch("/f")
	f, err := w.v.Walk(w.ctx, cwd, "/f", 0)
	w.ok(err, "walk")
	defer f.Put()
	p, err := w.v.Walk(w.ctx, f, "", vfs.WalkEmpty)
	w.ok(err, "walk of the empty path")
	require.True(t, p.Equal(f))
	p.Put()
	_, err = w.v.Walk(w.ctx, f, "", 0)
	w.fails(unix.ENOENT, err, "walk of the empty path")
	_, err = w.v.Walk(w.ctx, f, "", vfs.WalkEmpty|vfs.WalkDirectory)
	w.fails(unix.ENOTDIR, err, "walk of the empty path to a directory")
	_, err = w.v.Walk(w.ctx, f, ".", 0)
	w.fails(unix.ENOTDIR, err, "walk from a file")
	_, err = w.v.Walk(w.ctx, cwd, "a\x00b", 0)
	w.fails(unix.EINVAL, err, "walk of a name with NUL")
}

func TestWalkParent(t *testing.T) {
	w := newWorld(t, "/d", "/d/e")
	for _, c := range []struct {
		path string
		dir  string
		last vfs.Last
		want unix.Errno
	}{
		{"/d/x", "/d", vfs.Last{Name: "x"}, 0},
		{"/d/x/", "/d", vfs.Last{Name: "x", TrailingSlash: true}, 0},
		{"/d/x//", "/d", vfs.Last{Name: "x", TrailingSlash: true}, 0},
		{"x", "/", vfs.Last{Name: "x"}, 0},
		{"/", "/", vfs.Last{Kind: vfs.LastRoot}, 0},
		{"/d/.", "/d", vfs.Last{Kind: vfs.LastDot}, 0},
		{"/d/..", "/d", vfs.Last{Kind: vfs.LastDotDot}, 0},
		{"/d/e/../", "/d/e", vfs.Last{Kind: vfs.LastDotDot, TrailingSlash: true}, 0},
		{"/x/y", "", vfs.Last{}, unix.ENOENT},
		{"", "", vfs.Last{}, unix.ENOENT},
	} {
		dir, last, err := w.v.WalkParent(w.ctx, cwd, c.path, 0)
		w.fails(c.want, err, "walk %q", c.path)
		require.Equal(t, c.last, last, "walk %q", c.path)
		if c.want == 0 {
			path, err := w.v.PathString(dir)
			w.ok(err, "path")
			require.Equal(t, c.dir, path, "walk %q", c.path)
			dir.Put()
		}
	}
}

func TestPathString(t *testing.T) {
	w := newWorld(t, "/d", "/d/m")
	w.ok(w.mount("/d/m", 0), "mount")
	w.ok(w.mkdir("/d/m/x"), "mkdir")
	f := w.open("/d/m/x/f", unix.O_CREAT|unix.O_RDWR)
	defer f.Close(w.ctx)
	path := func() string {
		s, err := w.v.PathString(f.Path())
		w.ok(err, "path")
		return s
	}
	require.Equal(t, "/d/m/x/f", path())
	w.ok(w.v.RenameAt(w.ctx, cwd, "/d/m/x", cwd, "/d/m/y", 0), "rename")
	require.Equal(t, "/d/m/y/f", path())
	w.ok(w.v.UnlinkAt(w.ctx, cwd, "/d/m/y/f"), "unlink")
	require.Equal(t, "/d/m/y/f (deleted)", path())
	require.True(t, f.Path().Removed())
	w.ok(w.umount("/d/m", unix.MNT_DETACH), "umount")
	_, err := w.v.PathString(f.Path())
	w.fails(unix.ENOENT, err, "path of a file in a detached mount")
}

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want unix.Errno
	}{
		{nil, 0},
		{unix.ENOENT, unix.ENOENT},
		{fmt.Errorf("read: %w", unix.ENOSPC), unix.ENOSPC},
		{context.Canceled, unix.EINTR},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), unix.EINTR},
		{fmt.Errorf("strange"), unix.EIO},
		{unix.Errno(0), unix.EIO},
	} {
		require.Equal(t, c.want, vfs.Errno(c.err), "%v", c.err)
	}
}
