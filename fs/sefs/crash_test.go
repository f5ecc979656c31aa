package sefs_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// TestCrashAtEveryCall records the host calls of a piece of work, and mounts
// what a crash after each of them may leave: the tree must be that of some
// moment between two operations, not before the last sync that returned.
func TestCrashAtEveryCall(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashAtEveryCall(t, seed) })
	}
}

func crashAtEveryCall(t *testing.T, seed uint64) {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))

	rec := store.NewRecorder(mem)
	x.cfg = onStore(t, rec)
	x.open()
	var moments []map[string]string // the tree after each operation
	var synced []syncPoint
	moment := func() { moments = append(moments, x.dump()) }
	moment()
	work := rand.New(rand.NewPCG(1, seed))
	for n := range 100 {
		a, b := fmt.Sprint("d", work.IntN(3)), fmt.Sprint("f", work.IntN(6))
		switch work.IntN(9) {
		case 0, 1:
			_ = x.create(a, unix.S_IFDIR|0o755, "")
		case 2, 3:
			_ = x.create(a+"/"+b, 0o644, strings.Repeat(b, work.IntN(5000)))
		case 4:
			size := 1 + work.IntN(20000)
			if n%4 == 0 {
				size *= 20 // more than a journal record takes inline
			}
			_ = x.write(a+"/"+b, strings.Repeat("w", size), int64(work.IntN(9000)))
		case 5:
			_ = x.rename(a+"/"+b, fmt.Sprint("d", work.IntN(3), "/f", work.IntN(6)), 0)
		case 6:
			_ = x.link(a+"/"+b, fmt.Sprint("d", work.IntN(3), "/l", work.IntN(6)))
		case 7:
			_ = x.whiteout(a + "/" + b)
		case 8:
			_ = x.unlink(a + "/" + b)
		}
		moment()
		if n%6 == 5 {
			require.NoError(t, x.fs.Sync(t.Context()))
			synced = append(synced, syncPoint{call: rec.Len(), moment: len(moments) - 1})
		}
	}
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	synced = append(synced, syncPoint{call: rec.Len(), moment: len(moments) - 1})

	dice := rand.New(rand.NewPCG(3, 4))
	for n := 0; n <= rec.Len(); n++ {
		for _, fate := range []func(int, store.Call) store.Fate{
			nil,
			func(int, store.Call) store.Fate { return store.Lost },
			func(int, store.Call) store.Fate { return store.Fate(dice.IntN(3)) },
		} {
			checkCrash(t, rec.Crash(n, fate), n, moments, synced)
		}
	}
}

// syncPoint says that when the recorder had seen call calls, moment was durable.
type syncPoint struct{ call, moment int }

func checkCrash(t *testing.T, mem *store.Memory, n int, moments []map[string]string, synced []syncPoint) {
	y := &tree{t: t, cfg: onStore(t, mem)}
	y.open()
	got := y.dump()
	y.fs.Abandon()
	first := 0
	for _, s := range synced {
		if s.call <= n {
			first = s.moment
		}
	}
	for _, m := range moments[first:] {
		if equal(m, got) {
			return
		}
	}
	require.Equal(t, moments[first], got, "after %d calls the tree is that of no moment since the last sync", n)
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

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
				ok = ok || equal(m, got)
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
	if x.fs.Close(context.Background(), vfs.SafeClose) == nil {
		synced = len(moments) - 1
	} else {
		x.fs.Abandon()
	}
	return moments, synced
}

func TestHostSeesNoPlaintext(t *testing.T) {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	marks := []string{"NAMEMARK", "DIRMARKS", "LINKMARK", "DATAMARK", "BIGMARKS", "ATTRMARK", "VALUMARK", "GONEMARK"}
	require.NoError(t, x.create("NAMEMARK", 0o600, "DATAMARK"))
	require.NoError(t, x.create("DIRMARKS", unix.S_IFDIR|0o755, ""))
	require.NoError(t, x.create("l", unix.S_IFLNK, "LINKMARK"))
	require.NoError(t, x.create("big", 0o600, strings.Repeat("BIGMARKS", 100000)))
	require.NoError(t, x.setxattr("l", "user.ATTRMARK", "VALUMARK", 0))
	require.NoError(t, x.create("GONEMARK", 0o600, "GONEMARK"))
	require.NoError(t, x.fs.Sync(t.Context()))
	scan := func(when string) {
		for _, name := range mem.Names() {
			for _, mark := range marks {
				require.False(t, bytes.Contains(mem.Bytes(name), []byte(mark)), "%s: %s in %s", when, mark, name)
				require.NotContains(t, name, mark)
			}
		}
	}
	scan("after a sync")
	require.NoError(t, x.unlink("GONEMARK"))
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	scan("after a close")
	require.NotEmpty(t, mem.Names())
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
