package sefs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// refusal collects a failed require instead of failing the test.
type refusal struct{ text string }

func (r *refusal) Errorf(format string, args ...any) { r.text += fmt.Sprintf(format, args...) }
func (r *refusal) FailNow()                          { panic(r) }

// look mounts what is in mem and returns the tree, or how it was refused.
func look(t *testing.T, mem *store.Memory) (shown map[string]string, refused string) {
	cfg := onStore(t, mem)
	cfg.Access = sefs.ReadOnly
	fs, err := sefs.Open(t.Context(), "image", cfg)
	if err != nil {
		errno, ok := errors.AsType[unix.Errno](err)
		require.True(t, ok, "open: %v", err)
		require.Contains(t, []unix.Errno{unix.EIO, unix.EUCLEAN, unix.EACCES, unix.EINVAL}, errno, "open: %v", err)
		return nil, "open: " + errno.Error()
	}
	defer fs.Close(context.Background(), vfs.ForceClose)
	r := &refusal{}
	defer func() {
		if p := recover(); p != nil {
			if p != any(r) {
				panic(p)
			}
			shown, refused = nil, r.text
		}
	}()
	x := &tree{t: r, fs: fs}
	return x.dump(), ""
}

// tamperImage returns an image twice: as it was, and after more work.
func tamperImage(t *testing.T) (older, newer *store.Memory, oldTree, newTree map[string]string) {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	work := func(round string) {
		require.NoError(t, x.create("d"+round, unix.S_IFDIR|0o755, ""))
		for n := range 8 {
			require.NoError(t, x.create(fmt.Sprint("d", round, "/f", n), 0o644, strings.Repeat(round, n*1500)))
		}
		require.NoError(t, x.create("l"+round, unix.S_IFLNK, strings.Repeat("t", 3000)))
		require.NoError(t, x.setxattr("d"+round, "user.a", strings.Repeat("v", 5000), 0))
	}
	work("1")
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	older = mem.Clone()
	x.open()
	oldTree = x.dump()
	work("2")
	require.NoError(t, x.write("d1/f3", "changed", 100))
	newTree = x.dump()
	require.NoError(t, x.fs.Sync(t.Context()))
	x.fs.Abandon() // with a journal to replay
	return older, mem.Clone(), oldTree, newTree
}

// TestTampering changes the image on the host in many ways. A mount may be
// refused and a read may fail, but what is shown must be a tree that was
// committed.
func TestTampering(t *testing.T) {
	older, newer, oldTree, newTree := tamperImage(t)
	shown := 0
	check := func(mem *store.Memory, what string) {
		got, refused := look(t, mem)
		if got == nil {
			ok := false
			for _, text := range []string{"open: ", "input/output error", "structure needs cleaning", "not authentic"} {
				ok = ok || strings.Contains(refused, text)
			}
			require.True(t, ok, "%s: %s", what, refused)
			return
		}
		shown++
		if !equal(got, oldTree) {
			require.Equal(t, newTree, got, what)
		}
	}
	check(newer, "untouched")
	require.Equal(t, 1, shown)

	for _, name := range newer.Names() {
		data := newer.Bytes(name)
		t.Run("flip "+strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			// Every place of the beginning, where all structures start, and samples of the rest.
			for off := 0; off < len(data); off += 61 + off/40 {
				mem := newer.Clone()
				bad := bytes.Clone(data)
				bad[off] ^= 0x40
				mem.SetBytes(name, bad)
				check(mem, fmt.Sprintf("%s: byte %d", name, off))
			}
		})
		t.Run("cut "+strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			for _, n := range []int{0, 1, 511, 4095, 4096, 8192, len(data) / 2, len(data) - 1} {
				if n < 0 || n > len(data) {
					continue
				}
				mem := newer.Clone()
				mem.SetBytes(name, data[:n])
				check(mem, fmt.Sprintf("%s: cut to %d bytes", name, n))
			}
			mem := newer.Clone()
			mem.SetBytes(name, append(bytes.Clone(data), data...))
			check(mem, name+": doubled")
		})
		t.Run("roll back "+strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			mem := newer.Clone()
			mem.SetBytes(name, older.Bytes(name))
			check(mem, name+": older version")
			mem = older.Clone()
			mem.SetBytes(name, data)
			check(mem, name+": newer version")
		})
	}
	t.Run("swap blocks", func(t *testing.T) {
		for _, name := range newer.Names() {
			data := newer.Bytes(name)
			for a := 0; a+8192 <= len(data) && a < 40*4096; a += 4096 {
				mem := newer.Clone()
				bad := bytes.Clone(data)
				copy(bad[a:], data[a+4096:a+8192])
				copy(bad[a+4096:], data[a:a+4096])
				mem.SetBytes(name, bad)
				check(mem, fmt.Sprintf("%s: blocks %d and %d swapped", name, a/4096, a/4096+1))
			}
		}
	})
	require.Greater(t, shown, 1, "some changes hit bytes that mean nothing")
}
