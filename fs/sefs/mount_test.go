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
		"other signer":       {platform: machine(t, 1, 2, nil), text: "another signer"},
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
	require.Equal(t, sefs.Info{
		UUID: info.UUID, Generation: 1, Sealed: true, Platform: "simulation", Policy: "unique",
		Slots: []sefs.KeySlot{{Kind: sefs.KeySealed, Created: info.Slots[0].Created, Platform: "simulation", Policy: "unique", Version: 3}},
	}, info)
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
