package sefs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/mountopt"
	"cloister/vfs"
)

func openStack(t *testing.T, typ *sefs.Type, lower []string, upper string, flags uintptr) ([]vfs.FileSystem, error) {
	key, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	layers, err := mountopt.Layers(lower, nil)
	require.NoError(t, err)
	return typ.OpenStack(t.Context(), layers, upper, key, flags)
}

func TestOpenStack(t *testing.T) {
	base := t.TempDir()
	dir := func(name string) string {
		p := filepath.Join(base, name)
		require.NoError(t, os.MkdirAll(p, 0o700))
		return p
	}
	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	for _, name := range []string{"l1", "l2", "other"} {
		f, err := mount(t, typ, "dir="+dir(name)+",key="+keyText, 0)
		require.NoError(t, err)
		_, err = f.Root().Mkdir(t.Context(), "from-"+name, vfs.CreateAttr{Mode: 0o755})
		require.NoError(t, err)
		umount(t, f)
	}
	l1, l2, empty, upper := dir("l1"), dir("l2"), dir("empty"), dir("upper")
	lowers := content(t, l1)

	layers, err := openStack(t, typ, []string{l1, empty, l2}, upper, 0)
	require.NoError(t, err)
	require.Len(t, layers, 4)
	_, err = layers[0].Root().Mkdir(t.Context(), "from-upper", vfs.CreateAttr{Mode: 0o755})
	require.NoError(t, err, "the upper layer comes first and can be written")
	for n, name := range map[int]string{1: "from-l1", 3: "from-l2"} {
		i, err := layers[n].Root().Lookup(t.Context(), name)
		require.NoError(t, err)
		vfs.UnpinInode(t.Context(), i)
		_, err = layers[n].Root().Mkdir(t.Context(), "x", vfs.CreateAttr{})
		require.ErrorIs(t, err, unix.EROFS)
	}
	checkEmpty(t, layers[2])

	t.Run("shared lower", func(t *testing.T) {
		more, err := openStack(t, typ, []string{l1}, "", 0)
		require.NoError(t, err, "two stacks may have the same lower image")
		umount(t, more...)
		_, err = mount(t, typ, "dir="+l1+",key="+keyText, 0)
		require.ErrorIs(t, err, unix.EBUSY, "but nobody may write it")
		_, err = openStack(t, typ, []string{l1}, upper, 0)
		require.ErrorIs(t, err, unix.EBUSY, "nor share the upper one")
		_, err = openStack(t, typ, []string{upper}, "", 0)
		require.ErrorIs(t, err, unix.EBUSY)
	})
	umount(t, layers...)
	require.Equal(t, lowers, content(t, l1))
	require.Len(t, content(t, empty), 1)

	t.Run("read-only", func(t *testing.T) {
		before := content(t, base)
		layers, err := openStack(t, typ, []string{l1}, upper, unix.MS_RDONLY)
		require.NoError(t, err)
		_, err = layers[0].Root().Mkdir(t.Context(), "x", vfs.CreateAttr{})
		require.ErrorIs(t, err, unix.EROFS)
		umount(t, layers...)
		require.Equal(t, before, content(t, base))
	})
	t.Run("new upper", func(t *testing.T) {
		layers, err := openStack(t, typ, []string{l1}, dir("fresh"), 0)
		require.NoError(t, err)
		umount(t, layers...)
	})
}

func TestOpenStackErrors(t *testing.T) {
	base := t.TempDir()
	dir := func(name string) string {
		p := filepath.Join(base, name)
		require.NoError(t, os.MkdirAll(p, 0o700))
		return p
	}
	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	image := dir("image")
	f, err := mount(t, typ, "dir="+image+",key="+keyText, 0)
	require.NoError(t, err)
	umount(t, f)
	foreign := dir("foreign")
	f, err = mount(t, typ, "dir="+foreign+",key="+otherKey, 0)
	require.NoError(t, err)
	umount(t, f)
	copied := filepath.Join(base, "copy")
	require.NoError(t, os.CopyFS(copied, os.DirFS(image)))
	link := filepath.Join(base, "link")
	require.NoError(t, os.Symlink(image, link))
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	full := dir("full")
	dir("full/x")
	upper, nested := dir("upper"), dir("outer/inner")
	before := content(t, base)

	for name, c := range map[string]struct {
		lower []string
		upper string
		want  unix.Errno
	}{
		"nothing":            {nil, "", unix.EINVAL},
		"lower missing":      {[]string{base + "/nope"}, upper, unix.ENOENT},
		"lower is a file":    {[]string{file}, upper, unix.ENOTDIR},
		"upper missing":      {[]string{image}, base + "/nope", unix.ENOENT},
		"upper is a file":    {[]string{image}, file, unix.ENOTDIR},
		"upper is no image":  {[]string{image}, full, unix.EINVAL},
		"lower is no image":  {[]string{image, full}, upper, unix.EINVAL},
		"same":               {[]string{image}, image, unix.ELOOP},
		"same by a symlink":  {[]string{image}, link, unix.ELOOP},
		"same spelled anew":  {[]string{image}, base + "/./upper/../image/", unix.ELOOP},
		"lower twice":        {[]string{image, image}, upper, unix.ELOOP},
		"same image, copied": {[]string{image, copied}, upper, unix.ELOOP},
		"copy as upper":      {[]string{image}, copied, unix.ELOOP},
		"upper inside lower": {[]string{filepath.Dir(nested)}, nested, unix.ELOOP},
		"lower inside upper": {[]string{nested}, filepath.Dir(nested), unix.ELOOP},
		"lower inside lower": {[]string{nested, filepath.Dir(nested)}, upper, unix.ELOOP},
		"other key":          {[]string{image, foreign}, upper, unix.EACCES},
		"other key, upper":   {[]string{image}, foreign, unix.EACCES},
	} {
		layers, err := openStack(t, typ, c.lower, c.upper, 0)
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, layers, name)
		require.Equal(t, before, content(t, base), "%s: nothing on the host changed", name)
	}
	layers, err := openStack(t, typ, []string{image}, upper, 0)
	require.NoError(t, err, "all images are free")
	umount(t, layers...)
}
