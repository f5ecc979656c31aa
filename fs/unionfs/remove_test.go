package unionfs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// A step is one call on a union and what it returns.
type step struct {
	call string
	do   func(s *stack) error
	want error
}

func (st step) run(t *testing.T, s *stack) {
	t.Helper()
	err := st.do(s)
	if st.want == nil {
		require.NoError(t, err, st.call)
	} else {
		require.Truef(t, is(err, st.want.(unix.Errno)), "%s: %v, not %v", st.call, err, st.want)
	}
}

func unlink(path string, want error) step {
	return step{"unlink " + path, func(s *stack) error { return s.unlink(path) }, want}
}
func rmdir(path string, want error) step {
	return step{"rmdir " + path, func(s *stack) error { return s.rmdir(path) }, want}
}
func mkdir(path string, want error) step {
	return step{"mkdir " + path, func(s *stack) error { return s.mkdir(path) }, want}
}
func write(path, text string, want error) step {
	return step{"write " + path, func(s *stack) error { return s.write(path, text) }, want}
}
func create(path string, want error) step {
	return step{"create " + path, func(s *stack) error {
		return s.openClose(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
	}, want}
}
func rename(from, to string, want error) step {
	return step{"rename " + from + " " + to, func(s *stack) error { return s.rename(from, to, 0) }, want}
}
func rename2(from, to string, flags uint32, want error) step {
	return step{"rename2 " + from + " " + to, func(s *stack) error { return s.rename(from, to, flags) }, want}
}
func link(from, to string, want error) step {
	return step{"link " + from + " " + to, func(s *stack) error { return s.link(from, to) }, want}
}
func symlink(target, path string, want error) step {
	return step{"symlink " + path, func(s *stack) error { return s.symlink(target, path) }, want}
}

// A changeCase is a sequence of calls on a union, and what is there afterwards,
// at once and after a remount. Lower layers never change.
type changeCase struct {
	name   string
	layers [][]string
	steps  []step
	want   []string
	upper  []string // what the upper layer has then; nil: not checked
}

func runChangeCases(t *testing.T, cases []changeCase) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := layout(t, tc.layers...)
			var before [][]string
			for _, l := range s.layers[1:] {
				before = append(before, dumpLayer(t, l))
			}
			for _, st := range tc.steps {
				st.run(t, s)
			}
			require.Equal(t, tc.want, s.brief("/"))
			inos := s.dump(dumpIno | dumpLinks)
			s.remount()
			require.Equal(t, tc.want, s.brief("/"), "after a remount")
			require.Equal(t, inos, s.dump(dumpIno|dumpLinks), "after a remount")
			s.unmount()
			if tc.upper != nil {
				require.Equal(t, tc.upper, briefLayer(t, s.layers[0]), "upper layer")
			}
			for i, l := range s.layers[1:] {
				require.Equal(t, before[i], dumpLayer(t, l), "lower layer %d", i)
			}
		})
	}
}

func briefLayer(t testing.TB, fs vfs.FileSystem) []string {
	t.Helper()
	tr := mount(t, fs)
	defer tr.unmount()
	return tr.brief("/")
}

// U6 to U8, U13, U15 to U17.
func TestRemove(t *testing.T) {
	runChangeCases(t, []changeCase{
		{"unlink of a lower file", [][]string{nil, {"d/f=1", "d/g=2"}},
			[]step{unlink("/d/f", nil), unlink("/d/f", unix.ENOENT)},
			[]string{"/d/", "/d/g=2"}, []string{"/d/", "/d/f!"}},
		{"create after unlink", [][]string{nil, {"d/f=1"}},
			[]step{unlink("/d/f", nil), create("/d/f", nil), write("/d/f", "new", nil)},
			[]string{"/d/", "/d/f=new"}, []string{"/d/", "/d/f=new"}},
		{"unlink of an upper file", [][]string{{"f=1"}, {"g=2"}},
			[]step{unlink("/f", nil)},
			[]string{"/g=2"}, []string{}},
		{"unlink of a copy", [][]string{nil, {"f=1"}},
			[]step{write("/f", "2", nil), unlink("/f", nil)},
			[]string{}, []string{"/f!"}},
		{"unlink of what a middle layer hides below", [][]string{{"f=2"}, {"f!"}, {"f=1"}},
			[]step{unlink("/f", nil)},
			[]string{}, []string{}},
		{"symlink over a whiteout", [][]string{nil, {"f=1"}},
			[]step{unlink("/f", nil), symlink("x", "/f", nil)},
			[]string{"/f -> x"}, []string{"/f -> x"}},
		{"link over a whiteout", [][]string{nil, {"f=1", "g=2"}},
			[]step{unlink("/f", nil), link("/g", "/f", nil)},
			[]string{"/f=2", "/g=2"}, nil},
		{"rmdir of a lower directory", [][]string{nil, {"d/", "e/"}},
			[]step{rmdir("/d", nil)},
			[]string{"/e/"}, []string{"/d!"}},
		{"rmdir with content", [][]string{nil, {"d/f"}},
			[]step{rmdir("/d", unix.ENOTEMPTY)},
			[]string{"/d/", "/d/f="}, []string{}},
		{"rmdir with upper content", [][]string{{"d/f"}, {"d/"}},
			[]step{rmdir("/d", unix.ENOTEMPTY)},
			[]string{"/d/", "/d/f="}, nil},
		{"rmdir of a directory of whiteouts", [][]string{nil, {"d/f", "d/g"}},
			[]step{unlink("/d/f", nil), unlink("/d/g", nil), rmdir("/d", nil)},
			[]string{}, []string{"/d!"}},
		{"rmdir of a directory with a stale whiteout", [][]string{{"d/f!"}, {"g=1"}},
			[]step{rmdir("/d", nil)},
			[]string{"/g=1"}, []string{}},
		{"rmdir of an upper directory", [][]string{{"d/"}, {"g=1"}},
			[]step{rmdir("/d", nil)},
			[]string{"/g=1"}, []string{}},
		{"mkdir over a whiteout is opaque", [][]string{nil, {"d/f", "d/g"}},
			[]step{unlink("/d/f", nil), unlink("/d/g", nil), rmdir("/d", nil), mkdir("/d", nil), create("/d/h", nil)},
			[]string{"/d/", "/d/h="}, []string{"/d/", "/d/h="}},
		{"rmdir of an opaque directory", [][]string{{"d/ opaque"}, {"d/f=1"}},
			[]step{rmdir("/d", nil)},
			[]string{}, []string{"/d!"}},
		{"remove and make many times", [][]string{nil, {"x/f=1"}},
			[]step{unlink("/x/f", nil), rmdir("/x", nil), create("/x", nil), unlink("/x", nil), mkdir("/x", nil),
				create("/x/g", nil), unlink("/x/g", nil), rmdir("/x", nil), mkdir("/x", nil)},
			[]string{"/x/"}, []string{"/x/"}},
		{"type errors", [][]string{nil, {"d/", "f"}},
			[]step{unlink("/d", unix.EISDIR), rmdir("/f", unix.ENOTDIR), mkdir("/f", unix.EEXIST), create("/d", unix.EEXIST)},
			[]string{"/d/", "/f="}, []string{}},
	})
}

// U12: what looks like a whiteout cannot be made.
func TestNoUserWhiteouts(t *testing.T) {
	s := layout(t, nil, []string{"f=1"})
	defer s.unmount()
	err := s.v.MknodAt(t.Context(), vfs.Path{}, "/w", unix.S_IFCHR|0o600, 0)
	require.Truef(t, is(err, unix.EPERM), "mknod 0:0: %v", err)
	require.NoError(t, s.write("/.wh.f", ""))
	require.Equal(t, []string{".wh.f", "f"}, s.names("/"))
	err = s.rename("/f", "/g", unix.RENAME_WHITEOUT)
	require.Truef(t, is(err, unix.EINVAL), "RENAME_WHITEOUT: %v", err)
}

// Creating and removing changes the times of the directory as anywhere else.
func TestChangesTouchDirectory(t *testing.T) {
	for _, tc := range []struct {
		name string
		step step
	}{
		{"unlink of a lower file", unlink("/d/f", nil)},
		{"unlink of an upper file", unlink("/d/u", nil)},
		{"create", create("/d/new", nil)},
		{"rmdir of a lower directory", rmdir("/d/sub", nil)},
		{"rename away", rename("/d/f", "/g", nil)},
		{"rename to it", rename("/low", "/d/g", nil)},
		{"link to it", link("/low", "/d/g", nil)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := layout(t, []string{"d/u"}, []string{"d/f", "d/sub/", "low"})
			defer s.unmount()
			require.NoError(t, s.utimens("/d", 1, 1))
			tc.step.run(t, s)
			require.Greater(t, s.mustStat("/d").Mtime.Sec, int64(1), "mtime")
		})
	}
}

// A failed removal leaves no trace in the upper layer (U25).
func TestFailedChangesCopyNothing(t *testing.T) {
	s := layout(t, nil, []string{"d/sub/f", "e/sub/"})
	for _, st := range []step{
		rmdir("/d/sub", unix.ENOTEMPTY), unlink("/d/sub", unix.EISDIR), mkdir("/d/sub", unix.EEXIST),
		rename("/d/sub", "/d/new", unix.EXDEV), rename("/e/sub", "/d/sub", unix.EXDEV),
	} {
		st.run(t, s)
	}
	s.unmount()
	require.Len(t, s.upper(), 1, strings.Join(s.upper(), "\n"))
}
