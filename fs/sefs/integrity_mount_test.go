package sefs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/mountopt"
	"cloister/vfs"
)

// hostImage builds an integrity-only image of one file in a new directory.
func hostImage(t *testing.T, text string) (dir, mac string) {
	t.Helper()
	g := newGrove()
	g.add("f", unix.S_IFREG|0o644, text)
	dir = filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.Mkdir(dir, 0o700))
	result, err := sefs.BuildIntegrity(t.Context(), dir, sefs.IntegrityConfig{Tree: g, Top: g.top()})
	require.NoError(t, err)
	return dir, result.Root.String()
}

func TestIntegrityMount(t *testing.T) {
	dir, mac := hostImage(t, "one")
	_, otherMAC := hostImage(t, "two")
	encrypted, empty := t.TempDir(), t.TempDir()
	platform := machine(t, 1, 1, nil)
	typ := sefs.NewType(sefs.Config{Platform: platform})
	made, err := mount(t, typ, "dir="+encrypted+",key="+keyText, 0)
	require.NoError(t, err)
	umount(t, made)
	before := content(t, filepath.Dir(dir))

	const ro = unix.MS_RDONLY
	tests := []struct {
		name  string
		data  string
		flags uintptr
		errno unix.Errno
		says  string
	}{
		{"without a MAC", "dir=" + dir, ro, unix.EACCES, "integrity-only"},
		{"without a MAC, for writing", "dir=" + dir, 0, unix.EACCES, "integrity-only"},
		{"with a key, where an encrypted image is meant", "dir=" + dir + ",key=" + keyText, ro, unix.EACCES, "integrity-only"},
		{"with a key and a MAC", "dir=" + dir + ",key=" + keyText + ",mac=" + mac, ro, unix.EACCES, "a key is given"},
		{"with another MAC", "dir=" + dir + ",mac=" + otherMAC, ro, unix.EACCES, "root MAC"},
		{"for writing", "dir=" + dir + ",mac=" + mac, 0, unix.EROFS, "never changed"},
		{"an encrypted image with its MAC", "dir=" + encrypted + ",key=" + keyText + ",mac=" + mac, ro, unix.EACCES, "root MAC"},
		{"an empty directory", "dir=" + empty + ",mac=" + mac, ro, unix.EINVAL, "empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mount(t, typ, tt.data, tt.flags)
			require.ErrorIs(t, err, tt.errno)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), keyText)
		})
	}
	require.Equal(t, before, content(t, filepath.Dir(dir)), "nothing was written")

	first, err := mount(t, typ, "dir="+dir+",mac="+mac, ro)
	require.NoError(t, err)
	second, err := mount(t, typ, "dir="+dir+",mac="+mac, ro)
	require.NoError(t, err, "nobody changes it, so it may be mounted again")
	require.Equal(t, "dir="+dir+",mac="+mac, second.Options())
	for _, fs := range []vfs.FileSystem{first, second} {
		st, err := fs.Statfs(t.Context())
		require.NoError(t, err)
		require.Positive(t, st.Blocks)
		require.Zero(t, st.Bfree, "there is no room")
		require.Zero(t, st.Ffree)
	}
	umount(t, first, second)
	require.Equal(t, before, content(t, filepath.Dir(dir)), "nothing was written")

	loose, err := mount(t, sefs.NewType(sefs.Config{Unpinned: true}), "dir="+dir, ro)
	require.NoError(t, err)
	umount(t, loose)
}

// TestIntegrityCounter shows that an image that never changes needs no counter.
func TestIntegrityCounter(t *testing.T) {
	dir, mac := hostImage(t, "one")
	pin, err := mountopt.ParseMAC(mac)
	require.NoError(t, err)
	fs, err := sefs.Open(t.Context(), dir, sefs.OpenConfig{Access: sefs.ReadOnly, MAC: &pin, Counter: noCounter{}})
	require.NoError(t, err)
	require.Equal(t, sefs.Freshness{}, fs.Freshness())
	umount(t, fs)
}

// noCounter cannot be reached.
type noCounter struct{ enclave.Counter }

// TestIntegrityStack pins the lower layers of a union, each by its own MAC.
func TestIntegrityStack(t *testing.T) {
	one, oneMAC := hostImage(t, "one")
	two, twoMAC := hostImage(t, "two")
	upper := t.TempDir()
	key := testKey(t)
	typ := sefs.NewType(sefs.Config{})
	pin := func(text string) *mountopt.MAC {
		m, err := mountopt.ParseMAC(text)
		require.NoError(t, err)
		return &m
	}
	try := func(upper string, lower ...mountopt.Layer) ([]vfs.FileSystem, error) {
		return typ.OpenStack(t.Context(), lower, upper, key, 0)
	}
	layers, err := try(upper, mountopt.Layer{Dir: one, MAC: pin(oneMAC)}, mountopt.Layer{Dir: two, MAC: pin(twoMAC)})
	require.NoError(t, err, "the key is that of the upper layer")
	umount(t, layers...)

	_, err = try(upper, mountopt.Layer{Dir: one, MAC: pin(oneMAC)}, mountopt.Layer{Dir: two})
	require.ErrorIs(t, err, unix.EACCES, "one without a MAC")
	_, err = try(upper, mountopt.Layer{Dir: one, MAC: pin(twoMAC)}, mountopt.Layer{Dir: two, MAC: pin(oneMAC)})
	require.ErrorIs(t, err, unix.EACCES, "the wrong way round")
	_, err = try(one, mountopt.Layer{Dir: two, MAC: pin(twoMAC)})
	require.ErrorIs(t, err, unix.EACCES, "as the upper layer")
	_, err = try(upper, mountopt.Layer{Dir: t.TempDir(), MAC: pin(twoMAC)})
	require.ErrorIs(t, err, unix.EINVAL, "an empty directory that should have a MAC")

	encrypted := t.TempDir()
	made, err := sefs.Make(t.Context(), encrypted, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: key}})
	require.NoError(t, err)
	umount(t, made)
	made, err = sefs.Open(t.Context(), encrypted, sefs.OpenConfig{Access: sefs.ReadOnly, Key: key})
	require.NoError(t, err)
	state := made.RootMAC()
	umount(t, made)
	layers, err = try(upper, mountopt.Layer{Dir: encrypted, MAC: &state}, mountopt.Layer{Dir: one, MAC: pin(oneMAC)})
	require.NoError(t, err, "an encrypted one may have a MAC too")
	umount(t, layers...)
	_, err = try(upper, mountopt.Layer{Dir: encrypted, MAC: pin(oneMAC)})
	require.ErrorIs(t, err, unix.EACCES, "an encrypted one in another state")

	same, sameMAC := hostImage(t, "one")
	_, err = try(upper, mountopt.Layer{Dir: one, MAC: pin(oneMAC)}, mountopt.Layer{Dir: same, MAC: pin(sameMAC)})
	require.ErrorIs(t, err, unix.ELOOP, "the same image twice")
}

// TestIntegrityExchanged shows another header each time it is read: an encrypted image becomes an
// integrity-only one under the mount's hands, and the reverse.
func TestIntegrityExchanged(t *testing.T) {
	g := newGrove()
	g.add("f", unix.S_IFREG|0o644, "text")
	integrity, result := g.build(t, sefs.IntegrityConfig{})
	encrypted := store.NewMemory()
	made, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: onStore(t, encrypted)})
	require.NoError(t, err)
	umount(t, made)
	for _, images := range [][]*store.Memory{{encrypted, integrity}, {integrity, encrypted}} {
		cfg := onStore(t, nil)
		cfg.Access, cfg.MAC, cfg.Unpinned = sefs.ReadOnly, &result.Root, true
		cfg.OpenStore = func(string, sefs.Access) (store.Store, error) {
			return &exchanged{Store: images[0], next: images[1]}, nil
		}
		_, err := sefs.Open(t.Context(), "image", cfg)
		errno, ok := errors.AsType[unix.Errno](err)
		require.True(t, ok, "%v", err)
		require.Contains(t, []unix.Errno{unix.EIO, unix.EACCES}, errno)
	}
}

// exchanged is a store that becomes another one once its header has been opened.
type exchanged struct {
	store.Store
	next store.Store
}

func (s *exchanged) Open(name string, access store.Access) (store.File, error) {
	f, err := s.Store.Open(name, access)
	if name == "SEFS" && s.next != nil {
		s.Store, s.next = s.next, nil
	}
	return f, err
}

// TestIntegrityKeys shows that there is no slot to change.
func TestIntegrityKeys(t *testing.T) {
	dir, _ := hostImage(t, "one")
	info, err := sefs.Inspect(dir)
	require.NoError(t, err)
	require.True(t, info.Integrity)
	require.Empty(t, info.Slots)
	before := content(t, dir)
	_, err = sefs.OpenKeys(dir, sefs.KeysConfig{Key: testKey(t)})
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "no keys")
	require.Equal(t, before, content(t, dir))
}

// TestIntegrityScrub changes every byte of the segments in turn: each is found.
func TestIntegrityScrub(t *testing.T) {
	g := newGrove()
	g.add("f", unix.S_IFREG|0o644, string(fill(1, 9000)))
	mem, result := g.build(t, sefs.IntegrityConfig{})
	check := func(mem *store.Memory) (*sefs.CheckReport, error) {
		return sefs.Check(t.Context(), "image", sefs.CheckConfig{
			OpenConfig: sefs.OpenConfig{MAC: &result.Root, OpenStore: inMemoryStore(mem)},
		})
	}
	report, err := check(mem)
	require.NoError(t, err)
	require.True(t, report.Clean())
	for _, name := range mem.Names() {
		size := len(mem.Bytes(name))
		for at := 0; at < size; at += 1 + size/200 {
			changed := mem.Clone()
			changed.Bytes(name)[at] ^= 4
			report, err := check(changed)
			what := fmt.Sprintf("%s: byte %d", name, at)
			switch {
			case err != nil:
				require.Equal(t, "SEFS", name, what)
			case name == "heads" && at%4096 >= 512:
				require.True(t, report.Clean(), what) // means nothing
			default:
				require.False(t, report.Clean(), what)
			}
		}
	}
	for _, name := range []string{"heads", "seg/00/00000000"} {
		cut := mem.Clone()
		cut.SetBytes(name, bytes.Clone(cut.Bytes(name))[:100])
		report, err := check(cut)
		require.NoError(t, err)
		require.False(t, report.Clean(), "%s is cut", name)
	}
}
