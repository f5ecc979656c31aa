package sefs_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
	"cloister/vfs"
)

func repair(t require.TestingT, mem store.Store) *sefs.RepairReport {
	r, err := sefs.Repair(context.Background(), "image", sefs.CheckConfig{OpenConfig: onStore(t, mem)})
	require.NoError(t, err, "Repair")
	return r
}

// usable mounts an image for writing and uses it.
func usable(t require.TestingT, mem *store.Memory) {
	x := &tree{t: t, cfg: onStore(t, mem)}
	x.open()
	require.NoError(t, x.create("made after the repair", 0o644, "data"))
	require.NoError(t, x.unlink("made after the repair"))
	require.NoError(t, x.fs.Close(context.Background(), vfs.SafeClose))
}

// TestRepair mends each class of damage: nothing is left but what cannot be mended, and files that
// nothing is said about are as they were.
func TestRepair(t *testing.T) {
	x := newTarget(t)
	for _, d := range append(x.structural(), x.onHost()...) {
		if d.error {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			m := x.damaged(t, &d)
			before := m.Clone()
			r := repair(t, m)
			require.False(t, r.Found.Clean())
			if d.dead {
				require.Nil(t, r.Left, "nothing was repaired")
				require.Empty(t, r.Changes)
				requireSame(t, before, m)
				return
			}
			left := r.Left
			if left == nil {
				left = r.Found
				requireSame(t, before, m)
			}
			d.matches(t, left.Problems, d.left)
			again := repair(t, m)
			require.Nil(t, again.Left, "a second repair has nothing to do: %+v", again)
			require.Equal(t, left.Problems, again.Found.Problems)
			t.Logf("%+v", r.Changes)
			if len(d.left) == 0 {
				usable(t, m)
				require.Empty(t, checked(t, m, sefs.CheckTree).Problems, "and after use")
			}
		})
	}
}

func requireSame(t *testing.T, want, got *store.Memory) {
	t.Helper()
	require.Equal(t, want.Names(), got.Names())
	for _, name := range want.Names() {
		require.True(t, string(want.Bytes(name)) == string(got.Bytes(name)), "%s is as it was", name)
	}
}

// TestRepairCancelled ends a repair before its commit, and makes each call of the host fail.
func TestRepairCancelled(t *testing.T) {
	x := newTarget(t)
	mem := x.mem.Clone()
	forge(t, mem, x.attrs(x.big, func(n *format.Inode) { n.Nlink = 5 }))
	old := problems(t, mem)

	ctx, cancel := context.WithCancel(t.Context())
	cfg := sefs.CheckConfig{OpenConfig: onStore(t, mem), Progress: func(done, total int64) {
		if done == total {
			cancel()
		}
	}}
	_, err := sefs.Repair(ctx, "image", cfg)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, old, problems(t, mem))

	count := store.NewFaulty(mem.Clone(), func(int, store.Call) store.Fault { return store.Fault{} })
	repair(t, count)
	failed := 0
	for n := range count.Calls() {
		m := mem.Clone()
		st := store.NewFaulty(m, func(i int, _ store.Call) store.Fault {
			if i == n {
				return store.Fault{Errno: unix.ENOSPC}
			}
			return store.Fault{}
		})
		_, err := sefs.Repair(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, st)})
		if err != nil {
			failed++
		}
		now := problems(t, m)
		require.Contains(t, []string{old, ""}, now, "call %d", n)
	}
	require.Greater(t, failed, 10)
	_, err = sefs.Repair(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, store.NewMemory())})
	require.ErrorIs(t, err, unix.EINVAL, "an empty directory")

	open := &tree{t: t, cfg: onStore(t, mem)}
	open.open()
	defer open.fs.Abandon()
	_, err = sefs.Repair(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, mem)})
	require.ErrorIs(t, err, unix.EBUSY, "an image in use")
}

// TestRepairRandomItems removes, exchanges and spoils items at random.
func TestRepairRandomItems(t *testing.T) {
	x := newTarget(t)
	var keys []format.Key
	vals := map[format.Key][]byte{}
	x.read(func(v *volume.Volume) {
		require.NoError(t, v.Scan(format.Key{}, format.Key{Ino: format.MaxIno}, func(k format.Key, val []byte) bool {
			if k.Type != format.TypeSegment {
				keys, vals[k] = append(keys, k), slices.Clone(val)
			}
			return true
		}))
	})
	r := rand.New(rand.NewPCG(5, 6))
	repaired := 0
	for n := range 60 {
		m := x.mem.Clone()
		var did []string
		forge(t, m, func(_ *volume.Volume, tx *volume.Tx) {
			for range 1 + r.IntN(6) {
				k, other := keys[r.IntN(len(keys))], keys[r.IntN(len(keys))]
				switch r.IntN(4) {
				case 0:
					require.NoError(t, tx.Delete(k))
					did = append(did, fmt.Sprint("removed ", k))
				case 1:
					val := slices.Clone(vals[k])
					if len(val) > 0 {
						val[r.IntN(len(val))] ^= 1 << r.IntN(8)
					}
					require.NoError(t, tx.Put(k, val))
					did = append(did, fmt.Sprint("changed ", k))
				case 2:
					require.NoError(t, tx.Put(k, vals[other]))
					did = append(did, fmt.Sprint("put ", other, " to ", k))
				case 3:
					if other.Type = k.Type; k.Ino == 0 || other.Ino == 0 {
						continue // items of a type unknown there stay
					}
					require.NoError(t, tx.Put(other, vals[k]))
					did = append(did, fmt.Sprint("put ", k, " to ", other))
				}
			}
		})
		rep := repair(t, m)
		if rep.Left == nil {
			require.True(t, rep.Found.Clean() || len(rep.Found.Problems) == 1, "%d: %v: %+v", n, did, rep.Found.Problems)
			continue
		}
		repaired++
		for _, p := range rep.Left.Problems {
			require.Equal(t, sefs.ProblemData, p.Kind, "%d: %v: %+v\n%+v", n, did, p, rep.Changes)
		}
		usable(t, m)
		require.Nil(t, repair(t, m).Left, "%d: %v: a second repair has nothing to do", n, did)
	}
	require.Greater(t, repaired, 40)
}

// TestRepairJournal changes a record of the journal: the commits before it are kept, it and those behind
// it are lost, and that is said.
func TestRepairJournal(t *testing.T) {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	require.NoError(t, x.create("closed", 0o644, "a"))
	x.reopen()
	for n := range 4 {
		require.NoError(t, x.create(fmt.Sprint("commit", n), 0o644, "b"))
		require.NoError(t, x.fs.Sync(t.Context()))
	}
	x.fs.Abandon()
	journal := slices.Clone(mem.Bytes("journal"))
	journal[512+200] ^= 1 // in the second record
	mem.SetBytes("journal", journal)

	r := checked(t, mem, sefs.CheckTree)
	require.Len(t, r.Problems, 1)
	require.Contains(t, r.Problems[0].Text, "changed after it was written; nothing else could be checked")
	_, err = sefs.Open(t.Context(), "image", onStore(t, mem))
	require.ErrorIs(t, err, unix.EIO)

	rep := repair(t, mem)
	require.Len(t, rep.Found.Problems, 1)
	require.Contains(t, rep.Found.Problems[0].Text, "the commits from there on are lost")
	require.True(t, rep.Left.Clean(), "%+v", rep.Left)
	require.ElementsMatch(t, []string{"/closed", "/commit0"}, slices.Collect(maps.Keys(contents(t, mem))))
	usable(t, mem)
}

// TestRepairLostBlocks uses a file after a repair that found some of its blocks lost.
func TestRepairLostBlocks(t *testing.T) {
	x := newTarget(t)
	mem := x.mem.Clone()
	forge(t, mem, x.del(key(x.big, format.TypeExtent, 0)))
	rep := repair(t, mem)
	require.Len(t, rep.Left.Problems, 1)
	require.EqualValues(t, 128*4096, rep.Left.Problems[0].Bytes)

	f := &tree{t: t, cfg: onStore(t, mem)}
	f.open()
	h := f.handle("big")
	b := make([]byte, 8192)
	_, err := h.ReadAt(t.Context(), b, 0)
	require.ErrorIs(t, err, unix.EIO, "what is lost is no zeros")
	n, err := h.ReadAt(t.Context(), b, 128*4096)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("data", 2048), string(b[:n]), "what is not lost is there")
	_, err = h.WriteAt(t.Context(), []byte("part"), 100)
	require.ErrorIs(t, err, unix.EIO, "the rest of the block would be made up")
	_, err = h.WriteAt(t.Context(), make([]byte, 4096), 4096)
	require.NoError(t, err, "a whole block is new")
	_, err = h.ReadAt(t.Context(), b[:4096], 4096)
	require.NoError(t, err)
	require.NoError(t, f.fs.Sync(t.Context()))
	require.NoError(t, f.on("big", func(i vfs.Inode) error {
		return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_SIZE})
	}))
	f.reopen()
	require.NoError(t, f.fs.Close(t.Context(), vfs.SafeClose))
	require.Empty(t, checked(t, mem, sefs.CheckTree).Problems, "the file was cut")
}

// TestRepairCounter repairs an image that is under a freshness counter: the counter follows.
func TestRepairCounter(t *testing.T) {
	mem := store.NewMemory()
	cfg := onStore(t, mem)
	cfg.Counter = simCounter(t)
	x := &tree{t: t, cfg: cfg}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: cfg})
	require.NoError(t, err)
	x.fs = fs
	require.NoError(t, x.create("f", 0o644, "data"))
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	old := mem.Clone()
	mem.Bytes("heads")[100] ^= 1

	_, err = sefs.Repair(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, mem)})
	require.ErrorIs(t, err, unix.ESTALE, "without the counter it cannot be written")
	r, err := sefs.Repair(t.Context(), "image", sefs.CheckConfig{OpenConfig: cfg})
	require.NoError(t, err)
	require.True(t, r.Left.Clean(), "%+v", r.Left)
	x.open()
	x.fs.Abandon()
	cfg.OpenStore = func(string, sefs.Access) (store.Store, error) { return old, nil }
	_, err = sefs.Open(t.Context(), "image", cfg)
	require.ErrorIs(t, err, unix.ESTALE, "the state before the repair is an older one")
}
