package sefs_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
	"cloister/vfs"
)

// checked is the report on what is in mem.
func checked(t require.TestingT, mem *store.Memory, depth sefs.CheckDepth) *sefs.CheckReport {
	before := mem.Clone()
	r, err := sefs.Check(context.Background(), "image", sefs.CheckConfig{OpenConfig: onStore(t, mem), Depth: depth})
	require.NoError(t, err, "Check")
	require.Equal(t, before.Names(), mem.Names(), "nothing is written")
	for _, name := range mem.Names() {
		require.True(t, bytes.Equal(before.Bytes(name), mem.Bytes(name)), "%s is as it was", name)
	}
	return r
}

// oddImage is an image with files of every kind, closed.
func oddImage(t testing.TB) *store.Memory {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	for n, kind := range []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK} {
		require.NoError(t, x.create(fmt.Sprint("special", n), kind|0o600, ""))
	}
	require.NoError(t, x.create("d", unix.S_IFDIR|0o755, ""))
	require.NoError(t, x.create("d/e", unix.S_IFDIR|0o755, ""))
	require.NoError(t, x.create("d/e/empty", 0o644, ""))
	require.NoError(t, x.create("d/e/inline", 0o644, "short"))
	require.NoError(t, x.create("big", 0o644, strings.Repeat("data", 300_000)))
	require.NoError(t, x.create("d/sparse", 0o644, ""))
	require.NoError(t, x.write("d/sparse", strings.Repeat("s", 9000), 50<<20))
	require.NoError(t, x.create("link", unix.S_IFLNK, strings.Repeat("t", 3000)))
	require.NoError(t, x.link("big", "d/hard"))
	require.NoError(t, x.setxattr("d", "user.a", strings.Repeat("v", 5000), 0))
	require.NoError(t, x.setxattr("big", "user.b", "", 0))
	require.NoError(t, x.create("gone", 0o644, "x"))
	require.NoError(t, x.whiteout("gone"))
	for n := range 300 {
		require.NoError(t, x.create(fmt.Sprint("d/e/f", n), 0o644, strings.Repeat("f", n*20)))
	}
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	return mem
}

func TestCheckCleanTree(t *testing.T) {
	mem := oddImage(t)
	for _, depth := range []sefs.CheckDepth{sefs.CheckBlocks, sefs.CheckTree} {
		r := checked(t, mem, depth)
		require.Empty(t, r.Problems)
		require.EqualValues(t, 1+4+2+2+1+1+1+300, r.Inodes)
		require.Greater(t, r.Bytes, int64(1_200_000))
	}
	empty := store.NewMemory()
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: onStore(t, empty)})
	require.NoError(t, err)
	require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))
	require.Empty(t, checked(t, empty, sefs.CheckTree).Problems, "an empty image")
}

// TestCheckRandomTrees finds nothing in what random operations leave, closed or killed.
func TestCheckRandomTrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := store.NewMemory()
		r := &random{t: t, m: newModel(), synced: map[string]string{}}
		r.x = &tree{t: t, cfg: onStore(t, mem)}
		fs, err := sefs.Make(context.Background(), "image", sefs.MakeConfig{OpenConfig: r.x.cfg})
		require.NoError(t, err)
		r.x.fs = fs
		r.opened()
		look := func(what string) {
			require.Empty(t, checked(t, mem.Clone(), sefs.CheckTree).Problems, what)
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": r.create, "remove": r.remove, "link": r.link, "rename": r.rename,
			"write": r.write, "resize": r.resize, "xattr": r.xattr, "remount": r.remount, "kill": r.kill,
			"pinned": r.pin, "unpinned": r.unpin,
			"sync": func(t *rapid.T) {
				r.sync(t)
				look("killed after a sync")
			},
		})
		r.remount(t)
		r.x.fs.Abandon()
		look("closed")
	})
}

// TestCheckFindsEveryBlock flips a byte in each block on the host: blocks in use are found,
// each with the paths of what it belongs to, and others do not matter.
func TestCheckFindsEveryBlock(t *testing.T) {
	mem := oddImage(t)
	fs, err := sefs.Open(t.Context(), "image", onStore(t, mem))
	require.NoError(t, err)
	used := int(fs.Stats().BlocksUsed)
	fs.Abandon()
	found, kinds, step := 0, map[sefs.ProblemKind]int{}, 4096
	if raceDetector {
		step *= 7 // the race detector makes all of this many times slower
	}
	for _, name := range mem.Names() {
		if !strings.HasPrefix(name, "seg/") {
			continue
		}
		data := mem.Bytes(name)
		for at := 0; at < len(data); at += step {
			data[at+at/4096%4096] ^= 1
			r := checked(t, mem, sefs.CheckTree)
			data[at+at/4096%4096] ^= 1
			if r.Clean() {
				continue
			}
			found++
			require.Len(t, r.Problems, 1, "%s block %d: %v", name, at/4096, r.Problems)
			p := r.Problems[0]
			kinds[p.Kind]++
			switch p.Kind {
			case sefs.ProblemData:
				require.NotEmpty(t, p.Paths)
				require.EqualValues(t, 4096, p.Bytes)
				if slices.Contains(p.Paths, "/big") {
					require.Equal(t, []string{"/big", "/d/hard"}, p.Paths)
				}
			case sefs.ProblemNode:
				require.Regexp(t, fmt.Sprintf("block (%d|%d) ", at/4096, at/4096-1), p.Text)
			default:
				require.Fail(t, "another kind of problem", "%+v", p)
			}
		}
	}
	if step == 4096 {
		require.Equal(t, used, found, "each block in use, and no other")
	}
	require.Positive(t, kinds[sefs.ProblemData])
	require.Positive(t, kinds[sefs.ProblemNode])
}

// forge changes items of a closed image behind the back of the file system.
func forge(t *testing.T, mem *store.Memory, change func(v *volume.Volume, tx *volume.Tx)) {
	key := testKey(t)
	v, err := volume.Open(t.Context(), mem, volume.Config{
		Unlocking:      volume.Unlocking{Unlock: func(volume.Slot) ([]byte, error) { return bytes.Clone(key.Bytes()), nil }},
		CommitInterval: -1,
	})
	require.NoError(t, err)
	tx, err := v.Begin(t.Context())
	require.NoError(t, err)
	change(v, tx)
	tx.End()
	require.NoError(t, v.Close(t.Context()))
}

func TestCheckEnds(t *testing.T) {
	mem := oddImage(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := sefs.Check(ctx, "image", sefs.CheckConfig{OpenConfig: onStore(t, mem), Progress: func(done, total int64) {
		require.LessOrEqual(t, done, total)
		calls++
		cancel()
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, calls)
	_, err = sefs.Check(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, store.NewMemory())})
	require.ErrorIs(t, err, unix.EINVAL, "an empty directory")

	m := mem.Clone()
	for _, name := range m.Names() {
		if strings.HasPrefix(name, "seg/") {
			_ = m.Unlink(name)
		}
	}
	r, err := sefs.Check(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, m), Limit: 1})
	require.NoError(t, err)
	require.Len(t, r.Problems, 1)
	require.False(t, r.Clean())
}
