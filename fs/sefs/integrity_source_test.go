package sefs_test

import (
	"context"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// A grove is a tree in memory to build images from.
type grove struct {
	entry  sefs.TreeEntry
	data   []byte
	xattrs map[string][]byte
	below  map[string]*grove
	rand   *rand.Rand // shuffles what is listed; nil: by name
	fail   error      // of every read
}

func (g *grove) at(names ...string) *grove {
	for _, name := range names {
		g = g.below[name]
	}
	return g
}

// add makes an entry of a type below g.
func (g *grove) add(name string, mode uint32, data string) *grove {
	x := &grove{entry: sefs.TreeEntry{Name: name, Mode: mode, Mtime: unix.Timespec{Sec: 5}}, data: []byte(data)}
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		x.below = make(map[string]*grove)
	case unix.S_IFLNK:
		x.entry.Target = data
	}
	g.below[name] = x
	return x
}

func newGrove() *grove {
	g := &grove{below: make(map[string]*grove)}
	g.entry.Mode = unix.S_IFDIR | 0o755
	return g
}

// top is the entry of g itself.
func (g *grove) top() sefs.TreeEntry {
	e := g.entry
	if e.Mode&unix.S_IFMT == unix.S_IFREG {
		e.Size = int64(len(g.data))
	}
	return e
}

func (g *grove) Entries(context.Context) (entries []sefs.TreeEntry, err error) {
	for _, name := range slices.Sorted(maps.Keys(g.below)) {
		e := g.below[name].top()
		e.Name = name
		entries = append(entries, e)
	}
	if g.rand != nil {
		g.rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	return entries, g.fail
}

func (g *grove) Xattrs(context.Context) (map[string][]byte, error) { return maps.Clone(g.xattrs), nil }

func (g *grove) Dir(_ context.Context, name string) (sefs.TreeDir, error) { return g.below[name], nil }

func (g *grove) Open(_ context.Context, name string) (sefs.TreeFile, error) {
	return groveFile{g.below[name]}, nil
}

func (g *grove) Close() error { return nil }

type groveFile struct{ *grove }

func (f groveFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if f.fail != nil || off >= int64(len(f.data)) {
		return 0, f.fail
	}
	return copy(p, f.data[off:]), nil
}

func (f groveFile) NextData(_ context.Context, off int64) (int64, error) { return off, nil }

// build makes an image of g in memory.
func (g *grove) build(t testing.TB, cfg sefs.IntegrityConfig) (*store.Memory, sefs.IntegrityResult) {
	t.Helper()
	mem := store.NewMemory()
	result, err := g.tryBuild(t, mem, cfg)
	require.NoError(t, err, "BuildIntegrity")
	return mem, result
}

func (g *grove) tryBuild(t testing.TB, mem *store.Memory, cfg sefs.IntegrityConfig) (sefs.IntegrityResult, error) {
	cfg.Tree, cfg.Top = g, g.top()
	cfg.OpenStore = inMemoryStore(mem)
	return sefs.BuildIntegrity(t.Context(), "image", cfg)
}

func inMemoryStore(mem *store.Memory) func(string, sefs.Access) (store.Store, error) {
	return func(string, sefs.Access) (store.Store, error) { return mem, nil }
}

// sample is a small tree with a bit of everything. Later releases must build the same image of it.
func sample() *grove {
	g := newGrove()
	g.xattrs = map[string][]byte{"user.root": []byte("r"), "security.selinux": []byte("host")}
	g.add("empty", unix.S_IFREG|0o644, "")
	g.add("inline", unix.S_IFREG|0o4755, "a small file")
	g.add("block", unix.S_IFREG|0o600, string(fill(1, 4096)))
	g.add("odd", unix.S_IFREG|0o600, string(fill(2, 300_001)))
	g.add("large", unix.S_IFREG|0o644, string(fill(3, 2_500_000)))
	g.add("holes", unix.S_IFREG|0o644, string(append(make([]byte, 3<<20), "end"...)))
	g.add("zeros", unix.S_IFREG|0o644, string(make([]byte, 10_000)))
	owned := g.add("owned", unix.S_IFREG|0o640, "owned")
	owned.entry.UID, owned.entry.GID = 1000, 100
	owned.xattrs = map[string][]byte{
		"user.a": []byte("1"), "user.long": fill(4, 5000), "security.capability": []byte("cap"),
		"trusted.x": []byte("no"), "security.ima": []byte("no"), "system.posix_acl_access": []byte("no"),
	}
	g.add("link", unix.S_IFLNK|0o777, "inline")
	g.add("far", unix.S_IFLNK|0o777, string(lowercase(3000)))
	g.add("fifo", unix.S_IFIFO|0o600, "")
	g.add("socket", unix.S_IFSOCK|0o600, "")
	g.add("device", unix.S_IFBLK|0o660, "").entry.Rdev = unix.Mkdev(8, 1)
	d := g.add("dir", unix.S_IFDIR|0o1777, "")
	d.xattrs = map[string][]byte{"user.d": nil}
	d.add("second", unix.S_IFREG|0o644, "two names")
	d.add("sub", unix.S_IFDIR|0o700, "").add("first", unix.S_IFREG|0o644, "two names")
	for _, f := range []*grove{d.at("second"), d.at("sub", "first")} {
		f.entry.Link = [2]uint64{1, 7}
	}
	return g
}

// fill returns n bytes without order, the same each time.
func fill(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, 0, n+7)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func lowercase(n int) []byte {
	b := fill(9, n)
	for i := range b {
		b[i] = 'a' + b[i]%26
	}
	return b
}

// openPinned opens an integrity-only image.
func openPinned(t testing.TB, mem *store.Memory, result sefs.IntegrityResult) *sefs.FS {
	t.Helper()
	fs, err := sefs.Open(t.Context(), "image", sefs.OpenConfig{
		Access: sefs.ReadOnly, MAC: &result.Root, OpenStore: inMemoryStore(mem),
	})
	require.NoError(t, err, "Open")
	t.Cleanup(func() { _ = fs.Close(context.Background(), vfs.ForceClose) })
	return fs
}

// build2 is build in the form that openPinned takes.
func (g *grove) build2(t testing.TB, cfg sefs.IntegrityConfig) (testing.TB, *store.Memory, sefs.IntegrityResult) {
	mem, result := g.build(t, cfg)
	return t, mem, result
}

// shrinking is a grove in which a file of the root directory loses its last byte after it was listed.
type shrinking struct {
	*grove
	name string
}

func (s shrinking) Open(ctx context.Context, name string) (sefs.TreeFile, error) {
	f := s.below[name]
	if name == s.name {
		short := *f
		short.data = f.data[:len(f.data)-1]
		f = &short
	}
	return groveFile{f}, nil
}
