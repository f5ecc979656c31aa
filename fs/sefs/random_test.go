package sefs_test

import (
	"context"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// TestRandomOperations runs random operations on an image and on a model,
// remounts and kills in between, and compares the trees: after a kill with what
// was there at the last sync.
func TestRandomOperations(t *testing.T) {
	for name, hash := range map[string]func(string) uint64{
		"keyed hash": nil,
		"collisions": func(s string) uint64 { return uint64(crc32.ChecksumIEEE([]byte(s))%2) << 40 },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { randomOperations(t, hash) })
		})
	}
}

func randomOperations(t *rapid.T, hash func(string) uint64) {
	r := &random{t: t, hash: hash, m: newModel(), synced: map[string]string{}}
	r.x = &tree{t: t, cfg: onStore(t, store.NewMemory())}
	fs, err := sefs.Make(context.Background(), "image", sefs.MakeConfig{OpenConfig: r.x.cfg})
	require.NoError(t, err)
	r.x.fs = fs
	r.opened()
	t.Repeat(map[string]func(*rapid.T){
		"create":   r.create,
		"remove":   r.remove,
		"link":     r.link,
		"rename":   r.rename,
		"write":    r.write,
		"resize":   r.resize,
		"xattr":    r.xattr,
		"sync":     r.sync,
		"remount":  r.remount,
		"kill":     r.kill,
		"":         func(*rapid.T) {},
		"pinned":   r.pin,
		"unpinned": r.unpin,
	})
	require.Equal(t, r.m.dump(), r.x.dump())
	r.remount(t)
	r.x.fs.Abandon()
}

type random struct {
	t      *rapid.T
	x      *tree
	m      *model
	hash   func(string) uint64
	synced map[string]string // the tree at the last sync
	saved  *model
	pins   []vfs.Inode
}

func (r *random) opened() {
	if r.hash != nil {
		r.x.fs.SetHash(r.hash)
	}
	r.saved = r.m.clone()
}

var paths = rapid.SampledFrom([]string{
	"a", "b", "c", "long" + strings.Repeat("n", 251),
	"d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f", "d/e/f/a", "g", "g/a", "g/b",
})

// same requires that the image and the model answered alike.
func (r *random) same(t *rapid.T, want, got error, what string) {
	if want == errVFS {
		return
	}
	if want == nil {
		require.NoError(t, got, what)
		return
	}
	require.ErrorIs(t, got, want, what)
}

func (r *random) create(t *rapid.T) {
	p := paths.Draw(t, "path")
	mode := rapid.SampledFrom([]uint32{
		unix.S_IFREG | 0o644, unix.S_IFDIR | 0o755, unix.S_IFLNK | 0o777, unix.S_IFIFO | 0o600, unix.S_IFCHR | 0o600,
	}).Draw(t, "mode")
	data := ""
	if mode&unix.S_IFMT == unix.S_IFREG || mode&unix.S_IFMT == unix.S_IFLNK {
		data = strings.Repeat("z", rapid.SampledFrom([]int{1, 5, 2047, 2049, 4000}).Draw(t, "length"))
	}
	r.same(t, r.m.create(p, mode, data), r.x.create(p, mode, data), "create "+p)
}

func (r *random) remove(t *rapid.T) {
	p := paths.Draw(t, "path")
	if rapid.Bool().Draw(t, "whiteout") {
		r.same(t, r.m.remove(p, true), r.x.whiteout(p), "whiteout "+p)
		return
	}
	r.same(t, r.m.remove(p, false), r.x.unlink(p), "unlink "+p)
}

func (r *random) link(t *rapid.T) {
	target, p := paths.Draw(t, "target"), paths.Draw(t, "path")
	r.same(t, r.m.link(target, p), r.x.link(target, p), "link "+target+" "+p)
}

func (r *random) rename(t *rapid.T) {
	from, to := paths.Draw(t, "from"), paths.Draw(t, "to")
	flags := rapid.SampledFrom([]uint32{0, 0, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT}).Draw(t, "flags")
	want := r.m.rename(from, to, flags)
	if want == errVFS {
		return
	}
	r.same(t, want, r.x.rename(from, to, flags), "rename "+from+" "+to)
}

func (r *random) write(t *rapid.T) {
	p := paths.Draw(t, "path")
	off := rapid.SampledFrom([]int64{0, 1, 2000, 4095, 4096, 9000, 70000}).Draw(t, "offset")
	data := strings.Repeat(rapid.StringMatching("[a-z]{3}").Draw(t, "data"), rapid.SampledFrom([]int{1, 700, 3000, 30000}).Draw(t, "times"))
	want := r.m.write(p, data, off)
	if want == errVFS {
		return
	}
	r.same(t, want, r.x.write(p, data, off), "write "+p)
}

func (r *random) resize(t *rapid.T) {
	p := paths.Draw(t, "path")
	off := rapid.SampledFrom([]int64{0, 1, 100, 2048, 4096, 5000, 100000}).Draw(t, "offset")
	if rapid.Bool().Draw(t, "truncate") {
		want := r.m.truncate(p, off)
		if want == errVFS {
			return
		}
		r.same(t, want, r.x.on(p, func(i vfs.Inode) error {
			return i.Setattr(context.Background(), vfs.SetAttr{Mask: unix.STATX_SIZE, Size: off})
		}), "truncate "+p)
		return
	}
	n := rapid.SampledFrom([]int64{1, 100, 4096, 10000}).Draw(t, "length")
	want := r.m.zero(p, off, n)
	if want == errVFS {
		return
	}
	r.same(t, want, r.x.on(p, func(i vfs.Inode) error {
		h, err := i.(vfs.Regular).Open(context.Background(), unix.O_RDWR)
		if err != nil {
			return err
		}
		return h.Fallocate(context.Background(), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}), "punch "+p)
}

func (r *random) xattr(t *rapid.T) {
	p := paths.Draw(t, "path")
	name := rapid.SampledFrom([]string{"user.a", "user.b", "user.c", "overlay.x"}).Draw(t, "name")
	if rapid.Bool().Draw(t, "remove") {
		want := r.m.removexattr(p, name)
		if want == errVFS {
			return
		}
		r.same(t, want, r.x.on(p, func(i vfs.Inode) error {
			return i.Xattrs().Removexattr(context.Background(), name)
		}), "removexattr "+p)
		return
	}
	value := strings.Repeat("v", rapid.SampledFrom([]int{0, 1, 2048, 2049, 4096, 65536}).Draw(t, "length"))
	want := r.m.setxattr(p, name, value)
	if want == errVFS {
		return
	}
	r.same(t, want, r.x.setxattr(p, name, value, 0), "setxattr "+p)
}

// pin keeps a file in memory for a while, as an open descriptor does.
func (r *random) pin(t *rapid.T) {
	if i, err := r.x.get(paths.Draw(t, "path")); err == nil {
		r.pins = append(r.pins, i)
	}
}

func (r *random) unpin(*rapid.T) {
	for _, i := range r.pins {
		r.x.put(i)
	}
	r.pins = nil
}

func (r *random) sync(t *rapid.T) {
	require.NoError(t, r.x.fs.Sync(context.Background()))
	r.saved = r.m.clone()
}

func (r *random) remount(t *rapid.T) {
	r.unpin(t)
	r.x.reopen()
	r.opened()
	require.Equal(t, r.m.dump(), r.x.dump(), "after a remount")
}

func (r *random) kill(t *rapid.T) {
	r.x.fs.Abandon()
	r.pins = nil
	r.x.open()
	r.m = r.saved
	r.opened()
	require.Equal(t, r.m.dump(), r.x.dump(), "after a kill: the state of the last sync")
}

// clone copies a model; hard links stay hard links.
func (m *model) clone() *model {
	seen := make(map[*mfile]*mfile)
	var clone func(f *mfile) *mfile
	clone = func(f *mfile) *mfile {
		if c := seen[f]; c != nil {
			return c
		}
		c := &mfile{mode: f.mode, nlink: f.nlink, data: append([]byte(nil), f.data...), target: f.target}
		seen[f] = c
		if f.kids != nil {
			c.kids = make(map[string]*mfile)
		}
		for name, k := range f.kids {
			c.kids[name] = clone(k)
		}
		if f.xattrs != nil {
			c.xattrs = make(map[string]string)
		}
		for name, v := range f.xattrs {
			c.xattrs[name] = v
		}
		return c
	}
	return &model{root: clone(m.root)}
}
