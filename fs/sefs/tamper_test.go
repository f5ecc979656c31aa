package sefs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
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

// A damage is one change of an image on the host.
type damage struct {
	what string
	do   func(mem *store.Memory)
}

// damages lists changes of an image: bytes, cuts, extensions, older versions, blocks that change places. In a
// long run it is every byte, every sector and every pair of blocks.
func damages(older, newer *store.Memory) (list []damage) {
	add := func(what string, do func(mem *store.Memory)) { list = append(list, damage{what, do}) }
	type block struct {
		name string
		at   int
	}
	var blocks []block
	for _, name := range newer.Names() {
		data := newer.Bytes(name)
		for next := 0; next < len(data); {
			at := next
			add(fmt.Sprintf("%s: byte %d", name, at), func(mem *store.Memory) { mem.Bytes(name)[at] ^= 1 << (at % 8) })
			if next++; !long() {
				next += 60 + at/40 // more of the beginning, where all structures start
			}
		}
		sizes := []int{0, 1, 511, 4095, 4096, 8192, len(data) / 2, len(data) - 1}
		for at := 0; long() && at < len(data); at += 512 {
			sizes = append(sizes, at, at+1)
		}
		for _, n := range sizes {
			if n >= 0 && n < len(data) {
				add(fmt.Sprintf("%s: cut to %d bytes", name, n), func(mem *store.Memory) { mem.SetBytes(name, bytes.Clone(data[:n])) })
			}
		}
		add(name+": doubled", func(mem *store.Memory) { mem.SetBytes(name, append(bytes.Clone(data), data...)) })
		add(name+": removed", func(mem *store.Memory) { _ = mem.Unlink(name) })
		add(name+": older version", func(mem *store.Memory) { mem.SetBytes(name, bytes.Clone(older.Bytes(name))) })
		add(name+": all but this older", func(mem *store.Memory) {
			for _, other := range older.Names() {
				if other != name {
					mem.SetBytes(other, bytes.Clone(older.Bytes(other)))
				}
			}
		})
		for at := 0; at+4096 <= len(data); at += 4096 {
			blocks = append(blocks, block{name, at})
		}
	}
	for i, a := range blocks {
		for j := i + 1; j < len(blocks) && (long() || j == i+1); j++ {
			b := blocks[j]
			add(fmt.Sprintf("%v and %v swapped", a, b), func(mem *store.Memory) {
				x, y := mem.Bytes(a.name)[a.at:a.at+4096], mem.Bytes(b.name)[b.at:b.at+4096]
				tmp := bytes.Clone(x)
				copy(x, y)
				copy(y, tmp)
			})
		}
	}
	return list
}

// TestTampering changes the image on the host in many ways. A mount may be
// refused and a read may fail, but what is shown must be a tree that was
// committed.
func TestTampering(t *testing.T) {
	older, newer, oldTree, newTree := tamperImage(t)
	list := damages(older, newer)
	shown, refused, failed := lookAt(t, newer, "untouched", oldTree, newTree)
	require.Equal(t, [3]int{1, 0, 0}, [3]int{shown, refused, failed})
	const workers = 2
	var sums [workers][3]int
	t.Run("damages", func(t *testing.T) {
		for worker := range workers {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for i := worker; i < len(list); i += workers {
					if i%50_000 == 0 {
						t.Logf("%d of %d", i, len(list))
					}
					mem := newer.Clone()
					list[i].do(mem)
					shown, refused, failed := lookAt(t, mem, list[i].what, oldTree, newTree)
					sums[worker][0] += shown
					sums[worker][1] += refused
					sums[worker][2] += failed
					if failed > 0 && i%50 < workers {
						requireNamed(t, mem, list[i].what)
					}
				}
			})
		}
	})
	for i, what := range []string{"a right tree was shown", "mount refused", "a part could not be read"} {
		require.Positive(t, sums[0][i]+sums[1][i], what)
	}
	t.Logf("%d damages: right tree %d, mount refused %d, parts refused %d", len(list), sums[0][0]+sums[1][0], sums[0][1]+sums[1][1], sums[0][2]+sums[1][2])
}

// lookAt mounts a damaged image and says what came of it.
func lookAt(t *testing.T, mem *store.Memory, what string, trees ...map[string]string) (shown, refused, failed int) {
	got, refusal := look(t, mem)
	switch {
	case got == nil && strings.HasPrefix(refusal, "open: "):
		return 0, 1, 0
	case got == nil:
		require.Regexp(t, "input/output error|structure needs cleaning|not authentic|is corrupt", refusal, what)
		return 0, 0, 1
	}
	for _, tree := range trees {
		if maps.Equal(tree, got) {
			return 1, 0, 0
		}
	}
	require.Equal(t, trees[len(trees)-1], got, what)
	return 0, 0, 0
}

// requireNamed requires a check to find what a reader stumbles over, and to name what it affects.
func requireNamed(t *testing.T, mem *store.Memory, what string) {
	r, err := sefs.Check(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, mem), Depth: sefs.CheckTree})
	require.NoError(t, err, what)
	require.NotEmpty(t, r.Problems, what)
	for _, p := range r.Problems {
		if p.Kind == sefs.ProblemData {
			require.NotEmpty(t, p.Paths, "%s: %s", what, p.Text)
		}
	}
}
