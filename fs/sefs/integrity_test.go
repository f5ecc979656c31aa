package sefs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// sampleRoot is the root MAC of sample. It never changes: images that were built with earlier
// releases are known by such roots.
const sampleRoot = "62413c53edd1f8011727935637f9643a106aa7a95d8228c087e068330d5ab89c"

func requireSameImage(t *testing.T, want, got *store.Memory, what string) {
	t.Helper()
	require.Equal(t, want.Names(), got.Names(), what)
	for _, name := range want.Names() {
		require.True(t, bytes.Equal(want.Bytes(name), got.Bytes(name)), "%s: %s differs", what, name)
	}
}

func TestIntegritySample(t *testing.T) {
	mem, result := sample().build(t, sefs.IntegrityConfig{})
	require.Equal(t, sampleRoot, result.Root.String())
	require.Equal(t, []string{"SEFS", "heads", "seg/00/00000000", "seg/01/00000001"}, mem.Names())
	result.Root = [32]byte{}
	require.Equal(t, sefs.IntegrityResult{
		Files: 9, Dirs: 2, Symlinks: 2, Specials: 3, Links: 1,
		Bytes: 12 + 4096 + 300_001 + 2_500_000 + 3 + 5 + 9,
	}, result)
}

// TestIntegrityDeterministic lists directories in any order, on one and two processors.
func TestIntegrityDeterministic(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	want, _ := sample().build(t, sefs.IntegrityConfig{})
	for seed := range uint64(6) {
		runtime.GOMAXPROCS(1 + int(seed%3))
		g := sample()
		r := rand.New(rand.NewPCG(seed, 0))
		g.rand, g.at("dir").rand = r, r
		got, _ := g.build(t, sefs.IntegrityConfig{})
		requireSameImage(t, want, got, fmt.Sprint("seed ", seed))
	}
}

// TestIntegrityLeavesOut shows what is not part of a tree: it changes nothing.
func TestIntegrityLeavesOut(t *testing.T) {
	want, _ := sample().build(t, sefs.IntegrityConfig{})
	for name, change := range map[string]func(g *grove){
		"attributes of the host":     func(g *grove) { g.at("owned").xattrs["security.selinux"] = []byte("x") },
		"attributes that root reads": func(g *grove) { delete(g.at("owned").xattrs, "trusted.x") },
		"times behind the latest":    func(g *grove) { g.at("owned").entry.Mtime = unix.Timespec{Sec: 1 << 40, Nsec: 7} },
		"sizes of directories":       func(g *grove) { g.at("dir").entry.Size = 4096 },
		"numbers of linked files": func(g *grove) {
			g.at("dir", "second").entry.Link = [2]uint64{9, 9}
			g.at("dir", "sub", "first").entry.Link = [2]uint64{9, 9}
		},
		"links from outside": func(g *grove) { g.at("inline").entry.Link = [2]uint64{3, 3} },
	} {
		t.Run(name, func(t *testing.T) {
			g := sample()
			change(g)
			got, _ := g.build(t, sefs.IntegrityConfig{})
			requireSameImage(t, want, got, name)
		})
	}
}

// TestIntegrityOneBit changes one bit of the tree, a hundred times and more: every root is another one.
func TestIntegrityOneBit(t *testing.T) {
	cfg := sefs.IntegrityConfig{Mtime: 1000}
	seen := make(map[string]string)
	changes := 0
	note := func(what string, change func(g *grove)) {
		if changes++; raceDetector && changes%6 > 0 {
			return // an image takes long there
		}
		g := sample()
		change(g)
		_, result := g.build(t, cfg)
		if other, ok := seen[result.Root.String()]; ok {
			t.Errorf("%s: the root is that of %s", what, other)
		}
		seen[result.Root.String()] = what
	}
	done := make(map[string]bool)
	once := func(what string, change func(g *grove)) {
		if !done[what] {
			done[what] = true
			note(what, change)
		}
	}
	note("the sample", func(*grove) {})
	for bit := range 12 {
		note(fmt.Sprint("mode bit ", bit), func(g *grove) { g.at("dir", "sub").entry.Mode ^= 1 << bit })
	}
	for _, bit := range []int{0, 7, 16, 31} {
		note(fmt.Sprint("owner bit ", bit), func(g *grove) { g.at("inline").entry.UID ^= 1 << bit })
		note(fmt.Sprint("group bit ", bit), func(g *grove) { g.at("fifo").entry.GID ^= 1 << bit })
		note(fmt.Sprint("device bit ", bit), func(g *grove) { g.at("device").entry.Rdev ^= 1 << bit })
	}
	for bit := range 9 {
		note(fmt.Sprint("time bit ", bit), func(g *grove) { g.at("link").entry.Mtime.Sec ^= 1 << bit })
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"inline", "block", "odd", "large", "holes", "zeros", "owned"} {
		for range 7 {
			at, bit := r.IntN(len(sample().at(name).data)), r.IntN(8)
			once(fmt.Sprintf("%s: byte %d bit %d", name, at, bit), func(g *grove) { g.at(name).data[at] ^= 1 << bit })
		}
	}
	for range 8 {
		at, bit := r.IntN(3000), r.IntN(4)
		once(fmt.Sprintf("target byte %d bit %d", at, bit), func(g *grove) {
			target := []byte(g.at("far").entry.Target)
			target[at] ^= 1 << bit
			g.at("far").entry.Target = string(target)
		})
		once(fmt.Sprintf("attribute byte %d bit %d", at, bit), func(g *grove) { g.at("owned").xattrs["user.long"][at] ^= 1 << bit })
	}
	note("name of an attribute", func(g *grove) { g.at("owned").xattrs = map[string][]byte{"user.b": []byte("1")} })
	note("a name", func(g *grove) {
		g.below["fifn"] = g.below["fifo"]
		delete(g.below, "fifo")
	})
	note("a longer file", func(g *grove) { g.at("empty").data = []byte{0} })
	note("a longer hole", func(g *grove) { g.at("zeros").data = make([]byte, 10_001) })
	note("links of their own", func(g *grove) { g.at("dir", "second").entry.Link = [2]uint64{} })
	note("another type", func(g *grove) { g.at("fifo").entry.Mode ^= unix.S_IFIFO ^ unix.S_IFSOCK })
	require.Greater(t, changes, 100)
}

// TestIntegrityRead compares what the image shows with the tree it was built from.
func TestIntegrityRead(t *testing.T) {
	g := sample()
	mem, result := g.build(t, sefs.IntegrityConfig{Mtime: 3})
	fs := openPinned(t, mem, result)
	require.True(t, fs.Integrity())
	require.Equal(t, result.Root, fs.RootMAC())
	var same func(d vfs.Dir, g *grove, path string)
	same = func(d vfs.Dir, g *grove, path string) {
		for name, want := range g.below {
			path := path + "/" + name
			i, err := d.Lookup(t.Context(), name)
			require.NoError(t, err, path)
			defer vfs.UnpinInode(t.Context(), i)
			a, err := i.Getattr(t.Context(), unix.STATX_BASIC_STATS)
			require.NoError(t, err)
			require.Equal(t, want.entry.Mode, a.Mode, path)
			require.Equal(t, []uint32{want.entry.UID, want.entry.GID}, []uint32{a.UID, a.GID}, path)
			require.Equal(t, want.entry.Rdev, a.Rdev, path)
			for _, time := range []unix.Timespec{a.Atime, a.Mtime, a.Ctime, a.Btime} {
				require.Equal(t, unix.Timespec{Sec: 3}, time, path)
			}
			names, err := i.Xattrs().Listxattr(t.Context())
			require.NoError(t, err)
			kept := 0
			for attr, value := range want.xattrs {
				if strings.HasPrefix(attr, "user.") || attr == "security.capability" {
					got, err := i.Xattrs().Getxattr(t.Context(), attr)
					require.NoError(t, err, "%s: %s", path, attr)
					require.Equal(t, string(value), string(got), "%s: %s", path, attr)
					kept++
				}
			}
			require.Len(t, names, kept, path)
			switch x := i.(type) {
			case vfs.Dir:
				require.Equal(t, int64(32*len(want.below)), a.Size)
				same(x, want, path)
			case vfs.Symlink:
				target, err := x.Readlink(t.Context())
				require.NoError(t, err)
				require.Equal(t, want.entry.Target, target)
			case vfs.Regular:
				require.Equal(t, int64(len(want.data)), a.Size, path)
				h, err := x.Open(t.Context(), unix.O_RDONLY)
				require.NoError(t, err)
				got := make([]byte, len(want.data)+1)
				n, err := h.ReadAt(t.Context(), got, 0)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want.data, got[:n]), path)
				require.NoError(t, h.Release(t.Context()))
			}
		}
	}
	same(fs.Root(), g, "")
	links := func(names ...string) uint32 {
		var i vfs.Inode = fs.Root()
		for _, name := range names {
			next, err := i.(vfs.Dir).Lookup(t.Context(), name)
			require.NoError(t, err)
			defer vfs.UnpinInode(t.Context(), next)
			i = next
		}
		a, err := i.Getattr(t.Context(), unix.STATX_BASIC_STATS)
		require.NoError(t, err)
		return a.Nlink
	}
	require.Equal(t, uint32(2), links("dir", "second"))
	require.Equal(t, uint32(1), links("inline"))
	require.Equal(t, uint32(3), links())
	require.Equal(t, uint32(3), links("dir"))

	_, err := fs.Root().Create(t.Context(), "new", vfs.CreateAttr{Mode: 0o644})
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorIs(t, fs.Root().Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_MODE}), unix.EROFS)
	require.ErrorIs(t, fs.Root().Xattrs().Setxattr(t.Context(), "user.x", nil, 0), unix.EROFS)
	require.NotContains(t, mem.Names(), "lock", "nothing is written")

	report, err := sefs.Check(t.Context(), "image", sefs.CheckConfig{
		OpenConfig: sefs.OpenConfig{MAC: &result.Root, OpenStore: inMemoryStore(mem)}, Depth: sefs.CheckTree,
	})
	require.NoError(t, err)
	require.True(t, report.Clean(), "%v", report.Problems)
	require.Equal(t, int64(17), report.Inodes)
}

// TestIntegrityConfig shows what the two options do.
func TestIntegrityConfig(t *testing.T) {
	g := newGrove()
	old := g.add("old", unix.S_IFREG|0o644, "x")
	old.entry.Mtime, old.entry.UID = unix.Timespec{Sec: 50, Nsec: 999}, 7
	g.add("new", unix.S_IFREG|0o644, "x").entry.Mtime.Sec = 500
	attr := func(cfg sefs.IntegrityConfig, name string) vfs.Attr {
		fs := openPinned(g.build2(t, cfg))
		i, err := fs.Root().Lookup(t.Context(), name)
		require.NoError(t, err)
		defer vfs.UnpinInode(t.Context(), i)
		a, err := i.Getattr(t.Context(), unix.STATX_BASIC_STATS)
		require.NoError(t, err)
		return a
	}
	require.Equal(t, unix.Timespec{}, attr(sefs.IntegrityConfig{}, "new").Mtime)
	require.Equal(t, unix.Timespec{}, attr(sefs.IntegrityConfig{}, "old").Mtime)
	clamped := sefs.IntegrityConfig{Mtime: 100, Owner: &vfs.Owner{UID: 1, GID: 2}}
	require.Equal(t, unix.Timespec{Sec: 100}, attr(clamped, "new").Mtime)
	require.Equal(t, unix.Timespec{Sec: 50}, attr(clamped, "old").Mtime, "whole seconds")
	require.Equal(t, uint32(7), attr(sefs.IntegrityConfig{}, "old").UID)
	require.Equal(t, uint32(1), attr(clamped, "old").UID)
	require.Equal(t, uint32(2), attr(clamped, "old").GID)
}

// TestIntegrityBuildFails shows that a failure leaves an empty directory and comes through.
func TestIntegrityBuildFails(t *testing.T) {
	tests := []struct {
		name   string
		change func(g *grove)
		want   error
	}{
		{"a directory that cannot be listed", func(g *grove) { g.at("dir", "sub").fail = unix.EACCES }, unix.EACCES},
		{"a file that cannot be read", func(g *grove) { g.at("odd").fail = unix.EIO }, unix.EIO},
		{"a large file that cannot be read", func(g *grove) { g.at("large").fail = unix.EACCES }, unix.EACCES},
		{"a whiteout", func(g *grove) { g.add("wh", unix.S_IFCHR, "") }, unix.EPERM},
		{"an unknown type", func(g *grove) { g.at("fifo").entry.Mode = 0o644 }, unix.EINVAL},
		{"a name with a slash", func(g *grove) { g.add("a/b", unix.S_IFREG, "") }, unix.EINVAL},
		{"a name that is too long", func(g *grove) { g.add(strings.Repeat("n", 256), unix.S_IFREG, "") }, unix.ENAMETOOLONG},
		{"a root that is a file", func(g *grove) { g.entry.Mode = unix.S_IFREG }, unix.ENOTDIR},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, mem := sample(), store.NewMemory()
			tt.change(g)
			_, err := g.tryBuild(t, mem, sefs.IntegrityConfig{})
			require.ErrorIs(t, err, tt.want)
			require.Empty(t, mem.Names())
		})
	}
	t.Run("a file that becomes shorter", func(t *testing.T) {
		for _, name := range []string{"inline", "odd", "large"} {
			g, mem := sample(), store.NewMemory()
			short := shrinking{g, name}
			cfg := sefs.IntegrityConfig{Tree: short, Top: g.top(), OpenStore: inMemoryStore(mem)}
			_, err := sefs.BuildIntegrity(t.Context(), "image", cfg)
			require.ErrorIs(t, err, unix.EIO, name)
			require.ErrorContains(t, err, name)
			require.Empty(t, mem.Names())
		}
	})
	t.Run("a whiteout is left out where that is allowed", func(t *testing.T) {
		g := sample()
		g.add("wh", unix.S_IFCHR, "")
		left := ""
		_, result := g.build(t, sefs.IntegrityConfig{Skipped: func(path string, err error) { left = path }})
		require.Equal(t, "/wh", left)
		require.Equal(t, sampleRoot, result.Root.String())
	})
	t.Run("a directory that is not empty", func(t *testing.T) {
		mem, _ := sample().build(t, sefs.IntegrityConfig{})
		before := mem.Clone()
		_, err := sample().tryBuild(t, mem, sefs.IntegrityConfig{})
		require.ErrorIs(t, err, unix.EINVAL)
		requireSameImage(t, before, mem, "as it was")
	})
}
