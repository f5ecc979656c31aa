package treecopy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestCompare(t *testing.T) {
	for name, row := range map[string]struct {
		old, new []string
		change   func(dir string) error // of new
		want     []string
	}{
		"equal":            {[]string{"a", "d/", "d/f"}, []string{"a", "d/", "d/f"}, nil, nil},
		"added":            {[]string{"b"}, []string{"a", "b", "c/", "c/x"}, nil, []string{`added "/a"`, `added "/c"`, `added "/c/x"`}},
		"removed":          {[]string{"a/", "a/b/", "a/b/c", "d"}, []string{"d"}, nil, []string{`removed "/a"`, `removed "/a/b"`, `removed "/a/b/c"`}},
		"another type":     {[]string{"a/", "a/b"}, []string{"a"}, nil, []string{`changed "/a" type(directory,file)`, `removed "/a/b"`}},
		"and back":         {[]string{"a => x"}, []string{"a/", "a/b"}, nil, []string{`changed "/a" type(symlink,directory)`, `added "/a/b"`}},
		"another target":   {[]string{"a => x"}, []string{"a => y"}, nil, []string{`changed "/a" target(x,y)`}},
		"order":            {[]string{"a", "a.b", "a/"[:1] + "0"}, nil, nil, []string{`removed "/a"`, `removed "/a.b"`, `removed "/a0"`}},
		"mode":             {[]string{"a"}, []string{"a"}, func(d string) error { return os.Chmod(d+"/a", 0o4711|os.ModeSetuid) }, []string{`changed "/a" mode(0644,4711)`}},
		"content":          {[]string{"a"}, []string{"a"}, write("a", "CONTENT OF A"), []string{`changed "/a" content(,)`}},
		"size":             {[]string{"a"}, []string{"a"}, write("a", "short"), []string{`changed "/a" size(12,5)`}},
		"mode of the root": {nil, nil, func(d string) error { return os.Chmod(d, 0o700) }, []string{`changed "/" mode(0755,0700)`}},
		"time": {[]string{"a"}, []string{"a"}, func(d string) error { return os.Chtimes(d+"/a", time.Time{}, time.Unix(0, 1)) },
			[]string{`changed "/a" mtime(1970-01-01T00:01:40Z,1970-01-01T00:00:00.000000001Z)`}},
		"a hard link more": {[]string{"a"}, []string{"a"}, func(d string) error { return os.Link(d+"/a", d+"/b") }, []string{`changed "/a" links(1,2)`, `added "/b"`}},
		"fewer hard links": {[]string{"a", "b"}, []string{"a"}, func(d string) error { return os.Link(d+"/a", d+"/b") },
			[]string{`changed "/a" links(1,2)`, `changed "/b" content(,) links(1,2)`}},
	} {
		t.Run(name, func(t *testing.T) {
			old, new := host(t, row.old...), host(t, row.new...)
			settle(t, old)
			settle(t, new)
			if row.change != nil {
				before := time.Unix(100, 0)
				require.NoError(t, row.change(new))
				if name != "time" {
					settle(t, new)
				} else {
					require.NoError(t, os.Chtimes(new, before, before))
				}
			}
			require.Equal(t, row.want, changes(t, copied(t, old), copied(t, new)))
		})
	}
}

func write(name, text string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) }
}

// settle gives all files one time, and the root a mode.
func settle(t *testing.T, dir string) {
	t.Helper()
	ts := []unix.Timespec{{Sec: 100}, {Sec: 100}}
	var dirs []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		dirs = append(dirs, path)
		return err
	}))
	for _, path := range dirs {
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

func TestCompareHardLinks(t *testing.T) {
	// The same counts, but other pairs.
	link := func(t *testing.T, a, b, c, d string) vfs.Path {
		dir := t.TempDir()
		for i, pair := range [][2]string{{a, b}, {c, d}} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, pair[0]), []byte("x"), 0o600), i)
			require.NoError(t, os.Link(filepath.Join(dir, pair[0]), filepath.Join(dir, pair[1])))
		}
		settle(t, dir)
		return copied(t, dir)
	}
	first := link(t, "1", "2", "3", "4")
	require.Empty(t, changes(t, first, link(t, "1", "2", "3", "4")))
	require.Equal(t, []string{`changed "/2" links(,)`, `changed "/3" links(,)`}, changes(t, first, link(t, "1", "3", "2", "4"))[:2])
}

func TestCompareAttributesAndDevices(t *testing.T) {
	make := func(value string, rdev uint64) vfs.Path {
		root := target(t)
		opt := vfs.CreateOptions{Times: &vfs.Times{}, Xattrs: map[string][]byte{"user.v": []byte(value), "overlay.x": []byte(value)}}
		p, err := vfs.Create(t.Context(), vfs.RootCred(), root, "f", 0o600, opt)
		require.NoError(t, err)
		p.Put()
		p, err = vfs.Mknod(t.Context(), vfs.RootCred(), root, "dev", unix.S_IFCHR|0o600, rdev, vfs.CreateOptions{Times: &vfs.Times{}})
		require.NoError(t, err)
		p.Put()
		var req vfs.SetAttrRequest
		req.Mask = unix.STATX_MTIME
		require.NoError(t, vfs.Setattr(t.Context(), vfs.RootCred(), root, req))
		return root
	}
	require.Empty(t, changes(t, make("1", 5), make("1", 5)))
	require.Equal(t, []string{
		fmt.Sprintf(`changed "/dev" device(%d:%d,%d:%d)`, 0, 5, 1, 6),
		`changed "/f" attribute user.v(,)`,
	}, changes(t, make("1", 5), make("2", unix.Mkdev(1, 6))))
}

func TestCompareContentsWithHoles(t *testing.T) {
	old, new := t.TempDir(), t.TempDir()
	sparse(t, filepath.Join(old, "same"), 4<<20, []byte("data"), 2<<20)
	require.NoError(t, os.WriteFile(filepath.Join(new, "same"), append(append(make([]byte, 2<<20), "data"...), make([]byte, 2<<20-4)...), 0o644))
	sparse(t, filepath.Join(old, "other"), 4<<20, []byte("data"), 2<<20)
	sparse(t, filepath.Join(new, "other"), 4<<20, []byte("data"), 3<<20)
	sparse(t, filepath.Join(old, "large"), 1<<40, []byte("data"), 1<<39)
	sparse(t, filepath.Join(new, "large"), 1<<40, []byte("data"), 1<<39)
	for _, dir := range []string{old, new} {
		require.NoError(t, os.Chmod(dir, 0o755))
		for _, name := range []string{"same", "other", "large"} {
			require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o644))
		}
		settle(t, dir)
	}
	require.Equal(t, []string{`changed "/other" content(,)`}, changes(t, copied(t, old), copied(t, new)))
}

func TestCompareStops(t *testing.T) {
	enough := errors.New("enough")
	old, new := copied(t, host(t, "a")), copied(t, host(t, "b"))
	n := 0
	err := treecopy.Compare(t.Context(), vfs.RootCred(), treecopy.Tree{Root: old}, treecopy.Tree{Root: new}, func(treecopy.Change) error {
		n++
		return enough
	})
	require.ErrorIs(t, err, enough)
	require.Equal(t, 1, n)
}
