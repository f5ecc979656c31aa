package treecopy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func lookup(t *testing.T, dir vfs.Path, names ...string) vfs.Path {
	t.Helper()
	p := dir.Get()
	for _, name := range names {
		next, err := vfs.Lookup(t.Context(), vfs.RootCred(), p, name)
		p.Put()
		require.NoError(t, err, "lookup %s", name)
		p = next
	}
	t.Cleanup(p.Put)
	return p
}

func attr(t *testing.T, p vfs.Path) vfs.Attr {
	t.Helper()
	a, err := vfs.Getattr(t.Context(), p, unix.STATX_BASIC_STATS)
	require.NoError(t, err)
	return a
}

func contents(t *testing.T, p vfs.Path) string {
	t.Helper()
	f, err := vfs.OpenPath(t.Context(), vfs.RootCred(), p, unix.O_RDONLY)
	require.NoError(t, err)
	defer f.Close(t.Context())
	buf := make([]byte, attr(t, p).Size)
	n, err := f.ReadAt(t.Context(), buf, 0)
	require.NoError(t, err)
	return string(buf[:n])
}

func TestCopy(t *testing.T) {
	src := t.TempDir()
	old := time.Unix(1_000_000_000, 42)
	at := func(name string) string { return filepath.Join(src, name) }
	require.NoError(t, os.MkdirAll(at("a/b"), 0o755))
	require.NoError(t, os.WriteFile(at("a/b/f"), []byte("data"), 0o600))
	require.NoError(t, os.Chmod(at("a/b/f"), 0o4711|os.ModeSetuid))
	require.NoError(t, os.Symlink("b/f", at("a/l")))
	require.NoError(t, os.Link(at("a/b/f"), at("hard")))
	require.NoError(t, unix.Mkfifo(at("fifo"), 0o640))
	hole, err := os.Create(at("hole"))
	require.NoError(t, err)
	_, err = hole.WriteAt([]byte("mid"), 2<<20)
	require.NoError(t, err)
	require.NoError(t, hole.Truncate(4<<20))
	require.NoError(t, hole.Close())
	require.NoError(t, os.WriteFile(at("large"), make([]byte, 3<<20+1), 0o600))
	require.NoError(t, os.Chmod(src, 0o711))
	for _, name := range []string{"a/b/f", "a/b", "."} {
		require.NoError(t, os.Chtimes(at(name), old, old))
	}

	want, err := treecopy.Scan(t.Context(), src)
	require.NoError(t, err)
	dst := target(t)
	var entries, bytes int64
	got, err := treecopy.Copy(t.Context(), treecopy.Config{
		Target: dst, Cred: vfs.RootCred(),
		Progress: func(e, b int64) { entries += e; bytes += b },
	}, src)
	require.NoError(t, err)
	require.Equal(t, treecopy.Totals{Files: 3, Dirs: 2, Symlinks: 1, Specials: 1, Links: 1, Bytes: want.Bytes}, want)
	require.Equal(t, want.Entries(), got.Entries())
	require.Equal(t, got.Entries(), entries)
	require.Equal(t, got.Bytes, bytes)

	f := lookup(t, dst, "a", "b", "f")
	require.Equal(t, "data", contents(t, f))
	a := attr(t, f)
	require.EqualValues(t, unix.S_IFREG|0o4711, a.Mode)
	require.Equal(t, old.UnixNano(), a.Mtime.Nano())
	require.EqualValues(t, 2, a.Nlink)
	require.Equal(t, a.Ino, attr(t, lookup(t, dst, "hard")).Ino)
	require.Equal(t, old.UnixNano(), ptr(attr(t, lookup(t, dst, "a", "b"))).Mtime.Nano())
	root := attr(t, dst)
	require.EqualValues(t, unix.S_IFDIR|0o711, root.Mode)
	require.Equal(t, old.UnixNano(), root.Mtime.Nano())
	link, err := vfs.Readlink(t.Context(), lookup(t, dst, "a", "l"))
	require.NoError(t, err)
	require.Equal(t, "b/f", link)
	require.EqualValues(t, unix.S_IFIFO|0o640, attr(t, lookup(t, dst, "fifo")).Mode)
	h := lookup(t, dst, "hole")
	require.Equal(t, "mid\x00", contents(t, h)[2<<20:2<<20+4])
	require.EqualValues(t, 4<<20, attr(t, h).Size)
	require.Less(t, attr(t, h).Blocks, int64(64), "holes stay holes")
}

func ptr[T any](v T) *T { return &v }

func TestErrorsNameThePlace(t *testing.T) {
	src := t.TempDir()
	_, err := treecopy.Scan(t.Context(), filepath.Join(src, "none"))
	var e *treecopy.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, filepath.Join(src, "none"), e.Path)
	require.ErrorIs(t, err, unix.ENOENT)

	require.NoError(t, os.WriteFile(filepath.Join(src, "f"), []byte("new"), 0o600))
	dst := target(t)
	p, err := vfs.Create(t.Context(), vfs.RootCred(), dst, "f", 0o600, vfs.CreateOptions{})
	require.NoError(t, err)
	p.Put()
	_, err = treecopy.Copy(t.Context(), treecopy.Config{Target: dst, Cred: vfs.RootCred()}, src)
	require.ErrorAs(t, err, &e)
	require.Equal(t, filepath.Join(src, "f"), e.Path)
	require.ErrorIs(t, err, unix.EEXIST)
}

func TestCancel(t *testing.T) {
	src := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(src, "f"), nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := treecopy.Scan(ctx, src)
	require.ErrorIs(t, err, context.Canceled)
	_, err = treecopy.Copy(ctx, treecopy.Config{Target: target(t), Cred: vfs.RootCred()}, src)
	require.ErrorIs(t, err, context.Canceled)
}
