package sefs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// TestHostErrorsLoseNothingSynced makes every single host call fail in turn: the
// work may fail, but a mount afterwards shows the last sync or something later,
// and never half of an operation.
func TestHostErrorsLoseNothingSynced(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		for at := 0; ; at++ {
			mem := store.NewMemory()
			x := &tree{t: t, cfg: onStore(t, mem)}
			fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
			require.NoError(t, err)
			require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))

			faulty := store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
				if n == at {
					return store.Fault{Errno: errno, Part: len(c.Data) / 2}
				}
				return store.Fault{}
			})
			moments, last := runFaulty(t, onStore(t, faulty))
			x.open()
			got := x.dump()
			require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
			ok := false
			for _, m := range moments[last:] {
				ok = ok || maps.Equal(m, got)
			}
			if !ok {
				require.Equal(t, moments[last], got, "call %d failed with %v", at, errno)
			}
			if faulty.Calls() <= at {
				break // every call has had its turn
			}
		}
	}
}

// runFaulty works until a call fails. It returns the trees that may be found
// afterwards, and which of them was the last to be synced.
func runFaulty(t *testing.T, cfg sefs.OpenConfig) (moments []map[string]string, synced int) {
	moments = []map[string]string{{}}
	fs, err := sefs.Open(t.Context(), "image", cfg)
	if err != nil {
		return moments, 0
	}
	x := &tree{t: t, fs: fs}
	m := newModel()
	do := func(want, err error) bool {
		moments = append(moments, m.dump())
		if want != nil {
			panic(want)
		}
		return err == nil
	}
	sync := func() bool {
		if x.fs.Sync(t.Context()) != nil {
			return false
		}
		synced = len(moments) - 1
		return true
	}
	big := strings.Repeat("big", 100000)
	_ = do(m.create("d", unix.S_IFDIR|0o755, ""), x.create("d", unix.S_IFDIR|0o755, "")) &&
		do(m.create("f", unix.S_IFREG|0o644, ""), x.create("f", unix.S_IFREG|0o644, "")) &&
		do(m.write("f", "small", 0), x.write("f", "small", 0)) && sync() &&
		do(m.create("d/big", unix.S_IFREG|0o644, ""), x.create("d/big", unix.S_IFREG|0o644, "")) &&
		do(m.write("d/big", big, 0), x.write("d/big", big, 0)) && sync() &&
		do(m.rename("f", "d/f", 0), x.rename("f", "d/f", 0)) && sync()
	// Whatever failed: the image can be changed, or it says that it cannot, and keeps to that.
	err = x.create("after", unix.S_IFREG|0o644, "")
	if err == nil {
		_ = m.create("after", unix.S_IFREG|0o644, "")
		moments = append(moments, m.dump())
		if err = x.fs.Sync(t.Context()); err == nil {
			synced = len(moments) - 1
		}
	}
	if err != nil {
		errno, ok := errors.AsType[unix.Errno](err)
		require.True(t, ok, "%v", err)
		require.Contains(t, []unix.Errno{unix.EIO, unix.ENOSPC, unix.EROFS}, errno, "%v", err)
		_, err = x.get("d")
		require.NotErrorIs(t, err, unix.EROFS, "reading goes on")
	}
	if x.fs.Close(context.Background(), vfs.SafeClose) == nil {
		synced = len(moments) - 1
	} else {
		x.fs.Abandon()
	}
	return moments, synced
}

// TestFailedMakeLeavesNothing makes every host call of a new image fail in turn.
func TestFailedMakeLeavesNothing(t *testing.T) {
	for at := 0; ; at++ {
		mem := store.NewMemory()
		failed := false
		faulty := store.NewFaulty(mem, func(n int, c store.Call) store.Fault {
			if n == at {
				failed = true
				return store.Fault{Errno: unix.ENOSPC}
			}
			return store.Fault{}
		})
		fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: onStore(t, faulty)})
		if err == nil {
			if err := fs.Close(t.Context(), vfs.SafeClose); err != nil {
				require.ErrorIs(t, err, unix.ENOSPC)
				_ = fs.Close(t.Context(), vfs.ForceClose)
			}
			x := &tree{t: t, cfg: onStore(t, mem)}
			x.open()
			require.Empty(t, x.dump(), "what was made is an image")
			x.fs.Abandon()
			if !failed {
				require.Positive(t, at, "the host was called")
				return
			}
			continue
		}
		require.ErrorIs(t, err, unix.ENOSPC)
		empty, err := mem.Empty()
		require.NoError(t, err)
		require.True(t, empty, "after call %d failed there is %v", at, mem.Names())
	}
}

// TestFailedCloseKeepsTheImage makes the host fail at the last flush: the file
// system stays usable for reading and can only be forced to close.
func TestFailedCloseKeepsTheImage(t *testing.T) {
	mem := store.NewMemory()
	broken := false
	faulty := store.NewFaulty(mem, func(_ int, c store.Call) store.Fault {
		if broken && c.Kind == store.KindSync {
			return store.Fault{Errno: unix.EIO}
		}
		return store.Fault{}
	})
	x := &tree{t: t, cfg: onStore(t, faulty)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	require.NoError(t, x.create("f", 0o600, "synced"))
	require.NoError(t, fs.Sync(t.Context()))
	require.NoError(t, x.create("g", 0o600, "lost"))
	broken = true
	for range 2 {
		require.ErrorIs(t, fs.Close(t.Context(), vfs.SafeClose), unix.EIO)
		require.Len(t, x.dump(), 2, "still there")
	}
	require.Error(t, x.create("h", 0o600, ""), "read-only from then on")
	require.ErrorIs(t, fs.Close(t.Context(), vfs.ForceClose), unix.EIO)
	broken = false
	x.open()
	require.Contains(t, x.dump(), "/f")
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
}

// TestFullDisk fills a real file system, which writes a part of what it has no room for. What was
// synced stays; when something is removed, the image can be written again.
func TestFullDisk(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	cfg := sefs.OpenConfig{Key: testKey(t), CommitInterval: -1}
	image, ballast := dir+"/image", dir+"/ballast"
	require.NoError(t, os.WriteFile(ballast, make([]byte, 2<<20), 0o600))
	require.NoError(t, unix.Mkdir(image, 0o700))
	fs, err := sefs.Make(t.Context(), image, sefs.MakeConfig{OpenConfig: cfg})
	require.NoError(t, err)
	x := &tree{t: t, fs: fs}
	kept := strings.Repeat("kept", 10_000)
	require.NoError(t, x.create("kept", 0o644, kept))
	require.NoError(t, fs.Sync(t.Context()))

	piece := strings.Repeat("0123456789abcdef", 20_000)
	n := 0
	for ; err == nil && n < 100; n++ {
		if err = x.create(fmt.Sprint("fill", n), 0o644, piece); err == nil {
			err = fs.Sync(t.Context())
		}
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Greater(t, n, 10)
	synced := n - 1
	for n := range synced {
		require.NoError(t, x.unlink(fmt.Sprint("fill", n)), "unlink")
	}
	require.NoError(t, os.Remove(ballast), "room for what removing writes")
	require.NoError(t, fs.Sync(t.Context()))
	require.NoError(t, x.create("after", 0o644, piece))
	require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))

	x.fs, err = sefs.Open(t.Context(), image, cfg)
	require.NoError(t, err)
	dump := x.dump()
	require.Contains(t, dump["/kept"], brief(kept))
	require.Contains(t, dump["/after"], brief(piece))
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
}
