package unionfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// U43 and U44: names of one lower file stay one file, and are counted right.
func TestHardLinks(t *testing.T) {
	lower := []string{"d/a=text", "e/b == d/a", "c == d/a", "other=1"}
	for _, tc := range []struct {
		name  string
		steps []step
		same  []string // names of the one file
		text  string
	}{
		{"nothing", nil, []string{"/d/a", "/e/b", "/c"}, "text"},
		{"write", []step{write("/d/a", "TEXT", nil)}, []string{"/d/a", "/e/b", "/c"}, "TEXT"},
		{"write by two names", []step{write("/d/a", "TEXT", nil), write("/e/b", "next", nil)}, []string{"/d/a", "/e/b", "/c"}, "next"},
		{"chmod", []step{{"chmod", func(s *stack) error { return s.chmod("/c", 0o600) }, nil}}, []string{"/d/a", "/e/b", "/c"}, "text"},
		{"unlink one", []step{unlink("/d/a", nil)}, []string{"/e/b", "/c"}, "text"},
		{"unlink two", []step{unlink("/d/a", nil), unlink("/c", nil)}, []string{"/e/b"}, "text"},
		{"unlink one, write", []step{unlink("/d/a", nil), write("/c", "TEXT", nil)}, []string{"/e/b", "/c"}, "TEXT"},
		{"write, unlink one", []step{write("/c", "TEXT", nil), unlink("/c", nil)}, []string{"/d/a", "/e/b"}, "TEXT"},
		{"rename one", []step{rename("/c", "/x", nil)}, []string{"/d/a", "/e/b", "/x"}, "text"},
		{"rename one, write", []step{rename("/c", "/d/x", nil), write("/e/b", "TEXT", nil)}, []string{"/d/a", "/e/b", "/d/x"}, "TEXT"},
		{"rename there and back", []step{rename("/c", "/x", nil), rename("/x", "/c", nil)}, []string{"/d/a", "/e/b", "/c"}, "text"},
		{"rename one over another", []step{rename("/c", "/d/a", nil)}, []string{"/d/a", "/e/b", "/c"}, "text"},
		{"rename over one", []step{rename("/other", "/c", nil)}, []string{"/d/a", "/e/b"}, "text"},
		{"exchange", []step{rename2("/other", "/c", unix.RENAME_EXCHANGE, nil)}, []string{"/d/a", "/e/b", "/other"}, "text"},
		{"link", []step{link("/c", "/x", nil)}, []string{"/d/a", "/e/b", "/c", "/x"}, "text"},
		{"link, unlink", []step{link("/c", "/x", nil), unlink("/d/a", nil), unlink("/c", nil)}, []string{"/e/b", "/x"}, "text"},
		{"all but a new one", []step{link("/c", "/x", nil), unlink("/d/a", nil), unlink("/c", nil), unlink("/e/b", nil)}, []string{"/x"}, "text"},
		{"unlink all", []step{unlink("/d/a", nil), unlink("/e/b", nil), unlink("/c", nil)}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			low := newLayer(t, lower...)
			before := dumpLayer(t, low)
			s := newStack(t, newLayer(t), low)
			ino := s.mustStat("/c").Ino
			for _, st := range tc.steps {
				st.run(t, s)
			}
			check := func(when string) {
				for _, name := range tc.same {
					attr := s.mustStat(name)
					require.Equal(t, ino, attr.Ino, "inode of %s %s", name, when)
					require.EqualValues(t, len(tc.same), attr.Nlink, "links of %s %s", name, when)
					require.Equal(t, tc.text, s.mustRead(name), "%s %s", name, when)
				}
				require.NotContains(t, s.names("/"), ".overlay-index")
			}
			check("at once")
			whole := s.dump(dumpLinks | dumpIno)
			s.remount()
			check("after a remount")
			require.Equal(t, whole, s.dump(dumpLinks|dumpIno))
			s.unmount()
			require.Equal(t, before, dumpLayer(t, low), "lower layer")
			if tc.same == nil {
				require.Equal(t, 0, countFiles(t, s.layers[0]), "space of a file without a name")
			}
		})
	}
}

// countFiles counts the regular files of a layer, whatever they are called.
func countFiles(t *testing.T, fs vfs.FileSystem) int {
	t.Helper()
	tr := mount(t, fs)
	defer tr.unmount()
	n := 0
	var count func(dir string)
	count = func(dir string) {
		for _, name := range tr.names(dir) {
			switch tr.mustStat(dir+name).Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				count(dir + name + "/")
			case unix.S_IFREG:
				n++
			}
		}
	}
	count("/")
	return n
}

// The copy goes with the last name, or, after a crash in between, at the next mount.
func TestIndexEntryGoes(t *testing.T) {
	s := layout(t, nil, []string{"a=1", "b == a"})
	require.NoError(t, s.write("/a", "2"))
	s.unmount()
	require.Equal(t, 1, countFiles(t, s.layers[0]))

	t.Run("last name", func(t *testing.T) {
		s := layout(t, nil, []string{"a=1", "b == a"})
		require.NoError(t, s.write("/a", "2"))
		require.NoError(t, s.unlink("/a"))
		require.NoError(t, s.unlink("/b"))
		s.unmount()
		require.Zero(t, countFiles(t, s.layers[0]))
	})
	t.Run("next mount", func(t *testing.T) {
		up := mount(t, s.layers[0])
		for _, name := range []string{"/a", "/b"} {
			up.whiteout(name)
		}
		entry := "/.overlay-index/" + up.names("/.overlay-index")[0]
		require.NoError(t, up.setxattr(entry, "overlay.nlink", "A0"))
		up.unmount()
		newStack(t, s.layers...).unmount()
		require.Zero(t, countFiles(t, s.layers[0]))
	})
}

func TestHardLinkedSymlinkAndFifo(t *testing.T) {
	s := layout(t, nil, []string{"l => x", "m == l", "p|", "q == p"})
	defer func() { s.unmount() }()
	for _, pair := range [][2]string{{"/l", "/m"}, {"/p", "/q"}} {
		require.NoError(t, s.chown(pair[0], 7, 8))
		require.NoError(t, s.rename(pair[0], pair[0]+"2", 0))
		s.remount()
		a, b := s.mustStat(pair[0]+"2"), s.mustStat(pair[1])
		require.Equal(t, a, b)
		require.EqualValues(t, 2, a.Nlink)
		require.EqualValues(t, 7, a.UID)
	}
}

// The index reserves no name: it moves when its own is asked for.
func TestIndexMovesAway(t *testing.T) {
	s := layout(t, nil, []string{"a=1", "b == a", "f=2"})
	require.NoError(t, s.write("/a", "9"))
	_, err := s.stat("/.overlay-index")
	require.ErrorIs(t, err, unix.ENOENT)
	for _, st := range []step{
		mkdir("/.overlay-index", nil), create("/.overlay-index/f", nil), rename("/f", "/.overlay-index.1", nil),
		unlink("/.overlay-index.1", nil), link("/b", "/.overlay-index.1", nil),
	} {
		st.run(t, s)
	}
	want := []string{"/.overlay-index/", "/.overlay-index/f=", "/.overlay-index.1=9", "/a=9", "/b=9"}
	require.ElementsMatch(t, want, s.brief("/"))
	s.remount()
	require.ElementsMatch(t, want, s.brief("/"))
	require.EqualValues(t, 3, s.mustStat("/b").Nlink)
	s.unmount()
}

// An upper layer that becomes a lower one does not show its index, but the index
// still tells what is one file.
func TestIndexOfLowerLayer(t *testing.T) {
	s := layout(t, nil, []string{"a=1", "b == a", "c == a"})
	require.NoError(t, s.write("/a", "9"))
	require.NoError(t, s.rename("/c", "/d", 0))
	s.unmount()
	u := newStack(t, append([]vfs.FileSystem{newLayer(t)}, s.layers...)...)
	defer func() { u.unmount() }()
	_, err := u.stat("/.overlay-index")
	require.ErrorIs(t, err, unix.ENOENT)
	want := u.dump(dumpIno | dumpLinks)
	for _, name := range []string{"/a", "/b", "/d"} {
		require.Equal(t, u.mustStat("/a"), u.mustStat(name))
		require.EqualValues(t, 3, u.mustStat(name).Nlink)
	}
	require.Equal(t, []string{"/a=9", "/b=9", "/d=9"}, u.brief("/"))
	require.NoError(t, u.openClose("/b", unix.O_RDWR))
	require.Equal(t, want, u.dump(dumpIno|dumpLinks), "after a copy-up")
	u.remount()
	require.Equal(t, want, u.dump(dumpIno|dumpLinks), "after a remount")
	require.NoError(t, u.unlink("/a"))
	require.NoError(t, u.write("/d", "8"))
	require.Equal(t, []string{"/b=8", "/d=8"}, u.brief("/"))
}
