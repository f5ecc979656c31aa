package sefs_test

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// TestRepairDamagedNodes damages each node of the tree and repairs. A file that no problem names is as it
// was. One that is named has lost its name, or is as it was but for parts that cannot be read.
func TestRepairDamagedNodes(t *testing.T) {
	mem := nodesImage(t)
	want := contents(t, mem)
	seg := segment(mem)
	nodes, spoilt, step := 0, 0, 8192
	if raceDetector {
		step *= 8 // the race detector makes all of this many times slower
	}
	for at := 0; at < len(mem.Bytes(seg)); at += step {
		m := mem.Clone()
		m.Bytes(seg)[at+100] ^= 1
		found := checked(t, m, sefs.CheckTree)
		if found.Clean() || found.Problems[0].Kind != sefs.ProblemNode {
			continue
		}
		nodes++
		r := repair(t, m)
		if r.Left == nil {
			require.Contains(t, r.Found.Problems[0].Text, "nothing else could be checked", "the root of the tree")
			continue
		}
		require.Equal(t, found.Problems, r.Found.Problems, "a repair sees what a check sees")
		named := map[string]bool{}
		for _, p := range found.Problems[0].Paths {
			named[p] = true
		}
		bad := map[string]bool{}
		for _, p := range r.Left.Problems {
			require.Equal(t, sefs.ProblemData, p.Kind, "%+v", p)
			for _, path := range p.Paths {
				bad[path] = true
			}
		}
		have := contents(t, m)
		for path, text := range have {
			switch {
			case strings.HasPrefix(path, "/lost+found"):
			case text == unreadable:
				spoilt++
				require.True(t, bad[path], "%s cannot be read", path)
				require.True(t, named[path], "%s is named", path)
			default:
				require.True(t, want[path] == text, "%s has the bytes that it had", path)
			}
		}
		for path := range want {
			if _, ok := have[path]; !ok {
				require.True(t, below(named, path), "%s is gone, and nothing says so", path)
			}
		}
		require.Nil(t, repair(t, m).Left, "a second repair has nothing to do")
		usable(t, m)
		require.Equal(t, len(r.Left.Problems), len(checked(t, m, sefs.CheckTree).Problems), "and after use")
	}
	require.Greater(t, nodes, 20*8192/step)
	require.Positive(t, spoilt)
}

// below reports whether a path or a directory above it is in a set.
func below(set map[string]bool, p string) bool {
	for ; p != "/"; p = path.Dir(p) {
		if set[p] {
			return true
		}
	}
	return set["/"]
}

func segment(mem *store.Memory) string {
	return mem.Names()[slices.IndexFunc(mem.Names(), func(n string) bool { return strings.HasPrefix(n, "seg/") })]
}

// nodesImage is an image in which directories, files and attributes go across nodes.
func nodesImage(t testing.TB) *store.Memory {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	for d := range 3 {
		dir := fmt.Sprint("d", d)
		require.NoError(t, x.create(dir, unix.S_IFDIR|0o755, ""))
		for n := range 60 {
			require.NoError(t, x.create(fmt.Sprint(dir, "/file with a rather long name ", n), 0o644, strings.Repeat(fmt.Sprint(n, " "), n*10)))
		}
		require.NoError(t, x.create(dir+"/link", unix.S_IFLNK, strings.Repeat("t", 3000)))
		require.NoError(t, x.create(dir+"/sub", unix.S_IFDIR|0o755, ""))
		require.NoError(t, x.create(dir+"/sub/f", 0o644, "below"))
		require.NoError(t, x.setxattr(dir, "user.a", strings.Repeat("v", 20000), 0))
		big := dir + "/big"
		require.NoError(t, x.create(big, 0o644, ""))
		for n := range 250 { // many extents, with holes
			require.NoError(t, x.write(big, fmt.Sprint(n), int64(n)<<13))
		}
	}
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	return mem
}

const unreadable = "cannot be read"

// contents reads all files; a file of which a part cannot be read is unreadable.
func contents(t *testing.T, mem *store.Memory) map[string]string {
	x := &tree{t: t, cfg: onStore(t, mem)}
	x.cfg.Access = sefs.ReadOnly
	x.open()
	defer x.fs.Abandon()
	out := map[string]string{}
	var walk func(p string)
	walk = func(p string) {
		for _, e := range x.names(p, 100) {
			name := path.Join("/", p, e.Name)
			a := x.stat(name)
			switch a.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				out[name] = "dir"
				walk(name)
			case unix.S_IFREG:
				h := x.handle(name)
				b := make([]byte, a.Size)
				if _, err := h.ReadAt(t.Context(), b, 0); err != nil {
					require.ErrorIs(t, err, unix.EIO)
					out[name] = unreadable
				} else {
					out[name] = string(b)
				}
				require.NoError(t, h.Release(t.Context()))
			default:
				out[name] = "other"
			}
		}
	}
	walk("")
	return out
}

// unclosed is an image that was killed after a commit and has a damaged node.
func unclosed(t *testing.T) *store.Memory {
	mem := nodesImage(t)
	x := &tree{t: t, cfg: onStore(t, mem)}
	x.open()
	require.NoError(t, x.create("d1/new", 0o644, strings.Repeat("new", 10_000)))
	require.NoError(t, x.write("d1/big", "changed", 100))
	require.NoError(t, x.fs.Sync(t.Context()))
	x.fs.Abandon()
	return mem
}

// TestRepairInterrupted stops a repair after each call of the host: what is there then is the old state, or
// the repaired one.
func TestRepairInterrupted(t *testing.T) {
	clean := unclosed(t)
	seg := segment(clean)
	// A node that the journal changes keeps a reader from opening the image.
	closed, rest := "nothing else could be checked", "what it says of these files is lost"
	nodes := map[string]int{}
	for at := len(clean.Bytes(seg)) - 8192; len(nodes) < 2; at -= 8192 { // they come behind the data
		require.GreaterOrEqual(t, at, 0, "no such nodes: %v", nodes)
		clean.Bytes(seg)[at] ^= 1
		found, err := sefs.Check(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, clean)})
		require.NoError(t, err)
		for _, text := range []string{closed, rest} {
			if _, ok := nodes[text]; ok || !strings.Contains(kinds(found.Problems), text) {
				continue
			}
			if r := repair(t, clean.Clone()); r.Left != nil && !r.Left.Clean() {
				nodes[text] = at
			}
		}
		clean.Bytes(seg)[at] ^= 1
	}
	for text, at := range nodes {
		t.Run(text, func(t *testing.T) {
			mem := clean.Clone()
			mem.Bytes(seg)[at] ^= 1
			old := problems(t, mem)
			rec := store.NewRecorder(mem.Clone())
			left := kinds(repair(t, rec).Left.Problems)
			require.NotEqual(t, old, left)
			outcomes := map[string]int{}
			r := rand.New(rand.NewPCG(1, 2))
			step, tries := 1, 2
			if raceDetector {
				step, tries = 5, 1
			}
			for n := rec.Len(); n >= 0; n -= step {
				for range tries {
					m := rec.Crash(n, func(int, store.Call) store.Fate { return store.Fate(r.IntN(3)) })
					now := problems(t, m)
					require.Contains(t, []string{old, left}, now, "stopped after %d calls", n)
					outcomes[now]++
				}
			}
			require.Len(t, outcomes, 2)
			t.Logf("%d calls: %v", rec.Len(), outcomes)
		})
	}
}

// problems says what Check finds, the copies of the head aside: one may be torn.
func problems(t *testing.T, mem *store.Memory) string {
	return kinds(checked(t, mem, sefs.CheckTree).Problems)
}

func kinds(problems []sefs.Problem) string {
	var out []string
	for _, p := range problems {
		if !strings.Contains(p.Text, "of the head") {
			out = append(out, fmt.Sprintln(p.Kind, p.Paths, p.Offset, p.Bytes, p.Text))
		}
	}
	return strings.Join(out, "")
}

// TestRepairManyDamages damages several places at once.
func TestRepairManyDamages(t *testing.T) {
	clean := unclosed(t)
	seg := segment(clean)
	want := contents(t, clean)
	r := rand.New(rand.NewPCG(3, 4))
	repaired := 0
	for n := range 25 {
		m := clean.Clone()
		for range 1 + r.IntN(8) {
			m.Bytes(seg)[r.IntN(len(m.Bytes(seg)))] ^= 1
		}
		before := m.Clone()
		rep := repair(t, m)
		if rep.Left == nil {
			requireSame(t, before, m)
			continue
		}
		repaired++
		for _, p := range rep.Left.Problems {
			require.Equal(t, sefs.ProblemData, p.Kind, "%d: %+v", n, p)
		}
		for path, text := range contents(t, m) {
			if !strings.HasPrefix(path, "/lost+found") && text != unreadable {
				require.True(t, want[path] == text, "%d: %s has the bytes that it had", n, path)
			}
		}
		usable(t, m)
		require.Equal(t, len(rep.Left.Problems), len(checked(t, m, sefs.CheckTree).Problems), "%d: and after use", n)
		require.Nil(t, repair(t, m).Left, "%d: a second repair has nothing to do", n)
	}
	require.Greater(t, repaired, 10)
}
