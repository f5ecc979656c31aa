package sefs_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// A fault is one class of damage to oddImage.
type fault struct {
	name  string
	forge func(*volume.Volume, *volume.Tx) // what a bug in the engine or the driver would leave
	host  func(*store.Memory)              // what the host or its disk does

	texts []string           // of all problems that Check finds, in any order; nil: any of kinds
	kinds []sefs.ProblemKind // all that Check finds
	path  string             // that a problem names; "": none
	error bool               // Check fails: the image is not even opened

	left []string // texts of the problems that stay after a repair
	dead bool     // there is nothing to repair
}

// A target is what damages are made of.
type target struct {
	t                                 testing.TB
	mem                               *store.Memory
	seg                               string
	root, d, e, big, inline, link, f0 uint64
	extents                           map[uint64][]byte // of big
}

func newTarget(t testing.TB) *target {
	x := &target{t: t, mem: oddImage(t), extents: map[uint64][]byte{}}
	x.seg = x.mem.Names()[slices.IndexFunc(x.mem.Names(), func(n string) bool { return strings.HasPrefix(n, "seg/") })]
	fs, err := sefs.Open(t.Context(), "image", onStore(t, x.mem))
	require.NoError(t, err)
	tree := &tree{t: t, fs: fs}
	ino := func(p string) uint64 { return tree.stat(p).Ino }
	x.root, x.d, x.e, x.big, x.inline, x.link, x.f0 = ino("/"), ino("d"), ino("d/e"), ino("big"), ino("d/e/inline"), ino("link"), ino("d/e/f0")
	fs.Abandon()
	x.read(func(v *volume.Volume) {
		require.NoError(t, v.Scan(key(x.big, format.TypeExtent, 0), key(x.big, format.TypeExtent+1, 0), func(k format.Key, val []byte) bool {
			x.extents[k.Off] = bytes.Clone(val)
			return true
		}))
	})
	require.Greater(t, len(x.extents), 1)
	return x
}

// read opens the image below the file system.
func (x *target) read(fn func(v *volume.Volume)) {
	k := testKey(x.t)
	v, err := volume.Open(x.t.Context(), x.mem, volume.Config{
		Access:    volume.ReadOnly,
		Unlocking: volume.Unlocking{Unlock: func(volume.Slot) ([]byte, error) { return bytes.Clone(k.Bytes()), nil }},
	})
	require.NoError(x.t, err)
	defer v.Abandon()
	fn(v)
}

func key(ino uint64, typ uint8, off uint64) format.Key {
	return format.Key{Ino: ino, Type: typ, Off: off}
}

type forging = func(*volume.Volume, *volume.Tx)

func (x *target) attrs(ino uint64, change func(n *format.Inode)) forging {
	return func(v *volume.Volume, tx *volume.Tx) {
		val, err := v.Get(key(ino, format.TypeInode, 0), nil)
		require.NoError(x.t, err)
		n, err := format.DecodeInode(val)
		require.NoError(x.t, err)
		change(&n)
		require.NoError(x.t, tx.Put(key(ino, format.TypeInode, 0), n.Append(nil)))
	}
}

func (x *target) entry(dir uint64, name string, ino uint64, typ uint8) forging {
	return func(v *volume.Volume, tx *volume.Tx) {
		k := key(dir, format.TypeDirent, format.DirentOff(v.NameHash(name)))
		val, _ := v.Get(k, nil)
		val, err := format.SetDirent(nil, val, name, ino, typ)
		require.NoError(x.t, err)
		require.NoError(x.t, tx.Put(k, val))
	}
}

func (x *target) noEntry(dir uint64, name string) forging {
	return func(v *volume.Volume, tx *volume.Tx) {
		k := key(dir, format.TypeDirent, format.DirentOff(v.NameHash(name)))
		val, err := v.Get(k, nil)
		require.NoError(x.t, err)
		val, err = format.RemoveDirent(nil, val, name)
		require.NoError(x.t, err)
		if len(val) == 0 {
			require.NoError(x.t, tx.Delete(k))
			return
		}
		require.NoError(x.t, tx.Put(k, val))
	}
}

func (x *target) put(k format.Key, val []byte) forging {
	return func(_ *volume.Volume, tx *volume.Tx) { require.NoError(x.t, tx.Put(k, val)) }
}

func (x *target) del(k format.Key) forging {
	return func(_ *volume.Volume, tx *volume.Tx) { require.NoError(x.t, tx.Delete(k)) }
}

func all(steps ...forging) forging {
	return func(v *volume.Volume, tx *volume.Tx) {
		for _, s := range steps {
			s(v, tx)
		}
	}
}

// xattrKey is the first item of an attribute.
func xattrKey(v *volume.Volume, ino uint64, name string) format.Key {
	return key(ino, format.TypeXattr, format.XattrOff(v.NameHash(name)))
}

// structural are faults of items that are authentic.
func (x *target) structural() []fault {
	orphan := func(ino uint64) format.Key { return key(0, format.TypeOrphan, ino) }
	next := key(0, format.TypeNextIno, 0)
	extent := func(val []byte, block uint16, blocks int) []byte {
		e, err := format.DecodeExtent(val)
		require.NoError(x.t, err)
		e.Ptr.Block, e.Tags = block, e.Tags[:16*blocks]
		return format.AppendExtent(nil, e)
	}
	return []fault{
		{name: "too many links", forge: x.attrs(x.big, func(n *format.Inode) { n.Nlink = 5 }), path: "/big", texts: []string{"it has 5 links, and 2 entries"}},
		{name: "too few links", forge: x.attrs(x.big, func(n *format.Inode) { n.Nlink = 1 }), path: "/big", texts: []string{"it has 1 links, and 2 entries"}},
		{name: "links of a directory", forge: x.attrs(x.d, func(n *format.Inode) { n.Nlink = 9 }), path: "/d", texts: []string{"say 9 links, there are 3"}},
		{name: "links of the root", forge: x.attrs(x.root, func(n *format.Inode) { n.Nlink = 7 }), path: "/", texts: []string{"say 7 links, there are 3"}},
		{name: "size of a directory", forge: x.attrs(x.d, func(n *format.Inode) { n.Size += 32 }), path: "/d", texts: []string{"bytes of entries"}},
		{name: "parent of a directory", forge: x.attrs(x.e, func(n *format.Inode) { n.Parent = x.root }), texts: []string{"says that its parent is inode 1"}},
		{name: "parent of the root", forge: x.attrs(x.root, func(n *format.Inode) { n.Parent = x.d }), path: "/", texts: []string{"the root directory says"}},
		{name: "blocks of a file", forge: x.attrs(x.big, func(n *format.Inode) { n.Blocks++ }), path: "/big", texts: []string{"blocks of data"}},
		{name: "size of a file", forge: x.attrs(x.big, func(n *format.Inode) { n.Size = 1 }), path: "/big", texts: []string{"it has 1 bytes, and data at block"}},
		{name: "number of attributes", forge: x.attrs(x.d, func(n *format.Inode) { n.Xattrs = 4 }), path: "/d", texts: []string{"extended attributes"}},
		{name: "length of a target", forge: x.attrs(x.link, func(n *format.Inode) { n.Size = 7 }), path: "/link", texts: []string{"bytes of the target"}},
		{name: "type of a file", forge: x.attrs(x.inline, func(n *format.Inode) { n.Mode = unix.S_IFIFO | 0o600 }), path: "/d/e/inline", texts: []string{"it has data", "its type differs"}},
		{name: "no attributes of a file", forge: x.del(key(x.inline, format.TypeInode, 0)), path: "/d/e/inline", texts: []string{"items and no attributes", "does not exist"}},
		{name: "no attributes of a directory", forge: x.del(key(x.e, format.TypeInode, 0)), path: "/d/e", texts: append([]string{"items and no attributes", "/e: does not exist"}, slices.Repeat([]string{"no entry points to it"}, 302)...)},
		{name: "no attributes of an empty file", forge: x.del(key(x.f0, format.TypeInode, 0)), path: "/d/e/f0", texts: []string{"does not exist"}},
		{name: "no attributes of a link", forge: x.del(key(x.link, format.TypeInode, 0)), path: "/link", texts: []string{"items and no attributes", "does not exist"}},
		{name: "impossible attributes", forge: x.put(key(x.inline, format.TypeInode, 0), []byte("?")), path: "/d/e/inline", texts: []string{"impossible", "does not exist"}},
		{name: "an entry to nothing", forge: x.entry(x.d, "ghost", 4000, unix.DT_REG), path: "/d", texts: []string{"bytes of entries", "does not exist"}},
		{name: "a second name of a directory", forge: x.entry(x.root, "again", x.e, unix.DT_DIR), path: "/", texts: []string{"bytes of entries", "say 3 links, there are 4", "a directory with 2 entries"}},
		{name: "an entry to the root", forge: x.entry(x.d, "up", x.root, unix.DT_DIR), path: "/d", texts: []string{"bytes of entries", "say 3 links, there are 4", "the root directory has an entry"}},
		{name: "a directory that contains itself", forge: all(x.noEntry(x.root, "d"), x.entry(x.e, "loop", x.d, unix.DT_DIR), x.attrs(x.root, func(n *format.Inode) { n.Size -= 32; n.Nlink-- }),
			x.attrs(x.e, func(n *format.Inode) { n.Size += 32; n.Nlink++ }), x.attrs(x.d, func(n *format.Inode) { n.Parent = x.e })), texts: []string{"the directory contains itself"}},
		{name: "type in an entry", forge: x.entry(x.e, "inline", x.inline, unix.DT_FIFO), path: "/d/e/inline", texts: []string{"its type differs"}},
		{name: "an entry that lies elsewhere", forge: func(v *volume.Volume, tx *volume.Tx) {
			from := key(x.e, format.TypeDirent, format.DirentOff(v.NameHash("inline")))
			val, err := v.Get(from, nil)
			require.NoError(x.t, err)
			require.NoError(x.t, tx.Delete(from))
			require.NoError(x.t, tx.Put(key(x.e, format.TypeDirent, 128), val))
		}, path: "/d/e", texts: []string{"lies where it cannot be found"}},
		{name: "an impossible entry", forge: x.put(key(x.d, format.TypeDirent, 64), []byte("?")), path: "/d", texts: []string{"an entry is impossible"}},
		{name: "entries in a file", forge: x.put(key(x.inline, format.TypeDirent, 64), []byte("?")), path: "/d/e/inline", texts: []string{"it has entries"}},
		{name: "a target in a file", forge: x.put(key(x.inline, format.TypeSymlink, 0), []byte("target")), path: "/d/e/inline", texts: []string{"it has a target"}},
		{name: "a file with names and no links", forge: x.attrs(x.inline, func(n *format.Inode) { n.Nlink = 0 }), path: "/d/e/inline", texts: []string{"it has 0 links, and 1 entries"}},
		{name: "a file without a name", forge: x.put(key(3000, format.TypeInode, 0), (&format.Inode{Mode: unix.S_IFREG, Nlink: 1}).Append(nil)), texts: []string{"no entry points to it"}},
		{name: "a directory without a name", forge: x.put(key(3000, format.TypeInode, 0), (&format.Inode{Mode: unix.S_IFDIR, Nlink: 2, Parent: 1}).Append(nil)), texts: []string{"no entry points to it"}},
		{name: "a file without a name and links, not listed", forge: x.put(key(3000, format.TypeInode, 0), (&format.Inode{Mode: unix.S_IFREG}).Append(nil)), texts: []string{"it has no links and is not listed"}},
		{name: "an orphan with a name", forge: x.put(orphan(x.inline), nil), path: "/d/e/inline", texts: []string{"listed as without a name and has links"}},
		{name: "an orphan that is none", forge: x.put(orphan(4000), nil), texts: []string{"listed as without a name, and it does not exist"}},
		{name: "no free number", forge: x.del(next), texts: []string{"free inode number is missing"}},
		{name: "a free number too low", forge: x.put(next, format.AppendNextIno(nil, 17)), path: "/d/e/f299", texts: []string{"its number is in use"}},
		{name: "an impossible free number", forge: x.put(next, []byte("?")), texts: []string{"free inode number is impossible"}},
		{name: "an item of unknown type", forge: x.put(key(x.inline, 77, 0), nil), path: "/d/e/inline", texts: []string{"unknown type 77"}, left: []string{"unknown type 77"}},
		{name: "an item of unknown type of the volume", forge: x.put(key(0, 77, 0), nil), texts: []string{"unknown type 77"}, left: []string{"unknown type 77"}},
		{name: "a piece of a target", forge: x.del(key(x.link, format.TypeSymlink, 1)), path: "/link", texts: []string{"bytes of the target"}},
		{name: "the first piece of a target", forge: x.del(key(x.link, format.TypeSymlink, 0)), path: "/link", texts: []string{"a piece of its target is missing"}},
		{name: "a piece of an attribute", forge: func(v *volume.Volume, tx *volume.Tx) {
			k := xattrKey(v, x.d, "user.a")
			k.Off++
			require.NoError(x.t, tx.Delete(k))
		}, path: "/d", texts: []string{"a piece of an extended attribute does not fit"}},
		{name: "the last piece of an attribute", forge: func(v *volume.Volume, tx *volume.Tx) {
			k := xattrKey(v, x.d, "user.a")
			k.Off += 2
			require.NoError(x.t, tx.Delete(k))
		}, path: "/d", texts: []string{"a piece of an extended attribute is missing"}},
		{name: "an impossible attribute", forge: func(v *volume.Volume, tx *volume.Tx) {
			require.NoError(x.t, tx.Put(xattrKey(v, x.big, "user.b"), []byte("?")))
		}, path: "/big", texts: []string{"an extended attribute is impossible"}},
		{name: "an attribute that lies elsewhere", forge: func(v *volume.Volume, tx *volume.Tx) {
			val, err := v.Get(xattrKey(v, x.big, "user.b"), nil)
			require.NoError(x.t, err)
			require.NoError(x.t, tx.Delete(xattrKey(v, x.big, "user.b")))
			require.NoError(x.t, tx.Put(key(x.big, format.TypeXattr, 256), val))
		}, path: "/big", texts: []string{"lies where it cannot be found"}},
		{name: "no root directory", forge: x.del(key(x.root, format.TypeInode, 0)), texts: append([]string{"items and no attributes", "there is no root directory"}, slices.Repeat([]string{"no entry points to it"}, 7)...)},
		{name: "a root that is no directory", forge: x.attrs(x.root, func(n *format.Inode) { n.Mode, n.Parent, n.Nlink, n.Size = unix.S_IFREG|0o600, 0, 1, 0 }), kinds: []sefs.ProblemKind{sefs.ProblemStructure}, path: "/"},
		{name: "inline data too long", forge: x.put(key(x.inline, format.TypeInline, 0), make([]byte, 2100)), path: "/d/e/inline", texts: []string{"too long"}, left: []string{"not authentic"}},
		{name: "inline data of another block", forge: x.put(key(x.inline, format.TypeInline, 3), []byte("x")), path: "/d/e/inline", texts: []string{"inline data where there can be none"}},
		{name: "inline data and an extent", forge: x.put(key(x.big, format.TypeInline, 0), []byte("x")), path: "/big", texts: []string{"two extents have block 0"}},
		{name: "an impossible extent", forge: x.put(key(x.big, format.TypeExtent, 128), []byte("?")), path: "/big", kinds: []sefs.ProblemKind{sefs.ProblemStructure, sefs.ProblemSpace}, left: []string{"cannot be read"}},
		{name: "an impossible extent of a file with a hole too large to say where its data was", forge: all(x.put(key(x.big, format.TypeExtent, 128), []byte("?")),
			x.attrs(x.big, func(n *format.Inode) { n.Size, n.Blocks = 1<<40, n.Blocks+5 })), path: "/big",
			kinds: []sefs.ProblemKind{sefs.ProblemStructure, sefs.ProblemSpace}, left: []string{"cannot be read"}},
		{name: "extents that overlap", forge: func(_ *volume.Volume, tx *volume.Tx) {
			e, err := format.DecodeExtent(x.extents[0])
			require.NoError(x.t, err)
			require.NoError(x.t, tx.Put(key(x.big, format.TypeExtent, 100), extent(x.extents[0], e.Ptr.Block, 10)))
		}, path: "/big", kinds: []sefs.ProblemKind{sefs.ProblemSpace, sefs.ProblemStructure}},
		{name: "blocks used twice", forge: x.put(key(x.big, format.TypeExtent, 5000), x.extents[0]), path: "/big", kinds: []sefs.ProblemKind{sefs.ProblemSpace, sefs.ProblemStructure}},
		{name: "blocks that nothing uses", forge: x.del(key(x.big, format.TypeExtent, 0)), path: "/big", kinds: []sefs.ProblemKind{sefs.ProblemSpace, sefs.ProblemStructure}, left: []string{"cannot be read"}},
		{name: "an impossible segment", forge: x.put(key(0, format.TypeSegment, 1<<33), nil), texts: []string{"impossible number"}},
		{name: "a record of more segments", forge: x.put(key(0, format.TypeSegment, 9), format.AppendBitmap(nil, &format.Bitmap{1})), texts: []string{"belong to nothing", "it says"}},
	}
}

// onHost are damages of the host's files.
func (x *target) onHost() []fault {
	vol := []sefs.ProblemKind{sefs.ProblemVolume}
	node := []sefs.ProblemKind{sefs.ProblemNode}
	flip := func(name string, at int) func(*store.Memory) {
		return func(m *store.Memory) { m.Bytes(name)[at] ^= 1 }
	}
	e, err := format.DecodeExtent(x.extents[0])
	require.NoError(x.t, err)
	data := int(e.Ptr.Block) * 4096
	swap := func(a, b int) func(*store.Memory) {
		return func(m *store.Memory) {
			s := m.Bytes(x.seg)
			one := bytes.Clone(s[a : a+4096])
			copy(s[a:], s[b:b+4096])
			copy(s[b:], one)
		}
	}
	list := []fault{
		{name: "first head", host: flip("heads", 100), kinds: vol, texts: []string{"copy 1 of the head"}},
		{name: "second head", host: flip("heads", 4196), kinds: vol, texts: []string{"copy 2 of the head"}},
		{name: "heads cut", host: func(m *store.Memory) { m.SetBytes("heads", m.Bytes("heads")[:600]) }, texts: []string{"copy 2 of the head"}},
		{name: "heads gone", host: func(m *store.Memory) { _ = m.Unlink("heads") }, texts: []string{"nothing else could be checked"}, dead: true},
		{name: "both heads", host: func(m *store.Memory) { flip("heads", 100)(m); flip("heads", 4196)(m) }, texts: []string{"no authentic head"}, dead: true},
		{name: "journal gone", host: func(m *store.Memory) { _ = m.Unlink("journal") }, texts: []string{"journal is corrupt"}},
		{name: "segment gone", host: func(m *store.Memory) { _ = m.Unlink(x.seg) }, kinds: node, texts: []string{"is missing"}, path: "/", dead: true},
		{name: "segment emptied", host: func(m *store.Memory) { m.SetBytes(x.seg, nil) }, texts: []string{"ends before it"}, path: "/", dead: true},
		{name: "segment cut", host: func(m *store.Memory) { m.SetBytes(x.seg, m.Bytes(x.seg)[:len(m.Bytes(x.seg))/2]) }, kinds: []sefs.ProblemKind{sefs.ProblemNode, sefs.ProblemData}, dead: true},
		{name: "all blocks exchanged", host: func(m *store.Memory) { slices.Reverse(m.Bytes(x.seg)) }, texts: []string{"not authentic"}, path: "/", dead: true},
		{name: "header", host: flip("SEFS", 9000), error: true},
		{name: "header gone", host: func(m *store.Memory) { _ = m.Unlink("SEFS") }, error: true},
		{name: "header cut", host: func(m *store.Memory) { m.SetBytes("SEFS", m.Bytes("SEFS")[:8000]) }, error: true},
		{name: "a block of data", host: flip(x.seg, data+7), path: "/d/hard", texts: []string{"not authentic"}, left: []string{"not authentic"}},
		{name: "the last bit of a block", host: flip(x.seg, data+4095), path: "/big", texts: []string{"not authentic"}, left: []string{"not authentic"}},
		{name: "a block of zeros", host: func(m *store.Memory) { clear(m.Bytes(x.seg)[data : data+4096]) }, path: "/big", texts: []string{"not authentic"}, left: []string{"not authentic"}},
		{name: "two blocks of data exchanged", host: swap(data, data+4096), path: "/big", texts: []string{"not authentic"}, left: []string{"not authentic"}},
		{name: "two blocks of data far apart exchanged", host: swap(data, data+50*4096), path: "/big", texts: []string{"not authentic", "not authentic"}, left: []string{"not authentic", "not authentic"}},
		{name: "a block in place of another", host: func(m *store.Memory) { copy(m.Bytes(x.seg)[data:], m.Bytes(x.seg)[data+4096:data+8192]) }, path: "/big", texts: []string{"not authentic"}, left: []string{"not authentic"}},
	}
	return list
}

// matches requires that a report is about a damage, and about nothing else.
func (d *fault) matches(t *testing.T, problems []sefs.Problem, texts []string) {
	t.Helper()
	require.Len(t, problems, len(texts), "%+v", problems)
	for _, text := range texts {
		found := slices.ContainsFunc(problems, func(p sefs.Problem) bool {
			return strings.Contains(p.Text, text) || strings.HasSuffix(text, "cannot be read") && p.Bytes > 0 ||
				strings.Contains(strings.Join(p.Paths, ",")+": "+p.Text, strings.TrimPrefix(text, "/e: "))
		})
		require.True(t, found, "%q in %+v", text, problems)
	}
}

// TestCheckFindsDamage requires that each class of damage is found under its path, and nothing else.
func TestCheckFindsDamage(t *testing.T) {
	x := newTarget(t)
	list := append(x.structural(), x.onHost()...)
	require.GreaterOrEqual(t, len(list), 50, "classes of damage")
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			m := x.damaged(t, &d)
			r, err := sefs.Check(t.Context(), "image", sefs.CheckConfig{OpenConfig: onStore(t, m), Depth: sefs.CheckTree})
			if d.error {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.False(t, r.Clean())
			if d.texts != nil {
				d.matches(t, r.Problems, d.texts)
			}
			for _, p := range r.Problems {
				if d.kinds != nil {
					require.Contains(t, d.kinds, p.Kind, "%+v", p)
				}
			}
			if d.path != "" {
				require.True(t, slices.ContainsFunc(r.Problems, func(p sefs.Problem) bool { return slices.Contains(p.Paths, d.path) }), "%+v", r.Problems)
			}
		})
	}
}

// damaged is a copy of the image with a damage.
func (x *target) damaged(t *testing.T, d *fault) *store.Memory {
	m := x.mem.Clone()
	if d.forge != nil {
		forge(t, m, d.forge)
	} else {
		d.host(m)
	}
	return m
}
