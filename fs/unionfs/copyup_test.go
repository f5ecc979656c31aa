package unionfs_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// lowerFile is a file of TestCopyUpTriggers.
const lowerFile = "/d/f"

// U21 and U22: what copies a file up, and what does not.
func TestCopyUpTriggers(t *testing.T) {
	ctx := context.Background()
	open := func(flags int) func(*stack) error {
		return func(s *stack) error { return s.openClose(lowerFile, flags) }
	}
	for _, tc := range []struct {
		name   string
		do     func(s *stack) error
		err    error
		copied bool
	}{
		{"open for reading", open(unix.O_RDONLY), nil, false},
		{"open O_PATH", open(unix.O_PATH), nil, false},
		{"open O_CREAT for reading", open(unix.O_RDONLY | unix.O_CREAT), nil, false},
		{"open O_CREAT O_EXCL", open(unix.O_RDWR | unix.O_CREAT | unix.O_EXCL), unix.EEXIST, false},
		{"open O_DIRECTORY for writing", open(unix.O_RDWR | unix.O_DIRECTORY), unix.ENOTDIR, false},
		{"read", func(s *stack) error { _, err := s.read(lowerFile); return err }, nil, false},
		{"stat", func(s *stack) error { _, err := s.stat(lowerFile); return err }, nil, false},
		{"readdir", func(s *stack) error { _, err := s.readdir("/d"); return err }, nil, false},
		{"access for writing", func(s *stack) error {
			p, err := s.walk(lowerFile)
			require.NoError(s.t, err)
			defer p.Put()
			return vfs.Access(ctx, vfs.RootCred(), p, unix.W_OK)
		}, nil, false},
		{"fsync", func(s *stack) error {
			f := s.mustOpen(lowerFile, unix.O_RDONLY)
			defer f.Close(ctx)
			return f.Fsync(ctx, false)
		}, nil, false},
		{"removexattr of a missing one", func(s *stack) error {
			p, err := s.walk(lowerFile)
			require.NoError(s.t, err)
			defer p.Put()
			return p.Inode().Xattrs().Removexattr(ctx, "user.none")
		}, unix.ENODATA, false},
		{"setxattr XATTR_REPLACE of a missing one", func(s *stack) error {
			p, err := s.walk(lowerFile)
			require.NoError(s.t, err)
			defer p.Put()
			return p.Inode().Xattrs().Setxattr(ctx, "user.none", nil, unix.XATTR_REPLACE)
		}, unix.ENODATA, false},
		{"link over an existing name", func(s *stack) error { return s.link(lowerFile, "/d") }, unix.EEXIST, false},
		{"rename into itself", func(s *stack) error { return s.rename("/d", "/d/e", 0) }, unix.EINVAL, false},

		{"open for writing", open(unix.O_WRONLY), nil, true},
		{"open for both", open(unix.O_RDWR), nil, true},
		{"open O_TRUNC", open(unix.O_WRONLY | unix.O_TRUNC), nil, true},
		{"open O_TRUNC for reading", open(unix.O_RDONLY | unix.O_TRUNC), nil, true},
		{"chmod", func(s *stack) error { return s.chmod(lowerFile, 0o600) }, nil, true},
		{"chown", func(s *stack) error { return s.chown(lowerFile, 1, 1) }, nil, true},
		{"utimens", func(s *stack) error { return s.utimens(lowerFile, 1, 2) }, nil, true},
		{"truncate to the same size", func(s *stack) error { return s.truncate(lowerFile, 4) }, nil, true},
		{"link", func(s *stack) error { return s.link(lowerFile, "/l") }, nil, true},
		{"setxattr", func(s *stack) error { return s.setxattr(lowerFile, "user.a", "b") }, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := layout(t, nil, []string{"d/f=text", "d/other=1"})
			err := tc.do(s)
			if tc.err != nil {
				require.Truef(t, is(err, tc.err.(unix.Errno)), "%v", err)
			} else {
				require.NoError(t, err)
			}
			s.unmount()
			up := strings.Join(s.upper(), "\n")
			require.Equal(t, tc.copied, strings.Contains(up, "/d/f "), "upper layer:\n%s", up)
			require.NotContains(t, up, "other")
		})
	}
}

// U23, U28 to U30: what a copy takes along.
func TestCopyUpKeepsMetadata(t *testing.T) {
	low := newLayer(t, "d/ 2751", "d/f=text", "d/l => target", "d/p|", "d/suid=x")
	lt := mount(t, low)
	require.NoError(t, lt.chown("/d/f", 12, 34))
	require.NoError(t, lt.setxattr("/d/f", "user.key", "value"))
	require.NoError(t, lt.setxattr("/d/f", "overlay.opaque", "y"))
	require.NoError(t, lt.setxattr("/d", "user.dir", "1"))
	require.NoError(t, lt.chown("/d/suid", 5, 6))
	require.NoError(t, lt.chmod("/d/suid", 0o6711))
	for i, name := range []string{"/d/f", "/d/l", "/d/p", "/d/suid", "/d"} {
		require.NoError(t, lt.utimens(name, int64(1000+i), int64(2000+i)))
	}
	lt.unmount()
	before := dumpLayer(t, low)

	s := newStack(t, newLayer(t), low)
	want := s.dump(dumpLinks | dumpIno | dumpMtime)
	// Opening for writing, and linking elsewhere, copy up and change nothing in /d.
	require.NoError(t, s.openClose("/d/f", unix.O_RDWR))
	require.NoError(t, s.openClose("/d/suid", unix.O_RDWR))
	require.Equal(t, want, s.dump(dumpLinks|dumpIno|dumpMtime))
	require.NoError(t, s.link("/d/l", "/l"))
	require.NoError(t, s.link("/d/p", "/p"))
	for _, name := range []string{"/l", "/p"} {
		require.NoError(t, s.unlink(name))
	}
	root := 1
	require.Equal(t, want[root:], s.dump(dumpLinks | dumpIno | dumpMtime)[root:])
	s.remount()
	require.Equal(t, want[root:], s.dump(dumpLinks | dumpIno | dumpMtime)[root:])
	s.unmount()
	up := strings.Join(s.upper(), "\n")
	for _, name := range []string{"/d ", "/d/f ", "/d/l ", "/d/p ", "/d/suid "} {
		require.Contains(t, up, "\n"+name)
	}
	require.NotContains(t, up, "overlay.opaque", "marks are not copied up")
	require.Equal(t, before, dumpLayer(t, low), "the lower layer changed")
}

// U19: an opaque mark of a middle layer does not go up with its directory.
func TestOpaqueIsNotCopiedUp(t *testing.T) {
	s := layout(t, nil, []string{"d/ opaque", "d/a=1"}, []string{"d/b=2"})
	require.NoError(t, s.write("/d/c", "3"))
	require.Equal(t, []string{"a", "c"}, s.names("/d"))
	s.remount()
	require.Equal(t, []string{"a", "c"}, s.names("/d"))
	s.unmount()
	require.NotContains(t, strings.Join(s.upper(), "\n"), "overlay.opaque")
}

// U31: holes stay holes, and what ends in one keeps its size.
func TestCopyUpSparse(t *testing.T) {
	ctx := t.Context()
	low := newLayer(t)
	lt := mount(t, low)
	f := lt.mustOpen("/f", unix.O_CREAT|unix.O_RDWR)
	const hole = 64 << 20
	_, err := f.WriteAt(ctx, []byte("head"), 0)
	require.NoError(t, err)
	_, err = f.WriteAt(ctx, []byte("middle"), hole/2)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(ctx, hole))
	require.NoError(t, f.Close(ctx))
	blocks := lt.mustStat("/f").Blocks
	lt.unmount()

	s := newStack(t, newLayer(t), low)
	defer s.unmount()
	require.NoError(t, s.openClose("/f", unix.O_RDWR))
	attr := s.mustStat("/f")
	require.EqualValues(t, hole, attr.Size)
	require.Equal(t, blocks, attr.Blocks, "blocks of 512 bytes")
	u := s.mustOpen("/f", unix.O_RDONLY)
	defer u.Close(ctx)
	buf := make([]byte, 8)
	_, err = u.ReadAt(ctx, buf, hole/2-1)
	require.NoError(t, err)
	require.Equal(t, "\x00middle\x00", string(buf))
}

// U26: what is going to be dropped is not copied.
func TestTruncationCopiesNoData(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	for _, tc := range []struct {
		name string
		do   func(s *stack) error
		most int64 // bytes written to the upper layer
		want string
	}{
		{"O_TRUNC for writing", func(s *stack) error { return s.openClose("/f", unix.O_WRONLY|unix.O_TRUNC) }, 0, ""},
		{"O_TRUNC for reading", func(s *stack) error { return s.openClose("/f", unix.O_RDONLY|unix.O_TRUNC) }, 0, ""},
		{"truncate to 0", func(s *stack) error { return s.truncate("/f", 0) }, 0, ""},
		{"truncate to 5", func(s *stack) error { return s.truncate("/f", 5) }, 5, "xxxxx"},
		{"open for writing", func(s *stack) error { return s.openClose("/f", unix.O_WRONLY) }, 3 << 20, big},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := newFaulty(newLayer(t))
			s := newStack(t, up, newLayer(t, "f="+big))
			defer s.unmount()
			require.NoError(t, tc.do(s))
			require.Equal(t, tc.most, up.written.Load(), "bytes written")
			require.Equal(t, tc.want, s.mustRead("/f"))
		})
	}
}

// U34 and U38: a descriptor from before the copy-up.
func TestOpenFileFollowsCopyUp(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"f=old"})
	defer s.unmount()
	r := s.mustOpen("/f", unix.O_RDONLY)
	defer r.Close(ctx)
	text, err := readFile(r)
	require.NoError(t, err)
	require.Equal(t, "old", text)
	before, err := vfs.Getattr(ctx, r.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)

	require.NoError(t, s.write("/f", "newer"))
	text, err = readFile(r)
	require.NoError(t, err)
	require.Equal(t, "newer", text)
	after, err := vfs.Getattr(ctx, r.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.Equal(t, before.Ino, after.Ino)
	require.EqualValues(t, 5, after.Size)
}

// U37, and changes of a file without a name.
func TestUnlinkedLowerFile(t *testing.T) {
	ctx := t.Context()
	s := layout(t, nil, []string{"d/f=text"})
	defer s.unmount()
	f := s.mustOpen("/d/f", unix.O_RDONLY)
	defer f.Close(ctx)
	require.NoError(t, s.unlink("/d/f"))
	require.NoError(t, s.rmdir("/d"))
	text, err := readFile(f)
	require.NoError(t, err)
	require.Equal(t, "text", text)
	attr, err := vfs.Getattr(ctx, f.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.Zero(t, attr.Nlink)

	req := vfs.SetAttrRequest{SetAttr: vfs.SetAttr{Mask: unix.STATX_MODE, Mode: 0o600}}
	require.NoError(t, vfs.Setattr(ctx, vfs.RootCred(), f.Path(), req))
	attr, err = vfs.Getattr(ctx, f.Path(), unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	require.EqualValues(t, unix.S_IFREG|0o600, attr.Mode)
	require.Zero(t, attr.Nlink)
	text, err = readFile(f)
	require.NoError(t, err)
	require.Equal(t, "text", text)
	require.Empty(t, s.names("/"))
}

// U24: reading does not copy up for the access time, and does not touch the lower layer.
func TestReadLeavesLowerAlone(t *testing.T) {
	low := newLayer(t, "d/f=text")
	lt := mount(t, low)
	require.NoError(t, lt.utimens("/d/f", 5, 1000))
	lt.unmount()
	s := newStack(t, newLayer(t), low)
	_ = s.mustRead("/d/f")
	require.EqualValues(t, 5, s.mustStat("/d/f").Atime.Sec)
	s.unmount()
	require.Len(t, s.upper(), 1, "only the root")
}

// U20: the records cannot be seen or made through the union.
func TestPrivateXattrs(t *testing.T) {
	ctx := t.Context()
	s := layout(t, []string{"d/ opaque"}, []string{"d/f=text"})
	defer s.unmount()
	require.NoError(t, s.setxattr("/d", "user.a", "1"))
	_, err := s.getxattr("/d", "overlay.opaque")
	require.ErrorIs(t, err, unix.ENODATA)
	require.Error(t, s.setxattr("/d", "overlay.opaque", "n"))
	p, err := s.walk("/d")
	require.NoError(t, err)
	defer p.Put()
	names, err := p.Inode().Xattrs().Listxattr(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"user.a"}, names)
	require.ErrorIs(t, p.Inode().Xattrs().Removexattr(ctx, "overlay.opaque"), unix.ENODATA)
}
