package sefs_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/fs/sefs"
	"cloister/mountopt"
	"cloister/vfs"
)

const otherKey = "00-11-22-33-44-55-66-77-88-99-aa-bb-cc-dd-ee-ff"

// machine is a platform for tests.
func machine(t *testing.T, secret, signer byte, change func(*sim.Config)) enclave.Platform {
	cfg := sim.Config{MachineSecret: make([]byte, 32), Signer: [32]byte{signer}, ProductID: 1, SecurityVersion: 3}
	cfg.MachineSecret[0] = secret
	if change != nil {
		change(&cfg)
	}
	p, err := sim.New(cfg)
	require.NoError(t, err)
	return p
}

// otherKind is a platform that says it is hardware.
type otherKind struct{ enclave.Platform }

func (otherKind) Kind() string { return enclave.KindSGX }

func mount(t *testing.T, typ *sefs.Type, data string, flags uintptr) (vfs.FileSystem, error) {
	return typ.Mount(t.Context(), vfs.MountRequest{Source: "none", Data: data, Flags: flags, Cred: vfs.RootCred()})
}

func umount(t *testing.T, fsys ...vfs.FileSystem) {
	for _, f := range fsys {
		require.NoError(t, f.Close(context.Background(), vfs.SafeClose))
	}
}

// content lists everything below dir with its bytes.
func content(t *testing.T, dir string) map[string]string {
	out := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out[p] = ""
			return err
		}
		if d.Type() == fs.ModeSymlink {
			out[p], err = os.Readlink(p)
			return err
		}
		b, err := os.ReadFile(p)
		out[p] = string(b)
		return err
	}))
	return out
}

func TestMountErrors(t *testing.T) {
	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	base := t.TempDir()
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	full := filepath.Join(base, "full")
	require.NoError(t, os.MkdirAll(filepath.Join(full, "stranger"), 0o700))
	before := content(t, base)
	for name, c := range map[string]struct {
		data string
		want unix.Errno
	}{
		"no options":     {"", unix.EINVAL},
		"no dir":         {"key=" + keyText, unix.EINVAL},
		"unknown option": {"dir=" + base + ",mac=1", unix.EINVAL},
		"bad key":        {"dir=" + base + ",key=c7", unix.EINVAL},
		"missing":        {"dir=" + base + "/nope,key=" + keyText, unix.ENOENT},
		"file":           {"dir=" + file + ",key=" + keyText, unix.ENOTDIR},
		"below a file":   {"dir=" + file + "/x,key=" + keyText, unix.ENOTDIR},
		"no image":       {"dir=" + full + ",key=" + keyText, unix.EINVAL},
	} {
		_, err := mount(t, typ, c.data, 0)
		require.ErrorIs(t, err, c.want, name)
		require.NotContains(t, err.Error(), keyText, name)
	}
	empty := filepath.Join(base, "empty")
	require.NoError(t, os.Mkdir(empty, 0o700))
	_, err := mount(t, typ, "dir="+empty, 0)
	require.ErrorIs(t, err, unix.EACCES, "no key and no enclave")
	require.NoError(t, os.Remove(empty))
	require.Equal(t, before, content(t, base), "nothing was left on the host")
}

func TestMountMakesAndOpens(t *testing.T) {
	dir := t.TempDir()
	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	require.Equal(t, "sefs", typ.Name())
	data := "dir=" + dir + ",key=" + keyText
	f, err := mount(t, typ, data, 0)
	require.NoError(t, err)
	require.Equal(t, "dir="+dir, f.Options(), "no key in the options")
	a, err := f.Root().Getattr(t.Context(), 0)
	require.NoError(t, err)
	require.EqualValues(t, unix.S_IFDIR|0o755, a.Mode)

	_, err = mount(t, typ, data, 0)
	require.ErrorIs(t, err, unix.EBUSY, "the same image twice")
	_, err = mount(t, typ, data, unix.MS_RDONLY)
	require.ErrorIs(t, err, unix.EBUSY, "the same image twice, for reading")
	_, err = mount(t, sefs.NewType(sefs.Config{}), data, 0)
	require.ErrorIs(t, err, unix.EBUSY, "locked by somebody else")
	umount(t, f)

	before := content(t, dir)
	f, err = mount(t, typ, data, unix.MS_RDONLY)
	require.NoError(t, err)
	_, err = f.Root().Create(t.Context(), "f", vfs.CreateAttr{Mode: 0o600})
	require.ErrorIs(t, err, unix.EROFS)
	umount(t, f)
	require.Equal(t, before, content(t, dir), "a read-only mount writes nothing")

	f, err = mount(t, typ, data, 0)
	require.NoError(t, err, "after an unmount the image is free again")
	umount(t, f)
}

func TestReadOnlyMountOfAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	f, err := mount(t, sefs.NewType(sefs.Config{}), "dir="+dir, unix.MS_RDONLY)
	require.NoError(t, err)
	checkEmpty(t, f)
	umount(t, f)
	require.Len(t, content(t, dir), 1, "nothing was written")
}

// checkEmpty checks an empty read-only file system.
func checkEmpty(t *testing.T, f vfs.FileSystem) {
	ctx, root := t.Context(), f.Root()
	_, err := root.Lookup(ctx, "x")
	require.ErrorIs(t, err, unix.ENOENT)
	_, err = root.Create(ctx, "x", vfs.CreateAttr{})
	require.ErrorIs(t, err, unix.EROFS)
	_, err = root.Mkdir(ctx, "x", vfs.CreateAttr{})
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorIs(t, root.Setattr(ctx, vfs.SetAttr{}), unix.EROFS)
	require.ErrorIs(t, root.Xattrs().Setxattr(ctx, "user.a", nil, 0), unix.EROFS)
	_, err = root.Xattrs().Getxattr(ctx, "overlay.opaque")
	require.ErrorIs(t, err, unix.ENODATA)
	h, err := root.OpenDir(ctx)
	require.NoError(t, err)
	require.NoError(t, h.ReadDir(ctx, 0, func(vfs.Dirent) bool { t.Error("an entry"); return true }))
	st, err := f.Statfs(ctx)
	require.NoError(t, err)
	require.EqualValues(t, sefs.Magic, st.Type)
	require.NoError(t, f.Sync(ctx))
}

// TestKeys opens images with the right and with wrong keys: the error says what
// is wrong, and no byte on the host changes.
func TestKeys(t *testing.T) {
	home := machine(t, 1, 1, nil)
	unique := func(c *sim.Config) { c.Measurement[0] = 9 }
	for name, c := range map[string]struct {
		key      string           // of the image, "" for sealed
		policy   enclave.Policy   // of the image
		platform enclave.Platform // of the opener
		openKey  string
		text     string // in the error; "" for success
	}{
		"same key":           {key: keyText, openKey: keyText},
		"same key elsewhere": {key: keyText, openKey: keyText, platform: machine(t, 2, 2, nil)},
		"other key":          {key: keyText, openKey: otherKey, text: "key"},
		"key missing":        {key: keyText, platform: home, text: "was made with a key"},
		"sealed":             {platform: home},
		"sealed new program": {platform: machine(t, 1, 1, unique)},
		"sealed newer version": {platform: machine(t, 1, 1, func(c *sim.Config) {
			c.SecurityVersion++
		})},
		"sealed older version": {platform: machine(t, 1, 1, func(c *sim.Config) {
			c.SecurityVersion--
		}), text: "security version"},
		"other signer":       {platform: machine(t, 1, 2, nil), text: "another signer or product"},
		"other machine":      {platform: machine(t, 2, 1, nil), text: "another machine"},
		"other platform":     {platform: otherKind{home}, text: `sealed by platform "simulation"`},
		"no platform":        {text: "sealed to an enclave"},
		"key for sealed":     {platform: home, openKey: keyText, text: "was made without a key"},
		"unique":             {policy: enclave.Unique, platform: home},
		"unique new program": {policy: enclave.Unique, platform: machine(t, 1, 1, unique), text: "another program"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			data := "dir=" + dir
			if c.key != "" {
				data += ",key=" + c.key
			}
			f, err := mount(t, sefs.NewType(sefs.Config{Platform: home, Policy: c.policy}), data, 0)
			require.NoError(t, err)
			umount(t, f)
			before := content(t, dir)

			data = "dir=" + dir
			if c.openKey != "" {
				data += ",key=" + c.openKey
			}
			for _, flags := range []uintptr{unix.MS_RDONLY, 0} {
				f, err = mount(t, sefs.NewType(sefs.Config{Platform: c.platform}), data, flags)
				if c.text == "" {
					require.NoError(t, err)
					umount(t, f)
					continue
				}
				require.ErrorIs(t, err, unix.EACCES)
				require.ErrorContains(t, err, c.text)
				require.NotContains(t, err.Error(), otherKey)
				require.Equal(t, before, content(t, dir), "a refused mount changes nothing")
			}
		})
	}
}

func openStack(t *testing.T, typ *sefs.Type, lower []string, upper string, flags uintptr) ([]vfs.FileSystem, error) {
	key, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	return typ.OpenStack(t.Context(), lower, upper, key, flags)
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

func TestAbandonReleasesAllImages(t *testing.T) {
	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	var dirs []string
	for n := range 3 {
		dir := t.TempDir()
		dirs = append(dirs, dir)
		f, err := mount(t, typ, "dir="+dir+",key="+keyText, 0)
		require.NoError(t, err)
		i, err := f.Root().Mkdir(t.Context(), fmt.Sprint("synced", n), vfs.CreateAttr{Mode: 0o755})
		require.NoError(t, err)
		vfs.UnpinInode(t.Context(), i)
		require.NoError(t, f.Sync(t.Context()))
		_, err = f.Root().Mkdir(t.Context(), "lost", vfs.CreateAttr{Mode: 0o755})
		require.NoError(t, err)
	}
	typ.Abandon()
	for n, dir := range dirs {
		f, err := mount(t, typ, "dir="+dir+",key="+keyText, 0)
		require.NoError(t, err)
		i, err := f.Root().Lookup(t.Context(), fmt.Sprint("synced", n))
		require.NoError(t, err)
		vfs.UnpinInode(t.Context(), i)
		_, err = f.Root().Lookup(t.Context(), "lost")
		require.ErrorIs(t, err, unix.ENOENT)
		umount(t, f)
	}
}

func TestToolsOpenAndInspect(t *testing.T) {
	dir, home := t.TempDir(), machine(t, 1, 1, nil)
	made, err := sefs.Make(t.Context(), dir, sefs.MakeConfig{
		OpenConfig: sefs.OpenConfig{Platform: home}, Policy: enclave.Unique, Mode: 0o700, UID: 5, GID: 6,
	})
	require.NoError(t, err)
	info := made.Info()
	require.Equal(t, sefs.Info{UUID: info.UUID, Sealed: true, Platform: "simulation", Policy: "unique"}, info)
	require.Len(t, info.UUID, 32)
	umount(t, made)
	seen, err := sefs.Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, info, seen)

	before := content(t, dir)
	f, err := sefs.Open(t.Context(), dir, sefs.OpenConfig{Platform: home, Access: sefs.ReadOnly})
	require.NoError(t, err)
	a, err := f.Root().Getattr(t.Context(), 0)
	require.NoError(t, err)
	require.EqualValues(t, unix.S_IFDIR|0o700, a.Mode)
	require.EqualValues(t, 5, a.UID)
	require.EqualValues(t, 6, a.GID)
	umount(t, f)
	require.Equal(t, before, content(t, dir))

	_, err = sefs.Make(t.Context(), dir, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Platform: home}})
	require.ErrorIs(t, err, unix.EINVAL, "not empty")
	_, err = sefs.Open(t.Context(), t.TempDir(), sefs.OpenConfig{Platform: home})
	require.ErrorIs(t, err, unix.EINVAL, "no image")
	_, err = sefs.Inspect(t.TempDir())
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = sefs.Inspect(dir + "/nope")
	require.ErrorIs(t, err, unix.ENOENT)
}
