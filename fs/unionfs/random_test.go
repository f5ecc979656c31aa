package unionfs_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/vfs"
)

// An op is one random call.
type op struct {
	call  string
	a, b  string // paths
	n     int64
	flags uint32
}

func (o op) String() string { return fmt.Sprintf("%s %s %s %d %#x", o.call, o.a, o.b, o.n, o.flags) }

// do makes one call.
func (tr *tree) do(o op) unix.Errno {
	var err error
	switch o.call {
	case "create":
		err = tr.openClose(o.a, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR)
	case "write":
		err = tr.writeAt(o.a, unix.O_WRONLY, fmt.Sprint(o.n), o.n)
	case "trunc":
		err = tr.writeAt(o.a, unix.O_WRONLY|unix.O_TRUNC|unix.O_CREAT, fmt.Sprint(o.n), 0)
	case "append":
		err = tr.writeAt(o.a, unix.O_WRONLY|unix.O_APPEND, fmt.Sprint(o.n), 0)
	case "truncate":
		err = tr.truncate(o.a, o.n)
	case "mkdir":
		err = tr.mkdir(o.a)
	case "rmdir":
		err = tr.rmdir(o.a)
	case "unlink":
		err = tr.unlink(o.a)
	case "rename":
		err = tr.rename(o.a, o.b, o.flags)
	case "link":
		err = tr.link(o.a, o.b)
	case "symlink":
		err = tr.symlink("a/b", o.a)
	case "mkfifo":
		err = tr.v.MknodAt(tr.t.Context(), vfs.Path{}, o.a, unix.S_IFIFO|0o644, 0)
	case "chmod":
		err = tr.chmod(o.a, uint32(o.n)%0o1000)
	case "chown":
		err = tr.chown(o.a, uint32(o.n), uint32(o.n))
	case "setxattr":
		err = tr.setxattr(o.a, "user.k", fmt.Sprint(o.n))
	case "open":
		err = tr.openClose(o.a, int(o.flags))
	}
	if err == nil {
		return 0
	}
	return vfs.Errno(err)
}

func (tr *tree) writeAt(path string, flags int, text string, off int64) error {
	f, err := tr.open(path, flags|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close(tr.t.Context())
	_, err = f.WriteAt(tr.t.Context(), []byte(text), off)
	return err
}

// calls are the names of random calls, the frequent ones several times.
var calls = strings.Fields(`create create write write trunc append truncate mkdir mkdir rmdir rmdir unlink unlink unlink
	rename rename rename rename link link symlink mkfifo chmod chown open`)

// randomOp makes an op; intn returns a number below n.
func randomOp(intn func(n int) int) op {
	path := func() string {
		var b strings.Builder
		for depth := 1 + intn(3); depth > 0; depth-- {
			b.WriteByte('/')
			b.WriteByte("abc"[intn(3)])
		}
		return b.String()
	}
	o := op{call: calls[intn(len(calls))], a: path(), b: path(), n: int64(intn(40))}
	switch o.call {
	case "rename":
		o.flags = []uint32{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[intn(5)]
	case "open":
		o.flags = []uint32{unix.O_RDONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_DIRECTORY}[intn(3)] | unix.O_NOFOLLOW
	}
	return o
}

// lowerLayouts are lower layers for random calls, top to bottom.
var lowerLayouts = [][][]string{
	{{"a/a/a=1", "a/a/b=2", "a/b=3", "a/c/", "b/a == a/b", "b/b/c == a/b", "c => a", "b/c|"}},
	{{"a/a=top", "b/ opaque", "b/b=top", "c!"}, {"a/b/c=low", "a/a/c=hidden", "b/a=hidden", "c/a=hidden", "a/c => b"}},
	{{"a/a=1", "a/b == a/a", "b/a == a/a", "b/b == a/a", "c == a/a"}},
	{{"a!", "b/a/"}, {"a/a=1", "b/a/b!", "b/c=2"}, {"b/a/b=hidden", "b/a/c=3", "b/b/", "c/c/c=4"}},
}

// A union answers random calls as a plain file system with the same files does,
// but for the directories that cannot be renamed, and is the same after a remount.
func TestRandomAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		layout := lowerLayouts[rapid.IntRange(0, len(lowerLayouts)-1).Draw(r, "layout")]
		var layers []vfs.FileSystem
		var before [][]string
		for _, files := range append([][]string{nil}, layout...) {
			layers = append(layers, newLayer(t, files...))
			before = append(before, dumpLayer(t, layers[len(layers)-1]))
		}
		s := newStack(t, layers...)
		model := modelOf(t, s.tree)
		defer model.unmount()
		for n := range rapid.IntRange(5, 60).Draw(r, "ops") {
			if rapid.IntRange(0, 9).Draw(r, "remount") == 0 {
				want := s.dump(dumpLinks | dumpIno | dumpMtime)
				s.remount()
				require.Equal(r, want, s.dump(dumpLinks|dumpIno|dumpMtime), "%d: remount", n)
			}
			o := randomOp(func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "n") })
			r.Log(o)
			got := s.do(o)
			if got == unix.EXDEV {
				continue
			}
			require.Equal(r, model.do(o), got, "%d: %v", n, o)
			require.Equal(r, model.dump(dumpLinks), s.dump(dumpLinks), "%d: after %v", n, o)
		}
		s.unmount()
		for i := 1; i < len(layers); i++ {
			require.Equal(r, before[i], dumpLayer(t, layers[i]), "layer %d changed", i)
		}
	})
}

// modelOf returns a plain file system with what tr shows.
func modelOf(t testing.TB, tr *tree) *tree {
	t.Helper()
	m := mount(t, newLayer(t))
	first := make(map[uint64]string) // name of an inode
	var copyDir func(dir string)
	copyDir = func(dir string) {
		for _, name := range tr.names(dir) {
			path := strings.TrimSuffix(dir, "/") + "/" + name
			attr := tr.mustStat(path)
			if old := first[attr.Ino]; old != "" {
				require.NoError(t, m.link(old, path))
				continue
			}
			switch attr.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				require.NoError(t, m.mkdir(path))
				copyDir(path)
				continue
			case unix.S_IFREG:
				require.NoError(t, m.write(path, tr.mustRead(path)))
			case unix.S_IFLNK:
				p, err := tr.walk(path)
				require.NoError(t, err)
				target, err := vfs.Readlink(t.Context(), p)
				p.Put()
				require.NoError(t, err)
				require.NoError(t, m.symlink(target, path))
			case unix.S_IFIFO:
				require.NoError(t, m.v.MknodAt(t.Context(), vfs.Path{}, path, attr.Mode, 0))
			}
			first[attr.Ino] = path
		}
	}
	copyDir("/")
	return m
}

// A long run of calls, for what a short one does not reach.
func TestRandomLong(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, layout := range lowerLayouts {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		var layers []vfs.FileSystem
		for _, files := range append([][]string{nil}, layout...) {
			layers = append(layers, newLayer(t, files...))
		}
		s := newStack(t, layers...)
		model := modelOf(t, s.tree)
		var history []string
		for n := range 3000 {
			o := randomOp(rnd.IntN)
			history = append(history, o.String())
			got := s.do(o)
			if got == unix.EXDEV {
				continue
			}
			require.Equal(t, model.do(o), got, "%s", strings.Join(history[max(0, n-20):], "\n"))
			if n%50 == 0 {
				require.Equal(t, model.dump(dumpLinks), s.dump(dumpLinks), "%s", strings.Join(history, "\n"))
				s.remount()
			}
		}
		model.unmount()
		s.unmount()
	}
}
