package sefs_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// leafImage is an image whose tree is one node.
func leafImage(t testing.TB) *store.Memory {
	g := newGrove()
	g.add("f", unix.S_IFREG|0o644, "inline")
	g.add("data", unix.S_IFREG|0o644, string(fill(1, 9000)))
	g.add("l", unix.S_IFLNK|0o777, "d/f")
	g.add("d", unix.S_IFDIR|0o755, "").add("f", unix.S_IFREG|0o644, "below").xattrs = map[string][]byte{"user.a": []byte("1")}
	mem, _ := g.build(t, sefs.IntegrityConfig{})
	return mem
}

// forgeLeaf makes mem the image whose only node is what change makes of it, with a header that
// says so: what somebody can give to a tool who may write the image.
func forgeLeaf(t testing.TB, mem *store.Memory, change func(node []byte)) {
	head := mem.Bytes("heads")[:format.HeadSize]
	h, err := format.DecodeHead(head)
	require.NoError(t, err)
	require.Zero(t, h.Height)
	node := mem.Bytes("seg/01/00000001")
	change(node)
	root := format.HashPtr(h.Root.Ptr, seal.Checksum(node))
	head = format.IntegrityHead(root, 0, h.Used, uint32(h.Live))
	_, header := format.NewIntegrityHeader(head)
	copy(mem.Bytes("heads"), head)
	copy(mem.Bytes("heads")[format.HeadStride:], head)
	mem.SetBytes("SEFS", header)
}

// lookAround opens an image without a root MAC and reads what it shows, some levels deep.
func lookAround(t testing.TB, mem *store.Memory) error {
	fs, err := sefs.Open(t.Context(), "image", sefs.OpenConfig{
		Access: sefs.ReadOnly, Unpinned: true, OpenStore: inMemoryStore(mem),
		NodeCacheBytes: 1 << 20, PageCacheBytes: 1 << 20,
	})
	if err != nil {
		return err
	}
	defer fs.Close(context.Background(), vfs.ForceClose)
	return errors.Join(walkAround(t, fs.Root(), 4), readInode(t, fs.Root()))
}

func walkAround(t testing.TB, d vfs.Dir, levels int) error {
	h, err := d.OpenDir(t.Context())
	if err != nil {
		return err
	}
	var names []string
	err = h.ReadDir(t.Context(), 0, func(e vfs.Dirent) bool {
		names = append(names, e.Name)
		return len(names) < 100
	})
	for _, name := range names {
		i, e := d.Lookup(t.Context(), name)
		if err = errors.Join(err, e); e != nil {
			continue
		}
		err = errors.Join(err, readInode(t, i))
		if sub, ok := i.(vfs.Dir); ok && levels > 0 {
			err = errors.Join(err, walkAround(t, sub, levels-1))
		}
		vfs.UnpinInode(t.Context(), i)
	}
	return err
}

// readInode reads all there is to one inode.
func readInode(t testing.TB, i vfs.Inode) error {
	_, err := i.Getattr(t.Context(), unix.STATX_BASIC_STATS)
	names, e := i.Xattrs().Listxattr(t.Context())
	err = errors.Join(err, e)
	for _, name := range names {
		_, e := i.Xattrs().Getxattr(t.Context(), name)
		err = errors.Join(err, e)
	}
	switch x := i.(type) {
	case vfs.Symlink:
		_, e := x.Readlink(t.Context())
		err = errors.Join(err, e)
	case vfs.Regular:
		f, e := x.Open(t.Context(), unix.O_RDONLY)
		if e != nil {
			return errors.Join(err, e)
		}
		_, e = f.ReadAt(t.Context(), make([]byte, 10_000), 0)
		err = errors.Join(err, e, f.Release(t.Context()))
	}
	return err
}

// judge looks at a forged image in all ways: errors have an errno, and nothing panics.
func judge(t testing.TB, mem *store.Memory) error {
	err := lookAround(t, mem)
	if err != nil {
		_, ok := errors.AsType[unix.Errno](err)
		require.True(t, ok, "%v", err)
	}
	_, checked := sefs.Check(t.Context(), "image", sefs.CheckConfig{
		OpenConfig: sefs.OpenConfig{Unpinned: true, OpenStore: inMemoryStore(mem)}, Depth: sefs.CheckTree,
	})
	if checked != nil {
		_, ok := errors.AsType[unix.Errno](checked)
		require.True(t, ok, "%v", checked)
	}
	return err
}

// TestIntegrityHostileNode changes the only node of an image and everything above it to fit. Without a
// root MAC nothing is authentic, so what comes from the host has to be harmless.
func TestIntegrityHostileNode(t *testing.T) {
	image := leafImage(t)
	r := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 400 {
		mem := image.Clone()
		forgeLeaf(t, mem, func(node []byte) {
			used := 16 + 2*20
			for range 1 + r.IntN(3) {
				at := r.IntN(used)
				if r.IntN(3) > 0 { // items are at the end
					at = len(node) - 1 - r.IntN(2600)
				}
				node[at] ^= 1 << r.IntN(8)
			}
		})
		if judge(t, mem) != nil {
			refused++
		}
	}
	require.Greater(t, refused, 100)

	mem := image.Clone()
	forgeLeaf(t, mem, func([]byte) {})
	require.NoError(t, judge(t, mem), "an image that was not changed")
}

// TestIntegrityHostileExtents puts extents of encrypted volumes into an image.
func TestIntegrityHostileExtents(t *testing.T) {
	mem := leafImage(t)
	forgeLeaf(t, mem, func(node []byte) {
		n := format.Node(node)
		for i := range n.Len() {
			if n.Key(i).Type == format.TypeExtent {
				n.Value(i)[12] = 1 // a session
			}
		}
	})
	err := judge(t, mem)
	require.ErrorIs(t, err, unix.EIO)
	require.True(t, strings.Contains(err.Error(), "another kind of volume"), "%v", err)
}

// FuzzIntegrityNode gives the node of an image other bytes at its front, where the table of items is, and at its
// end, where they are.
func FuzzIntegrityNode(f *testing.F) {
	image := leafImage(f)
	node := image.Bytes("seg/01/00000001")
	f.Add(node[:64], node[len(node)-2500:])
	f.Fuzz(func(t *testing.T, front, back []byte) {
		mem := image.Clone()
		forgeLeaf(t, mem, func(node []byte) {
			copy(node, front)
			copy(node[max(0, len(node)-len(back)):], back)
		})
		if err := lookAround(t, mem); err != nil {
			_, ok := errors.AsType[unix.Errno](err)
			require.True(t, ok, "%v", err)
		}
	})
}
