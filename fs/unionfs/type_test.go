package unionfs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/unionfs"
	"cloister/mountopt"
	"cloister/vfs"
)

// opener is a LayerOpener that writes down what it is asked for.
type opener struct {
	t      *testing.T
	layers []vfs.FileSystem
	err    error

	lower []mountopt.Layer
	upper string
	key   string
	flags uintptr
	kept  mountopt.Key
}

func (o *opener) OpenStack(_ context.Context, lower []mountopt.Layer, upper string, key mountopt.Key, flags uintptr) ([]vfs.FileSystem, error) {
	o.lower, o.upper, o.flags, o.kept = lower, upper, flags, key
	if !key.IsZero() {
		o.key = fmt.Sprintf("%x", key.Bytes())
	}
	return o.layers, o.err
}

const keyText = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"

func TestMount(t *testing.T) {
	o := &opener{t: t, layers: []vfs.FileSystem{newLayer(t), newLayer(t, "f=1")}}
	typ := unionfs.NewType(unionfs.Config{Layers: o})
	require.Equal(t, "unionfs", typ.Name())
	fs, err := typ.Mount(t.Context(), vfs.MountRequest{
		Data: `lowerdir=/a\:b:/c,upperdir=/up\,per,key=` + keyText,
		Cred: vfs.RootCred(),
	})
	require.NoError(t, err)
	require.Equal(t, []mountopt.Layer{{Dir: "/a:b"}, {Dir: "/c"}}, o.lower)
	require.Equal(t, "/up,per", o.upper)
	require.Equal(t, "c732b3ed44dfec7b252d9a32388d5861", o.key)
	require.True(t, o.kept.IsZero(), "the key is wiped")
	require.Equal(t, `lowerdir=/a\:b:/c,upperdir=/up\,per`, fs.Options(), "no key")

	tr := mount(t, fs)
	require.NoError(t, tr.write("/f", "2"))
	tr.unmount()
}

func TestMountMAC(t *testing.T) {
	const text = "00112233445566778899aabbccddeeff" + "fedcba98765432100f1e2d3c4b5a6978"
	mac, err := mountopt.ParseMAC(text)
	require.NoError(t, err)
	o := &opener{t: t, layers: []vfs.FileSystem{newLayer(t), newLayer(t), newLayer(t)}}
	fs, err := unionfs.NewType(unionfs.Config{Layers: o}).Mount(t.Context(), vfs.MountRequest{
		Data: "lowerdir=/a:/b,upperdir=/u,mac=-:" + text, Cred: vfs.RootCred(),
	})
	require.NoError(t, err)
	require.Equal(t, []mountopt.Layer{{Dir: "/a"}, {Dir: "/b", MAC: &mac}}, o.lower)
	require.Equal(t, "lowerdir=/a:/b,upperdir=/u,mac=-:"+text, fs.Options())
	mount(t, fs).unmount()
}

func TestMountReadOnly(t *testing.T) {
	up, low := newLayer(t), newLayer(t, "a=1", "b == a", "c=1")
	s := newStack(t, up, low)
	require.NoError(t, s.write("/a", "2"))
	s.unmount()
	before := dumpLayer(t, up)

	o := &opener{t: t, layers: []vfs.FileSystem{up, low}}
	fs, err := unionfs.NewType(unionfs.Config{Layers: o}).Mount(t.Context(), vfs.MountRequest{
		Data:  "lowerdir=/l,upperdir=/u",
		Flags: unix.MS_RDONLY,
		Cred:  vfs.RootCred(),
	})
	require.NoError(t, err)
	require.EqualValues(t, unix.MS_RDONLY, o.flags)
	require.Empty(t, o.key)
	tr := mount(t, fs)
	require.Equal(t, []string{"/a=2", "/b=2", "/c=1"}, tr.brief("/"), "the index counts")
	for name, err := range map[string]error{
		"write a copy":       tr.write("/a", "3"),
		"write a lower file": tr.write("/c", "3"),
		"chmod":              tr.chmod("/a", 0o600),
		"create":             tr.write("/n", ""),
		"unlink":             tr.unlink("/a"),
	} {
		require.Truef(t, is(err, unix.EROFS), "%s: %v", name, err)
	}
	tr.unmount()
	require.Equal(t, before, dumpLayer(t, up))
}

func TestMountOptions(t *testing.T) {
	for _, data := range []string{
		"",
		"lowerdir=/l",
		"upperdir=/u",
		"lowerdir=,upperdir=/u",
		"lowerdir=/l,upperdir=",
		"lowerdir=/l,upperdir",
		"lowerdir=/l,upperdir=/u,key=" + keyText + "0",
		"lowerdir=/l,upperdir=/u,key=",
		"lowerdir=/l,upperdir=/u,workdir=/w",
		"lowerdir=/l,lowerdir=/m,upperdir=/u",
		"lowerdir=/l::/m,upperdir=/u",
		" lowerdir=/l,upperdir=/u",
		"lowerdir=/l:/m,upperdir=/u,mac=-",
		"lowerdir=/l,upperdir=/u,mac=-:-",
		"lowerdir=/l,upperdir=/u,mac=00",
		"lowerdir=/l,upperdir=/u,mac=",
	} {
		o := &opener{t: t, err: errors.New("opened")}
		fs, err := unionfs.NewType(unionfs.Config{Layers: o}).Mount(t.Context(), vfs.MountRequest{Data: data})
		require.ErrorIs(t, err, unix.EINVAL, data)
		require.Nil(t, fs, data)
		require.Empty(t, o.upper, "nothing is opened: %s", data)
		require.NotContains(t, err.Error(), keyText)
	}
}

func TestMountPassesErrorsOn(t *testing.T) {
	for _, want := range []unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EACCES, unix.EBUSY} {
		o := &opener{t: t, err: fmt.Errorf("layer: %w", want)}
		fs, err := unionfs.NewType(unionfs.Config{Layers: o}).Mount(t.Context(), vfs.MountRequest{Data: "lowerdir=/l,upperdir=/u"})
		require.ErrorIs(t, err, want)
		require.Nil(t, fs)
	}
}

// U56 and U58.
func TestStatfs(t *testing.T) {
	s := layout(t, nil, []string{"f=1"})
	defer s.unmount()
	st, err := s.fs.Statfs(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 0x2f8dbe2f, st.Type)
	require.EqualValues(t, 255, st.Namelen)
}
