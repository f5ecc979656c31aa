package sefs_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/fs/sefs"
	"cloister/vfs"
)

func simCounter(t *testing.T) enclave.Counter {
	c, err := sim.OpenCounter(t.TempDir())
	require.NoError(t, err)
	return c
}

// TestCounter mounts an image under a counter, puts older states of it back and mounts
// them again.
func TestCounter(t *testing.T) {
	dir := t.TempDir()
	counter := simCounter(t)
	typ := sefs.NewType(sefs.Config{CommitInterval: -1, Counter: counter})
	data := "dir=" + dir + ",key=" + keyText
	var states []string
	for n := range 3 {
		f, err := mount(t, typ, data, 0)
		require.NoError(t, err)
		require.NoError(t, (&tree{t: t, fs: f.(*sefs.FS)}).create(string(rune('a'+n)), 0o644, "content"))
		umount(t, f)
		kept := t.TempDir()
		require.NoError(t, os.CopyFS(kept, os.DirFS(dir)))
		states = append(states, kept)
	}
	for n, kept := range states {
		before := content(t, kept)
		for _, flags := range []uintptr{unix.MS_RDONLY, 0} {
			f, err := mount(t, typ, "dir="+kept+",key="+keyText, flags)
			if n == len(states)-1 {
				require.NoError(t, err)
				require.Equal(t, sefs.Freshness{Counter: true, Checked: true}, f.(*sefs.FS).Freshness())
				umount(t, f)
				continue
			}
			require.ErrorIs(t, err, unix.ESTALE)
			require.ErrorContains(t, err, "older state")
			require.Equal(t, before, content(t, kept), "a refused mount changes nothing")
		}
	}

	other := sefs.NewType(sefs.Config{CommitInterval: -1})
	_, err := mount(t, other, data, 0)
	require.ErrorIs(t, err, unix.ESTALE, "for writing, without the counter")
	f, err := mount(t, other, data, unix.MS_RDONLY)
	require.NoError(t, err)
	require.Equal(t, sefs.Freshness{Counter: true}, f.(*sefs.FS).Freshness())
	umount(t, f)
	_, err = sefs.Open(t.Context(), dir, sefs.OpenConfig{Key: testKey(t), Counter: simCounter(t), Access: sefs.ReadOnly})
	require.ErrorIs(t, err, unix.ESTALE, "another counter")
}

// TestCounterOfMadeImage follows an image from its making, which a kill interrupts.
func TestCounterOfMadeImage(t *testing.T) {
	dir := t.TempDir()
	cfg := sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: testKey(t), Counter: simCounter(t)}}
	f, err := sefs.Make(t.Context(), dir, cfg)
	require.NoError(t, err)
	require.NoError(t, (&tree{t: t, fs: f}).create("a", 0o644, "content"))
	require.NoError(t, f.Sync(t.Context()))
	f.Abandon()
	f, err = sefs.Open(t.Context(), dir, cfg.OpenConfig)
	require.NoError(t, err)
	i, err := f.Root().Lookup(t.Context(), "a")
	require.NoError(t, err)
	vfs.UnpinInode(t.Context(), i)
	umount(t, f)
}

func TestSlowAESIsWarnedOf(t *testing.T) {
	for _, fast := range []bool{true, false} {
		var out bytes.Buffer
		sefs.WarnOfSlowAES(slog.New(slog.NewTextHandler(&out, nil)), fast)
		require.Equal(t, !fast, bytes.Contains(out.Bytes(), []byte("level=WARN")), "%s", out.String())
	}
}

// TestRootMAC mounts an image by its root MAC, then what it was before and after.
func TestRootMAC(t *testing.T) {
	dir := t.TempDir()
	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	data := "dir=" + dir + ",key=" + keyText
	change := func(name string) (mac string) {
		f, err := mount(t, typ, data, 0)
		require.NoError(t, err)
		require.NoError(t, (&tree{t: t, fs: f.(*sefs.FS)}).create(name, 0o644, "content"))
		umount(t, f)
		f, err = mount(t, typ, data, unix.MS_RDONLY)
		require.NoError(t, err)
		defer umount(t, f)
		return f.(*sefs.FS).RootMAC().String()
	}
	first := change("a")
	older := t.TempDir()
	require.NoError(t, os.CopyFS(older, os.DirFS(dir)))
	second := change("b")
	require.NotEqual(t, first, second)
	for _, c := range []struct {
		dir, mac string
		fits     bool
	}{
		{older, first, true}, {older, second, false}, {dir, first, false}, {dir, second, true},
		{dir, strings.Repeat("0", 64), false}, {t.TempDir(), first, false},
	} {
		for _, flags := range []uintptr{unix.MS_RDONLY, 0} {
			before := content(t, c.dir)
			f, err := mount(t, typ, "dir="+c.dir+",key="+keyText+",mac="+c.mac, flags)
			if c.fits {
				require.NoError(t, err)
				require.Contains(t, f.Options(), "mac="+c.mac)
				umount(t, f)
				continue
			}
			if len(before) == 1 {
				require.ErrorIs(t, err, unix.EINVAL, "an empty directory")
			} else {
				require.ErrorIs(t, err, unix.EACCES)
				require.ErrorContains(t, err, "root MAC")
			}
			require.Equal(t, before, content(t, c.dir), "a refused mount changes nothing")
		}
	}
}
