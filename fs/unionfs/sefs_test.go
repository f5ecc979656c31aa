package unionfs_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/mountopt"
	"cloister/vfs"
)

// images are the SEFS images of a union, in directories of the host.
type images struct {
	t     testing.TB
	dir   string
	types *sefs.Type
}

// newImages makes the lower images "1", "2" and so on, top to bottom; the upper one, "0", is
// empty.
func newImages(t testing.TB, lower ...[]string) *images {
	t.Helper()
	im := &images{t: t, dir: t.TempDir(), types: sefs.NewType(sefs.Config{CommitInterval: -1})}
	require.NoError(t, os.Mkdir(im.path(0), 0o700))
	key, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	for i, files := range lower {
		require.NoError(t, os.Mkdir(im.path(i+1), 0o700))
		cfg := sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: key}}
		image, err := sefs.Make(t.Context(), im.path(i+1), cfg)
		require.NoError(t, err)
		tr := mount(t, image)
		tr.make(files...)
		tr.unmount()
	}
	return im
}

func (im *images) path(i int) string { return filepath.Join(im.dir, fmt.Sprint(i)) }

// mount mounts the union of the images.
func (im *images) mount() *tree {
	im.t.Helper()
	var lower []string
	for i := 1; ; i++ {
		if _, err := os.Stat(im.path(i)); err != nil {
			break
		}
		lower = append(lower, im.path(i))
	}
	fs, err := unionfs.NewType(unionfs.Config{Layers: im.types}).Mount(im.t.Context(), vfs.MountRequest{
		Data: "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + im.path(0) + ",key=" + keyText,
		Cred: vfs.RootCred(),
	})
	require.NoError(im.t, err)
	return mount(im.t, fs)
}

// hash returns a digest of all bytes of the lower images on the host.
func (im *images) hash() string {
	im.t.Helper()
	h := sha256.New()
	for i := 1; ; i++ {
		if _, err := os.Stat(im.path(i)); err != nil {
			return fmt.Sprintf("%x", h.Sum(nil))
		}
		err := filepath.WalkDir(im.path(i), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n", path, len(data))
			h.Write(data)
			return err
		})
		require.NoError(im.t, err)
	}
}

// Random calls on a union of images, which is unmounted and mounted in between.
func TestRandomOnImages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, layout := range lowerLayouts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			im := newImages(t, layout...)
			before := im.hash()
			s := im.mount()
			model := modelOf(t, s)
			defer model.unmount()
			var history []string
			for n := range 600 {
				o := randomOp(rnd.IntN)
				history = append(history, o.String())
				got := s.do(o)
				if got == unix.EXDEV {
					continue
				}
				require.Equal(t, model.do(o), got, "%s", strings.Join(history[max(0, n-20):], "\n"))
				if n%60 == 0 {
					want := s.dump(dumpLinks | dumpIno | dumpMtime)
					require.Equal(t, model.dump(dumpLinks), s.dump(dumpLinks), "%s", strings.Join(history, "\n"))
					s.unmount()
					s = im.mount()
					require.Equal(t, want, s.dump(dumpLinks|dumpIno|dumpMtime), "after a remount")
				}
			}
			s.unmount()
			require.Equal(t, before, im.hash(), "the lower images changed")
		})
	}
}

// After a crash the union is what it was at the last sync, with all it
// records: hard links are counted right, what was removed stays so.
func TestCrashOnImages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, layout := range lowerLayouts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			im := newImages(t, layout...)
			for range 5 {
				s := im.mount()
				for range 25 {
					s.do(randomOp(rnd.IntN))
				}
				require.NoError(t, s.fs.Sync(t.Context()))
				want := s.dump(dumpLinks | dumpIno)
				for range 25 {
					s.do(randomOp(rnd.IntN))
				}
				im.types.Abandon()
				s.v.Release()
				_ = s.ns.Close(t.Context()) // of images that are gone
				s = im.mount()
				require.Equal(t, want, s.dump(dumpLinks|dumpIno))
				s.unmount()
			}
		})
	}
}

func BenchmarkStatOnImages(b *testing.B) {
	const path = "/d1/d2/d3/d4/d5/d6/d7/d8/f"
	im := newImages(b, []string{path[1:] + "=text"})
	s := im.mount()
	defer s.unmount()
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		p, err := s.v.Walk(ctx, vfs.Path{}, path, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := vfs.Getattr(ctx, p, unix.STATX_BASIC_STATS); err != nil {
			b.Fatal(err)
		}
		p.Put()
	}
}
