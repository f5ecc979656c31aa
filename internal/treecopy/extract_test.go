package treecopy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloister/internal/testenv"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func extract(t *testing.T, root vfs.Path, dst string) error {
	t.Helper()
	_, err := treecopy.Extract(t.Context(), treecopy.ExtractConfig{Source: root, Cred: vfs.RootCred(), Replace: true}, dst)
	return err
}

func TestExtractRoundTrip(t *testing.T) {
	first := copied(t, oddTree(t))
	dst := t.TempDir()
	var entries, bytes int64
	totals, err := treecopy.Extract(t.Context(), treecopy.ExtractConfig{
		Source: first, Cred: vfs.RootCred(), Progress: func(e, b int64) { entries += e; bytes += b },
	}, dst)
	require.NoError(t, err)
	require.Equal(t, totals.Entries(), entries)
	require.Equal(t, totals.Bytes, bytes)
	expected, err := treecopy.Scan(t.Context(), dst)
	require.NoError(t, err)
	require.Equal(t, expected.Entries(), totals.Entries())
	require.EqualValues(t, 2, totals.Links)
	second := copied(t, dst)
	require.Empty(t, changes(t, first, second))
	require.Equal(t, attr(t, lookup(t, first, "size-4095")).Atime, attr(t, lookup(t, second, "size-4095")).Atime)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(dst, "hole-only"), &st))
	require.Zero(t, st.Blocks, "holes stay holes")

	require.NoError(t, extract(t, first, dst), "once more over itself")
	require.Empty(t, changes(t, first, copied(t, dst)))
	left, err := filepath.Glob(filepath.Join(dst, ".cloister*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// host makes a host directory after names: "d/", "f", "a => b".
func host(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		makeHost(t, dir, name)
	}
	return dir
}

func makeHost(t *testing.T, dir, name string) {
	t.Helper()
	if name[len(name)-1] == '/' {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		return
	}
	for i := range len(name) - 3 {
		if name[i:i+4] == " => " {
			require.NoError(t, os.Symlink(name[i+4:], filepath.Join(dir, name[:i])))
			return
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("content of "+name), 0o644))
}

func TestExtractStaysInside(t *testing.T) {
	for name, row := range map[string]struct {
		tree []string // to be extracted
		host []string // what is there already; OUT is a directory outside
		err  error
	}{
		"a file over a symbolic link":               {[]string{"f"}, []string{"f => OUT/victim"}, nil},
		"a link over a symbolic link":               {[]string{"f => x"}, []string{"f => OUT/victim"}, nil},
		"a directory over a symbolic link":          {[]string{"d/", "d/victim"}, []string{"d => OUT"}, unix.ENOTDIR},
		"a directory below a symbolic link":         {[]string{"d/", "d/e/", "d/e/victim"}, []string{"d/", "d/e => OUT"}, unix.ENOTDIR},
		"a directory over a file":                   {[]string{"d/", "d/f"}, []string{"d"}, unix.ENOTDIR},
		"a file over a directory":                   {[]string{"d"}, []string{"d/"}, unix.EISDIR},
		"a file over a FIFO that nobody reads":      {[]string{"f"}, []string{"f"}, nil},
		"symbolic links that lead out are only put": {[]string{"a => ../../..", "b => /etc", "c => a/b"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := copied(t, host(t, row.tree...))
			out, dst := host(t, "victim"), t.TempDir()
			for _, name := range row.host {
				makeHost(t, dst, filepath.Clean(replaceOut(name, out))+slash(name))
			}
			err := extract(t, root, dst)
			if row.err == nil {
				require.NoError(t, err)
				require.Empty(t, changes(t, root, copied(t, dst)))
			} else {
				var e *treecopy.Error
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, row.err)
			}
			text, err := os.ReadFile(filepath.Join(out, "victim"))
			require.NoError(t, err)
			require.Equal(t, "content of victim", string(text))
			names, err := os.ReadDir(out)
			require.NoError(t, err)
			require.Len(t, names, 1)
		})
	}
}

func slash(name string) string {
	if name[len(name)-1] == '/' {
		return "/"
	}
	return ""
}

func replaceOut(name, out string) string {
	for i := range name {
		if len(name) >= i+3 && name[i:i+3] == "OUT" {
			return name[:i] + out + name[i+3:]
		}
	}
	return name
}

func TestExtractRefusesToReplace(t *testing.T) {
	root := copied(t, host(t, "a", "d/", "d/f", "l => x"))
	for _, name := range []string{"a", "d/", "l"} {
		t.Run(name, func(t *testing.T) {
			dst := host(t, name)
			_, err := treecopy.Extract(t.Context(), treecopy.ExtractConfig{Source: root, Cred: vfs.RootCred()}, dst)
			require.ErrorIs(t, err, unix.EEXIST)
			if name == "a" {
				text, err := os.ReadFile(filepath.Join(dst, name))
				require.NoError(t, err)
				require.Equal(t, "content of a", string(text))
			}
		})
	}
}

func TestExtractLeavesNoPieces(t *testing.T) {
	root := copied(t, host(t, "a"))
	dst := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := treecopy.Extract(ctx, treecopy.ExtractConfig{Source: root, Cred: vfs.RootCred(), Progress: func(_, bytes int64) {
		if bytes > 0 {
			// A file that is complete in the middle of the copy has no times yet.
			require.NoError(t, os.Chtimes(filepath.Join(dst, "a"), time.Unix(1, 0), time.Unix(1, 0)))
			require.NoError(t, os.Remove(filepath.Join(dst, "a")))
			cancel()
		}
	}}, dst)
	require.Error(t, err, "the file was taken away")
	names, err := os.ReadDir(dst)
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestExtractWithoutPrivilege(t *testing.T) {
	testenv.NeedRoot(t)
	src := host(t, "f", "d/", "d/g")
	require.NoError(t, os.Chown(filepath.Join(src, "f"), 4321, 4321))
	require.NoError(t, os.Chmod(filepath.Join(src, "f"), 0o755|os.ModeSetuid))
	require.NoError(t, os.Chmod(filepath.Join(src, "d"), 0o500))
	root := copied(t, src)
	dst, err := os.MkdirTemp("", "cloister-nobody") // nobody may not walk into t.TempDir
	require.NoError(t, err)
	defer os.RemoveAll(dst)
	require.NoError(t, os.Chown(dst, 65534, 65534))
	var totals treecopy.Totals
	asNobody(t, func() (err error) {
		totals, err = treecopy.Extract(t.Context(), treecopy.ExtractConfig{Source: root, Cred: vfs.RootCred()}, dst)
		return err
	})
	require.EqualValues(t, 4, totals.Foreign, "with the root itself")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(dst, "f"), &st))
	require.EqualValues(t, unix.S_IFREG|0o755, st.Mode, "no set-id bit for another owner")
	require.EqualValues(t, 65534, st.Uid)
	require.NoError(t, unix.Stat(filepath.Join(dst, "d"), &st))
	require.EqualValues(t, unix.S_IFDIR|0o500, st.Mode)
	asNobody(t, func() error { return treecopy.RemoveContents(dst) })
	names, err := os.ReadDir(dst)
	require.NoError(t, err)
	require.Empty(t, names)
}
