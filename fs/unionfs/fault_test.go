package unionfs_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/fs/unionfs"
	"cloister/vfs"
)

// Whatever call of a layer fails, a change of the union has either happened or
// not, at once and after a remount, and everything still works (U8, U32).
func TestFaults(t *testing.T) {
	files := []string{"d/f=text", "d/g=other", "d/l => f", "d/p|", "d/h1=links", "d/h2 == d/h1", "e/sub/", "e/gone"}
	for _, st := range []step{
		write("/d/f", "TEXT", nil), unlink("/d/f", nil), rename("/d/f", "/d/new", nil), rename("/d/f", "/d/g", nil),
		rename("/d/f", "/e/f", nil), rename2("/d/f", "/d/g", unix.RENAME_EXCHANGE, nil), link("/d/f", "/e/f", nil),
		rename("/d/l", "/e/l", nil), rename("/d/p", "/e/p", nil), link("/d/l", "/l", nil),
		unlink("/d/h1", nil), rename("/d/h1", "/e/h", nil), link("/d/h2", "/e/h", nil), rename("/d/f", "/d/h1", nil),
		write("/d/h2", "LINKS", nil), rmdir("/e/sub", nil), mkdir("/e/new", nil), create("/e/new", nil), symlink("x", "/e/new", nil),
		{"chmod", func(s *stack) error { return s.chmod("/d/f", 0o600) }, nil},
		{"truncate", func(s *stack) error { return s.truncate("/d/f", 2) }, nil},
		{"chmod of a directory", func(s *stack) error { return s.chmod("/e/sub", 0o700) }, nil},
		{"setxattr", func(s *stack) error { return s.setxattr("/d/f", "user.a", "b") }, nil},
	} {
		low := newLayer(t, files...)
		before := dumpLayer(t, low)
		ok := newStack(t, newLayer(t), low)
		unchanged := ok.dump(dumpLinks)
		require.NoError(t, st.do(ok))
		changed := ok.dump(dumpLinks)
		ok.unmount()
		require.NotEqual(t, unchanged, changed)
		for _, where := range []string{"upper", "lower"} {
			t.Run(st.call+", "+where+" layer fails", func(t *testing.T) {
				n := int64(1)
				for failOnce(t, st, low, where, n, unchanged, changed) {
					n++
				}
				require.Greater(t, n, int64(3), "calls that were made to fail")
				require.Equal(t, before, dumpLayer(t, low), "the lower layer changed")
			})
		}
	}
}

// failOnce runs st on a union over low whose layer fails its n-th call. It returns false if
// there was none.
func failOnce(t *testing.T, st step, low vfs.FileSystem, where string, n int64, unchanged, changed []string) bool {
	up, below := newFaulty(newLayer(t)), newFaulty(low)
	s := newStack(t, up, below)
	failing := up
	if where == "lower" {
		failing = below
	}
	failing.left.Store(n)
	err := st.do(s)
	fired := failing.left.Swap(0) <= 0
	after := s.dump(dumpLinks)
	if err == nil {
		require.Equal(t, changed, after, "call %d: success without effect", n)
	} else {
		require.Truef(t, is(err, unix.EIO), "call %d: %v", n, err)
		requireOneOf(t, after, unchanged, changed, n)
	}
	s.remount()
	require.Equal(t, after, s.dump(dumpLinks), "call %d: after a remount", n)
	if slices.Equal(after, unchanged) {
		require.NoError(t, st.do(s), "call %d: once more", n)
		require.Equal(t, changed, s.dump(dumpLinks), "call %d: once more", n)
	}
	s.unmount()
	return fired
}

func requireOneOf(t *testing.T, got, a, b []string, n int64) {
	t.Helper()
	if !slices.Equal(got, a) && !slices.Equal(got, b) {
		require.Equalf(t, strings.Join(a, "\n"), strings.Join(got, "\n"), "call %d: half a change", n)
	}
}

// An upper layer that cannot be flushed or closed leaves the union mounted and usable.
func TestCloseFails(t *testing.T) {
	ctx := t.Context()
	for _, tc := range []struct {
		name string
		fail func(up *faulty)
		want unix.Errno
	}{
		{"flush", func(up *faulty) { up.left.Store(1) }, unix.EIO},
		{"close", func(up *faulty) { up.closeErr = unix.ENOSPC }, unix.ENOSPC},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := newFaulty(newLayer(t))
			low := newLayer(t, "f=1", "a=2", "b == a")
			tr := mountAt(t, newUnion(t, unionfs.UpperWritable, up, low))
			require.NoError(t, tr.write("/m/a", "3"))
			tc.fail(up)
			require.ErrorIs(t, tr.v.Umount2(ctx, "/m", 0), tc.want)
			up.closeErr = nil
			require.Equal(t, []string{"/m/a=3", "/m/b=3", "/m/f=1"}, tr.brief("/m"))
			require.NoError(t, tr.write("/m/b", "4"))
			require.NoError(t, tr.unlink("/m/f"))
			require.NoError(t, tr.v.Umount2(ctx, "/m", 0))
			tr.unmount()

			s := newStack(t, up, low)
			defer s.unmount()
			require.Equal(t, []string{"/a=4", "/b=4"}, s.brief("/"))
		})
	}
}

// ready is a type whose one file system is there already.
type ready struct{ fs vfs.FileSystem }

func (ready) Name() string   { return "ready" }
func (ready) Flags() uintptr { return 0 }
func (r ready) Mount(context.Context, vfs.MountRequest) (vfs.FileSystem, error) {
	return r.fs, nil
}

// mountAt mounts fs on /m, so that it can be unmounted like any other.
func mountAt(t *testing.T, fs vfs.FileSystem) *tree {
	t.Helper()
	ns, err := vfs.New(vfs.Config{Root: ramfs.New(ramfs.Config{}), Types: []vfs.FileSystemType{ready{fs}}})
	require.NoError(t, err)
	tr := &tree{t: t, fs: fs, ns: ns, v: ns.NewView(vfs.RootCred())}
	require.NoError(t, tr.mkdir("/m"))
	require.NoError(t, tr.v.Mount(t.Context(), "none", "/m", "ready", 0, ""))
	return tr
}

// Close with ForceClose releases everything whatever happens.
func TestForceClose(t *testing.T) {
	up := newFaulty(newLayer(t))
	fs := newUnion(t, unionfs.UpperWritable, up, newLayer(t, "f=1"))
	up.closeErr = unix.EIO
	_ = fs.Close(t.Context(), vfs.ForceClose)
	require.True(t, up.closed)
}

func TestNewRefuses(t *testing.T) {
	a, b := newLayer(t), newLayer(t)
	u := newUnion(t, unionfs.UpperWritable, a, b)
	for name, cfg := range map[string]unionfs.StackConfig{
		"no layers":        {},
		"one layer":        {Layers: []vfs.FileSystem{newLayer(t)}},
		"union as upper":   {Layers: []vfs.FileSystem{u, newLayer(t)}},
		"too many layers":  {Layers: slices.Repeat([]vfs.FileSystem{newLayer(t)}, 501)},
		"no lower, absent": {Upper: unionfs.UpperAbsent},
	} {
		_, err := unionfs.New(t.Context(), cfg)
		require.ErrorIs(t, err, unix.EINVAL, name)
	}
}
