package unionfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/unionfs"
)

// Rows U1 to U5 and U13 of the checklist: what of several layers is seen.
func TestLookup(t *testing.T) {
	for _, tc := range []struct {
		name   string
		layers [][]string // top to bottom
		want   []string   // names with "/" after directories, texts of files
	}{
		{"directories merge", [][]string{{"d/a=1"}, {"d/b=2"}}, []string{"/d/", "/d/a=1", "/d/b=2"}},
		{"upper file wins", [][]string{{"f=up"}, {"f=low"}}, []string{"/f=up"}},
		{"file over directory", [][]string{{"x=up"}, {"x/a=low"}}, []string{"/x=up"}},
		{"directory over file", [][]string{{"x/a=up"}, {"x=low"}}, []string{"/x/", "/x/a=up"}},
		{"file ends the merge", [][]string{{"x/a=1"}, {"x=2"}, {"x/b=3"}}, []string{"/x/", "/x/a=1"}},
		{"left of the lower layers is on top", [][]string{{}, {"f=a"}, {"f=b"}}, []string{"/f=a"}},
		{"whiteout in the upper layer", [][]string{{"f!"}, {"f=1", "g=2"}}, []string{"/g=2"}},
		{"whiteout in a middle layer", [][]string{{}, {"d/f!"}, {"d/f=1", "d/g=2"}}, []string{"/d/", "/d/g=2"}},
		{"whiteout between directories", [][]string{{"d/a=1"}, {"d!"}, {"d/b=2"}}, []string{"/d/", "/d/a=1"}},
		{"file over a whiteout", [][]string{{"f=new"}, {"f!"}, {"f=old"}}, []string{"/f=new"}},
		{"stale whiteout", [][]string{{"d/f!"}, {"d/g=1"}}, []string{"/d/", "/d/g=1"}},
		{"opaque directory", [][]string{{"d/ opaque", "d/a=1"}, {"d/b=2"}}, []string{"/d/", "/d/a=1"}},
		{"opaque directory in the middle", [][]string{{"d/a=1"}, {"d/ opaque", "d/b=2"}, {"d/c=3"}}, []string{"/d/", "/d/a=1", "/d/b=2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := layout(t, tc.layers...)
			require.Equal(t, tc.want, s.brief("/"))
			s.remount()
			require.Equal(t, tc.want, s.brief("/"))
			s.unmount()
		})
	}
}

func TestLookupThroughFile(t *testing.T) {
	s := layout(t, []string{"x=up"}, []string{"x/a=low"})
	defer s.unmount()
	_, err := s.stat("/x/a")
	require.ErrorIs(t, err, unix.ENOTDIR)
}

func TestMergedAttributesAreTheUpperOnes(t *testing.T) {
	s := layout(t, []string{"d/ 700"}, []string{"d/ 755"})
	defer s.unmount()
	attr := s.mustStat("/d")
	require.EqualValues(t, unix.S_IFDIR|0o700, attr.Mode)
	require.EqualValues(t, 1, attr.Nlink, "a merged directory has one link")
}

// U11 and U53 to U55.
func TestReaddir(t *testing.T) {
	s := layout(t, []string{"d/a", "d/w!", "d/both", "d/sub/"}, []string{"d/w", "d/both", "d/low", "d/sub/"})
	defer s.unmount()
	list, err := s.readdir("/d")
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	require.ElementsMatch(t, []string{"a", "both", "low", "sub"}, names)

	t.Run("one at a time", func(t *testing.T) {
		f := s.mustOpen("/d", unix.O_RDONLY|unix.O_DIRECTORY)
		defer f.Close(t.Context())
		var names []string
		for {
			name := readOne(t, f)
			if name == "" {
				break
			}
			names = append(names, name)
		}
		require.ElementsMatch(t, []string{".", "..", "a", "both", "low", "sub"}, names)
	})
	t.Run("changes show after a rewind", func(t *testing.T) {
		f := s.mustOpen("/d", unix.O_RDONLY|unix.O_DIRECTORY)
		defer f.Close(t.Context())
		for range 3 {
			readOne(t, f)
		}
		require.NoError(t, s.write("/d/new", ""))
		require.NoError(t, s.unlink("/d/low"))
		var rest []string
		for name := readOne(t, f); name != ""; name = readOne(t, f) {
			rest = append(rest, name)
		}
		require.NotContains(t, rest, "new")
		require.Contains(t, rest, "both", "an entry that did not change is not skipped")
		_, err := f.Seek(t.Context(), 0, unix.SEEK_SET)
		require.NoError(t, err)
		var again []string
		for name := readOne(t, f); name != ""; name = readOne(t, f) {
			again = append(again, name)
		}
		require.ElementsMatch(t, []string{".", "..", "a", "both", "new", "sub"}, again)
	})
}

func TestUnionOfLowerLayers(t *testing.T) {
	low := newLayer(t, "d/f=low")
	top := newLayer(t, "d/g=top")
	tr := mount(t, newUnion(t, unionfs.UpperAbsent, top, low))
	defer tr.unmount()
	require.Equal(t, []string{"f", "g"}, tr.names("/d"))
	for name, err := range map[string]error{
		"mkdir existing": tr.mkdir("/d"),
	} {
		require.ErrorIs(t, err, unix.EEXIST, name)
	}
	for name, err := range map[string]error{
		"mkdir":     tr.mkdir("/e"),
		"create":    tr.write("/new", ""),
		"write":     tr.openClose("/d/f", unix.O_WRONLY),
		"unlink":    tr.unlink("/d/f"),
		"rmdir":     tr.rmdir("/d"),
		"chmod":     tr.chmod("/d/f", 0o600),
		"chmod dir": tr.chmod("/d", 0o700),
		"link":      tr.link("/d/f", "/l"),
		"rename":    tr.rename("/d/f", "/l", 0),
		"setxattr":  tr.setxattr("/d/f", "user.a", "b"),
		"symlink":   tr.symlink("x", "/l"),
	} {
		require.Truef(t, is(err, unix.EROFS), "%s: %v", name, err)
	}
	require.NoError(t, tr.openClose("/d/f", unix.O_RDONLY|unix.O_CREAT), "opening what exists needs no change")
}
