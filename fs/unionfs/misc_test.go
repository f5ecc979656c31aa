package unionfs_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// U25: what a task may not do changes nothing.
func TestPermissionBeforeCopyUp(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"d/f=text 644", "d/own=text"})
	user := s.ns.NewView(&vfs.Cred{RUID: 1, EUID: 1, SUID: 1, RGID: 1, EGID: 1, SGID: 1})
	for name, err := range map[string]error{
		"open for writing": func() error {
			_, err := user.OpenAt(ctx, vfs.Path{}, "/d/f", vfs.OpenHow{Flags: unix.O_RDWR})
			return err
		}(),
		"unlink": user.UnlinkAt(ctx, vfs.Path{}, "/d/f"),
		"create": user.MkdirAt(ctx, vfs.Path{}, "/d/n", 0o755),
		"rename": user.RenameAt(ctx, vfs.Path{}, "/d/f", vfs.Path{}, "/d/g", 0),
	} {
		require.Truef(t, is(err, unix.EACCES), "%s: %v", name, err)
	}
	f, err := user.OpenAt(ctx, vfs.Path{}, "/d/f", vfs.OpenHow{Flags: unix.O_RDONLY})
	require.NoError(t, err)
	err = vfs.Setattr(ctx, user.Cred(), f.Path(), vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o777}})
	require.ErrorIs(t, err, unix.EPERM)
	require.NoError(t, f.Close(ctx))
	user.Release()
	s.unmount()
	require.Len(t, s.upper(), 1, "only the root")
}

// The union works on its layers with the mounter's credentials, but new files are the caller's.
func TestNewFilesBelongToTheCaller(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"d/ 777", "g/ 2777"})
	require.NoError(t, s.chown("/g", 0, 77))
	user := s.ns.NewView(&vfs.Cred{RUID: 5, EUID: 5, SUID: 5, RGID: 6, EGID: 6, SGID: 6})
	user.SetUmask(0o22)
	require.NoError(t, user.MkdirAt(ctx, vfs.Path{}, "/d/sub", 0o777))
	require.NoError(t, user.SymlinkAt(ctx, "x", vfs.Path{}, "/d/l"))
	require.NoError(t, user.MkdirAt(ctx, vfs.Path{}, "/g/sub", 0o777))
	user.Release()
	for path, want := range map[string][3]uint32{
		"/d/sub": {unix.S_IFDIR | 0o755, 5, 6},
		"/d/l":   {unix.S_IFLNK | 0o777, 5, 6},
		"/g/sub": {unix.S_IFDIR | 0o2755, 5, 77},
	} {
		attr := s.mustStat(path)
		require.Equal(t, want, [3]uint32{attr.Mode, attr.UID, attr.GID}, path)
	}
	s.unmount()
}

func TestTmpfile(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"d/f=1"})
	f, err := s.v.OpenAt(ctx, vfs.Path{}, "/d", vfs.OpenHow{Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o600})
	require.NoError(t, err)
	_, err = f.WriteAt(ctx, []byte("tmp"), 0)
	require.NoError(t, err)
	require.Equal(t, []string{"f"}, s.names("/d"))
	dir, err := s.walk("/d")
	require.NoError(t, err)
	require.NoError(t, s.unlink("/d/f"))
	p, err := vfs.Link(ctx, vfs.RootCred(), f.Path(), dir, "f")
	require.NoError(t, err)
	p.Put()
	dir.Put()
	require.NoError(t, f.Close(ctx))
	require.Equal(t, []string{"/d/", "/d/f=tmp"}, s.brief("/"))
	s.remount()
	require.Equal(t, []string{"/d/", "/d/f=tmp"}, s.brief("/"))
	s.unmount()
}

// U45: two files of the upper layer that claim to be copies of one are not taken for one file.
func TestTwoCopiesOfOneFile(t *testing.T) {
	s := layout(t, nil, []string{"f=1"})
	require.NoError(t, s.openClose("/f", unix.O_RDWR))
	s.unmount()

	up := mount(t, s.layers[0])
	origin, err := up.getxattr("/f", "overlay.origin")
	require.NoError(t, err)
	require.NoError(t, up.write("/g", "2"))
	require.NoError(t, up.setxattr("/g", "overlay.origin", origin))
	up.unmount()

	s = newStack(t, s.layers...)
	defer s.unmount()
	f := s.mustOpen("/f", unix.O_RDONLY)
	defer f.Close(t.Context())
	_, err = s.stat("/g")
	require.Truef(t, is(err, unix.ESTALE), "%v", err)
}

// Records that are none are errors, not guesses.
func TestBadRecords(t *testing.T) {
	for _, tc := range []struct{ name, value string }{
		{"overlay.origin", "nonsense"},
		{"overlay.origin", ""},
		{"overlay.nlink", "U"},
		{"overlay.nlink", "X1"},
		{"overlay.nlink", "U99999999999999999999"},
	} {
		t.Run(tc.name+"="+tc.value, func(t *testing.T) {
			s := layout(t, nil, []string{"f=1", "g == f"})
			require.NoError(t, s.rename("/f", "/h", 0))
			s.unmount()
			up := mount(t, s.layers[0])
			require.NoError(t, up.setxattr("/h", tc.name, tc.value))
			up.unmount()
			fs, err := newUnionErr(t, s.layers...)
			if err == nil {
				tr := mount(t, fs)
				defer tr.unmount()
				_, err = tr.stat("/h")
			}
			require.Truef(t, is(err, unix.EIO), "%v", err)
		})
	}
}

// The origin of a file of a layer that is no longer there does not matter.
func TestLowerLayerReplaced(t *testing.T) {
	s := layout(t, nil, []string{"f=1"}, []string{"g=2", "h=3"})
	require.NoError(t, s.openClose("/f", unix.O_RDWR))
	require.NoError(t, s.rename("/g", "/i", 0))
	s.unmount()
	u := newStack(t, s.layers[0], s.layers[2])
	defer u.unmount()
	require.Equal(t, []string{"/f=1", "/h=3", "/i=2"}, u.brief("/"))
}

// U41: d_ino is st_ino through all changes; the dumps check it for every name.
func TestInodeNumbers(t *testing.T) {
	s := layout(t, nil, []string{"d/f=1", "d/g=2", "e/"}, []string{"d/h=3"})
	defer func() { s.unmount() }()
	ino := func(path string) uint64 { return s.mustStat(path).Ino }
	f, g, h, d := ino("/d/f"), ino("/d/g"), ino("/d/h"), ino("/d")
	require.Len(t, map[uint64]bool{f: true, g: true, h: true, d: true, ino("/"): true, ino("/e"): true}, 6)
	require.NoError(t, s.openClose("/d/f", unix.O_RDWR))
	require.NoError(t, s.rename("/d/g", "/e/g", 0))
	require.NoError(t, s.link("/d/h", "/e/h"))
	for range 2 {
		require.Equal(t, []uint64{f, g, h, h, d}, []uint64{ino("/d/f"), ino("/e/g"), ino("/d/h"), ino("/e/h"), ino("/d")})
		s.dump(dumpIno)
		s.remount()
	}
}

// A call that is interrupted while it copies leaves nothing behind.
func TestInterruptedCopyUp(t *testing.T) {
	up := newFaulty(newLayer(t))
	s := newStack(t, up, newLayer(t, "f=text"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := s.walk("/f")
	require.NoError(t, err)
	_, err = p.Inode().(vfs.Regular).Open(ctx, unix.O_RDWR)
	require.Truef(t, is(err, unix.EINTR), "%v", err)
	p.Put()
	require.Zero(t, up.written.Load())
	s.unmount()
	require.Len(t, s.upper(), 1, "only the root")
}

// A removed lower directory that is still open cannot be copied up any more.
func TestRemovedLowerDirectory(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"d/"})
	defer s.unmount()
	f := s.mustOpen("/d", unix.O_RDONLY|unix.O_DIRECTORY)
	defer f.Close(ctx)
	require.NoError(t, s.rmdir("/d"))
	attr, err := vfs.Getattr(ctx, f.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.Zero(t, attr.Nlink)
	req := vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o700}}
	require.ErrorIs(t, vfs.Setattr(ctx, vfs.RootCred(), f.Path(), req), unix.ENOENT)
	require.Empty(t, s.names("/"))
}
